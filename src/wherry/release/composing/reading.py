"""A compose file as it stands, mistakes included: what can be read is read, and what cannot is said."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import yaml

from wherry.contract.events import Note
from wherry.errors import ComposeUnreadable

VARIABLE = re.compile(r"(?<!\$)\$(?:\{[^}]*\}|[A-Za-z_])")


class Read(msgspec.Struct, frozen=True):
    """services: by name, every scalar a text as it is written. notes: what was wrong on the way."""

    services: dict[str, dict[str, Any]]
    secrets: dict[str, str]  # name to file
    notes: tuple[Note, ...]


def read(text: str, source: str) -> Read:
    """What `text` says, as far as it can be read. Raises ComposeUnreadable when that is no service at all."""
    found, notes = parsed(text, source)
    services = found.get("services")
    if services is None and "version" not in found and all(isinstance(one, dict) for one in found.values()):
        services = found  # the first format of compose files had the services on top
    if not isinstance(services, dict) or not services:
        raise ComposeUnreadable(source, "no services can be read from it", notes[0].line if notes else 0)
    whole = {name: one for name, one in services.items() if isinstance(one, dict)}
    words = [Note(one.words, warn=True, hint=f"mend line {one.line} of {source}") for one in notes]
    for name in sorted(set(services) - set(whole)):
        words.append(Note(f"service {name} is left out: it is no table", warn=True))
    if VARIABLE.search(text):
        words.append(Note("variables such as ${NAME} are taken as they are written", warn=True, hint="write them out"))
    secrets = found.get("secrets")
    files = {
        str(name): str(one["file"])
        for name, one in (secrets.items() if isinstance(secrets, dict) else ())
        if isinstance(one, dict) and "file" in one
    }
    return Read(whole, files, tuple(words))


class _Fault(msgspec.Struct, frozen=True):
    line: int
    words: str


def parsed(text: str, source: str) -> tuple[dict[str, Any], list[_Fault]]:
    """The tables before the first line that is no YAML, and what is wrong with that line.

    Scalars are texts: YAML 1.1 reads the ports 22:22 as the number 1342, and compose means no numbers anyway.
    """
    faults: list[_Fault] = []
    lines = text.expandtabs(2).splitlines()
    while True:
        try:
            # BaseLoader makes texts, lists and tables, and nothing else: it runs nothing.
            found = yaml.load("\n".join(lines), yaml.BaseLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = min(mark.line if mark else 0, len(lines) - 1)
            faults = faults or [_Fault(line + 1, f"{source}, line {line + 1}: {error.problem}; read up to there")]
            if line <= 0:
                raise ComposeUnreadable(source, str(error.problem), 1) from error
            lines = lines[:line]
            continue
        except (yaml.YAMLError, RecursionError) as error:
            raise ComposeUnreadable(source, "it is no text that YAML could be") from error
        if not isinstance(found, dict):
            raise ComposeUnreadable(source, "it is no table", faults[0].line if faults else 0)
        return found, faults


def listed(value: Any) -> list[Any]:
    """A list, also where one thing stands alone."""
    if value in (None, ""):
        return []
    return list(value) if isinstance(value, list) else [value]


def pairs(value: Any) -> dict[str, str]:
    """Variables, as a table or as NAME=VALUE; one without a value is left out, as it comes from a desk."""
    if isinstance(value, Mapping):
        return {str(name): str(one) for name, one in value.items()}
    split = (str(one).partition("=") for one in listed(value))
    return {name: one for name, sign, one in split if sign}


def words(value: Any) -> list[str]:
    """A command as an argument list; a line is split as a shell would."""
    import shlex

    return shlex.split(value) if isinstance(value, str) else [str(one) for one in listed(value)]


def ports(values: Iterable[Any]) -> list[tuple[int, int]]:
    """(published, inside) of each port. Raises ValueError for what is none."""
    found = []
    for one in values:
        if isinstance(one, Mapping):
            inside = int(str(one["target"]))
            found.append((int(str(one.get("published") or inside)), inside))
            continue
        parts = str(one).partition("/")[0].split(":")
        inside = int(parts[-1])
        found.append((int(parts[-2]) if len(parts) > 1 and parts[-2] else inside, inside))
    return found
