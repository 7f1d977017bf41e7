"""What is wrong with a project: every rule asked, its places in the order of the files."""

from __future__ import annotations

from pathlib import Path

import msgspec

from wherry.doctor import pickled
from wherry.doctor.pickled import OldModel
from wherry.doctor.project import Project
from wherry.doctor.rule import Edit, Finding
from wherry.doctor.rules import ALL

MAX_PLACES = 200  # of one rule


class Examined(msgspec.Struct, frozen=True):
    """What was found; edits: what --fix would do; notes: what could not be read, and why."""

    files: int
    findings: tuple[Finding, ...]
    edits: tuple[Edit, ...]
    notes: tuple[str, ...]
    models: tuple[OldModel, ...]


def examine(path: Path) -> Examined:
    """The mistakes of the project at `path`, a folder or one file. Raises FileMissing."""
    project = Project(path)
    findings: list[Finding] = []
    edits: list[Edit] = []
    for rule in ALL:
        places = sorted(dict.fromkeys(rule.check(project)), key=lambda place: (place.file, place.line))[:MAX_PLACES]
        for place in places:
            findings.append(
                Finding(
                    rule=rule.id,
                    severity=rule.severity,
                    title=rule.title,
                    consequence=rule.consequence,
                    fix=rule.fix,
                    source=rule.source,
                    file=place.file,
                    line=place.line,
                    detail=place.detail,
                    mends=place.edit is not None,
                )
            )
            if place.edit is not None and place.edit not in edits:
                edits.append(place.edit)
    models = tuple(pickled.old_models(project))
    notes = tuple(dict.fromkeys(project.notes))
    return Examined(len(project.paths), tuple(findings), tuple(edits), notes, models)
