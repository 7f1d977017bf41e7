"""What is said of a module that a model needs and that is not installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from wherry.model import requirements


def test_a_module_of_this_folder_is_not_to_be_had_from_strangers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert requirements.obtaining("helper") == "pip install helper"
    (tmp_path / "helper.py").touch()
    assert "pip install" not in requirements.obtaining("helper")
    assert "helper lies in this folder" in requirements.obtaining("helper")
