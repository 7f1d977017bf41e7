"""What a rule is: its declaration, the place where it is broken, the edit that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from wherry.doctor.project import Project

Severity = Literal["dangerous", "broken", "misleading"]
SEVERITIES: dict[Severity, str] = {
    "dangerous": "Dangerous",
    "broken": "Does not work, or not any more",
    "misleading": "Misleads or costs",
}


class Edit(msgspec.Struct, frozen=True):
    """Lines `first` to `last` of `file` (counted from 1; none when `last` is `first` - 1) become `lines`.

    An edit of a file that is not there makes it.
    """

    file: str
    first: int
    last: int
    lines: tuple[str, ...]


class Place(msgspec.Struct, frozen=True):
    """Where a rule is broken: a file below the project, a line from 1, what is there, and how to mend it unasked."""

    file: str
    line: int
    detail: str = ""
    edit: Edit | None = None


class Finding(msgspec.Struct, frozen=True):
    """One mistake at one place, with all that there is to say about it. mends: whether --fix mends it."""

    rule: str
    severity: Severity
    title: str
    consequence: str
    fix: str
    source: str
    file: str
    line: int
    detail: str
    mends: bool


@dataclass(frozen=True)
class Rule:
    """One mistake: its id, how bad it is, what it is, what comes of it, what to do, and where that is documented."""

    id: str
    severity: Severity
    title: str
    consequence: str
    fix: str
    source: str
    check: Callable[[Project], Iterator[Place]]


def rule(
    severity: Severity, *, consequence: str, fix: str, source: str
) -> Callable[[Callable[[Project], Iterator[Place]]], Rule]:
    """The rule that the decorated function checks: its name is the id, its docstring the title."""

    def declare(check: Callable[[Project], Iterator[Place]]) -> Rule:
        title = (check.__doc__ or "").strip().rstrip(".")
        return Rule(check.__name__.replace("_", "-"), severity, title, consequence, fix, source, check)

    return declare
