"""What `--help` prints, kept so that a change of it is seen. WHERRY_UPDATE_GOLDEN=1 writes the files again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from wherry.cli.main import VERBS

FOLDER = Path(__file__).parent.parent / "golden" / "help"


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_help_is_what_it_was(wherry: Callable[..., subprocess.CompletedProcess[str]], verb: str) -> None:
    done = wherry(*verb.split(), "--help", COLUMNS="80")
    assert done.returncode == 0
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80
    kept = FOLDER / f"{verb or 'wherry'}.txt"
    if os.environ.get("WHERRY_UPDATE_GOLDEN") == "1":
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(done.stdout)
    assert done.stdout == kept.read_text()
