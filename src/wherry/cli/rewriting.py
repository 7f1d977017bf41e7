"""Settings changed in a project's file, with its comments and order kept, and the change shown before it is made."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.items import AbstractTable

from wherry.cli.project import PYPROJECT, read
from wherry.contract.names import PROJECT_FILE
from wherry.errors import SettingProblem, SettingsRefused


def file_of(where: Path = Path()) -> tuple[Path, str]:
    """The file that holds the project's settings, and the table in it that they are under ("" for the root).

    Where there is none it is wherry.toml, which does not exist yet.
    """
    _, source = read(where)
    if source.startswith(PYPROJECT):
        return where / PYPROJECT, "tool.wherry"
    return where / PROJECT_FILE, ""


def rewritten(text: str, table: str, changes: Mapping[str, Any]) -> str:
    """`text` with each of `changes` (dotted path to value) set; what is already so is left as it stands.

    Raises SettingsRefused where a key that should be a table is none.
    """
    document = tomlkit.parse(text)
    for path, value in changes.items():
        *parents, key = [*(table.split(".") if table else []), *path.split(".")]
        place: Any = document
        for parent in parents:
            if parent not in place:
                place[parent] = tomlkit.table()
            place = place[parent]
            if not isinstance(place, (dict, AbstractTable)):
                problem = SettingProblem(path, f"cannot be set: {parent} is no table", f"write [{parent}]")
                raise SettingsRefused((problem,), PROJECT_FILE)
        written = next((name for name in (key, key.replace("_", "-")) if name in place), key)
        if place.get(written) != value:
            place[written] = value
    made = tomlkit.dumps(document)
    tomllib.loads(made)  # what is written can be read again
    return made


def difference(before: str, after: str, name: str) -> list[str]:
    """The change as `diff -u` shows it."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="", n=2)
    return list(lines)


def replace(path: Path, text: str) -> None:
    """The file with this text, whole or not at all; its mode is kept."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("w", encoding="utf-8", newline="") as sink:
            sink.write(text)
            sink.flush()
            os.fsync(sink.fileno())
        if path.exists():
            fresh.chmod(path.stat().st_mode & 0o7777)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
