"""Model files that an older scikit-learn wrote, told from their bytes: nothing of them is loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata
from importlib.resources import files as resources
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wherry.errors import WherryError

if TYPE_CHECKING:
    from wherry.doctor.project import Project

FIRST_HERE = (1, 1, 3)  # the first scikit-learn with wheels for Python 3.11, the oldest that wherry runs on
NO_MODELS = frozenset(
    {".py", ".md", ".txt", ".yaml", ".yml", ".csv", ".json", ".ipynb", ".html", ".toml", ".zip", ".whl"}
)
HEADS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x78", b"\x5d\x00")


class OldModel(msgspec.Struct, frozen=True):
    """A pickle of a scikit-learn that is too old: where, which version made it, and of what."""

    path: str
    version: str
    estimator: str
    reason: str


def is_old(version: str) -> bool:
    """Whether a version of scikit-learn has no wheel for any Python that wherry runs on."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    return bool(numbers) and numbers < FIRST_HERE[: len(numbers)]


def old_models(project: Project) -> Iterator[OldModel]:
    from wherry.doctor.project import MAX_MODEL
    from wherry.model.reading import files, pickles

    for path in project.paths:
        if path.suffix.lower() in NO_MODELS or not begins_like_one(path):
            continue
        try:
            file = files.read(path, MAX_MODEL)
            contents = pickles.read(file.content) if file.kind == "pickle" else None
        except (WherryError, OSError) as error:
            project.notes.append(f"{project.below(path)} was not read: {error}")
            continue
        version = contents.summary.versions.get("scikit-learn", "") if contents is not None else ""
        oldest = next((each for each in version.split(", ") if is_old(each)), "")
        if contents is not None and oldest:
            yield OldModel(project.below(path), oldest, contents.summary.type, why(oldest))


def begins_like_one(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(6).startswith(HEADS)
    except OSError:
        return False


def why(version: str) -> str:
    """Why a pickle of that version cannot be loaded here."""
    here = installed()
    beside = f", and here is {here}" if here else ""
    return (
        f"scikit-learn {version} made it{beside}: a pickle holds the inside of an estimator, which changes between "
        f"versions, and {version} itself cannot be installed: no wheel before 1.1.3 exists for Python 3.11 or newer"
    )


def installed() -> str:
    """The version of scikit-learn that is here; empty when there is none."""
    try:
        return metadata.version("scikit-learn")
    except metadata.PackageNotFoundError:
        return ""


def exporter() -> str:
    """The script that is run where the old model was made; what it writes is read here."""
    text = (resources("wherry.doctor") / "export_model.txt").read_text(encoding="utf-8")
    return text.replace("@TARGET@", installed() or "1.5.0")
