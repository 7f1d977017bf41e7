"""The script ./dev trusts only an environment that was finished. Its interpreter and its pip are fakes here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

# Stands in for python3: makes a .venv whose python is this file again; its pip ends ./dev by the signal in $PIP_ENDS.
FAKE = """#!/bin/sh
case "$1 $2" in
    "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "venv" >> log ;;
    "-m pip") echo "$*" | grep -o '\\[.*\\]' >> log; [ -z "$PIP_ENDS" ] || kill -"$PIP_ENDS" "$PPID" ;;
    "-m pytest") echo "pytest" >> log ;;
    *) exec {python} "$@" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "dev", tmp_path / "dev")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    fake = tmp_path / "python"
    fake.write_text(FAKE.replace("{python}", sys.executable))
    fake.chmod(0o755)
    return tmp_path


def dev(checkout: Path, verb: str, pip_ends: str = "") -> tuple[int, list[str]]:
    """The exit code of ./dev VERB, and what the fakes were asked meanwhile."""
    log = checkout / "log"
    log.write_text("")
    environ = {**os.environ, "PYTHON": str(checkout / "python"), "PIP_ENDS": pip_ends}
    done = subprocess.run([checkout / "dev", verb], env=environ, capture_output=True, text=True, check=False)
    return done.returncode, log.read_text().split()


def test_the_environment_is_made_once(checkout: Path) -> None:
    assert dev(checkout, "test") == (0, ["venv", "[dev]", "pytest"])
    assert dev(checkout, "test") == (0, ["pytest"])


def test_what_an_interrupted_run_left_is_not_trusted(checkout: Path) -> None:
    code, asked = dev(checkout, "test", pip_ends="KILL")
    assert code != 0
    assert asked == ["venv", "[dev]"]
    (checkout / ".venv" / "half").touch()
    assert dev(checkout, "test") == (0, ["venv", "[dev]", "pytest"])
    assert not (checkout / ".venv" / "half").exists()


def test_an_interrupted_update_is_not_trusted_either(checkout: Path) -> None:
    dev(checkout, "test")
    (checkout / "pyproject.toml").write_text("[project]\nname = 'changed'\n")
    assert dev(checkout, "test", pip_ends="KILL")[0] != 0
    assert dev(checkout, "test") == (0, ["venv", "[dev]", "pytest"])


def test_changed_requirements_are_installed_into_what_is_there(checkout: Path) -> None:
    dev(checkout, "test")
    (checkout / "pyproject.toml").write_text("[project]\nname = 'changed'\n")
    assert dev(checkout, "test") == (0, ["[dev]", "pytest"])


def test_an_environment_without_the_tests_libraries_gets_them(checkout: Path) -> None:
    dev(checkout, "demo")
    assert dev(checkout, "test") == (0, ["[dev]", "pytest"])


def test_an_unknown_verb_is_refused_with_the_list(checkout: Path) -> None:
    done = subprocess.run([checkout / "dev", "dmeo"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "./dev demo" in done.stderr


def test_an_old_python_is_refused_by_name(checkout: Path) -> None:
    (checkout / "python").write_text("#!/bin/sh\nexit 1\n")
    environ = {**os.environ, "PYTHON": str(checkout / "python")}
    done = subprocess.run([checkout / "dev", "test"], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no Python 3.11 or newer" in done.stderr
