"""What a model is called when nobody says, what it may be called, and what its classes are called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from wherry.contract.names import object_name
from wherry.errors import DataUnreadable, FileMissing, UsageRefused

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
# Endings that say how a file is packed, not what it holds; and stems that say nothing.
PACKED = frozenset({".gz", ".bz2", ".xz", ".z", ".lzma", ".lz4"})
EMPTY = frozenset({"model", ""})


def given(name: str) -> str:
    """`name`, when it can stand in a URL and in a cluster. Raises UsageRefused with one that can."""
    if not NAME.fullmatch(name):
        hint = f"--name {cleaned(name)}" if cleaned(name) else "--name my-model"
        raise UsageRefused(f"{name!r} cannot be a model's name: letters, digits, dots, - and _, 63 at most", hint=hint)
    return name


def version(text: str) -> str:
    """`text`, when it can stand in a header and a label. Raises UsageRefused."""
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        raise UsageRefused(f"{text!r} cannot be a version: letters, digits, dots, - and _", hint="--version 1")
    return text


def of_file(path: Path) -> str:
    """The file's stem; of a file called `model`, its folder's name."""
    pure = Path(path.name)
    while pure.suffix.lower() in PACKED and pure.stem:
        pure = Path(pure.stem)
    stem = pure.stem if re.fullmatch(r"\.[A-Za-z][A-Za-z0-9]{0,7}", pure.suffix) else pure.name
    name = cleaned(stem)
    if name.lower() in EMPTY:
        name = cleaned(path.resolve().parent.name)
    return usable(name)


def of_estimator(estimator: Any, to: Path) -> str:
    """The class in kebab-case, of a pipeline its last step's; for a bundle in a folder of a project, that folder's."""
    steps = getattr(estimator, "steps", None)
    last = steps[-1][1] if isinstance(steps, list) and steps else estimator
    kebab = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", type(last).__name__).lower()
    return usable(cleaned(kebab) or cleaned(to.resolve().parent.name))


def usable(name: str) -> str:
    try:
        object_name(name)
    except ValueError:
        return "model"
    return name


def cleaned(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:63].rstrip("-._")


def labels_of(path: Path) -> tuple[str, ...]:
    """The name of each class, a line each. Raises FileMissing, DataUnreadable."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileMissing(
            str(path), "file of labels", "--labels FILE, with the name of each class on a line"
        ) from error
    except UnicodeDecodeError as error:
        raise DataUnreadable(str(path), "is not UTF-8", "save it as UTF-8") from error
    labels = tuple(line.strip() for line in text.rstrip().splitlines())
    if not all(labels):
        raise DataUnreadable(str(path), f"line {labels.index('') + 1} is empty", "give each class a name")
    first: dict[str, int] = {}
    for line, label in enumerate(labels, 1):
        if first.setdefault(label, line) != line:
            reason = f"lines {first[label]} and {line} are both {label!r}: a reply would not say which of them is meant"
            raise DataUnreadable(str(path), reason, "give each class a name of its own")
    return labels
