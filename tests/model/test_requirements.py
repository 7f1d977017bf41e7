"""What is said of a module that a model needs and that is not installed."""

from __future__ import annotations

from importlib.metadata import distributions, version
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


def test_versions_are_what_the_packages_say_of_themselves() -> None:
    names = {str(each.metadata["Name"]) for each in distributions()}
    assert {"numpy", "scikit-learn"} <= names
    assert {name: requirements.installed(name) for name in names} == {name: version(name) for name in names}
    assert requirements.installed("NumPy") == version("numpy")
    assert requirements.installed("num") == requirements.installed("nothing-of-that-name") == ""
