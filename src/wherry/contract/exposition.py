"""What /metrics says, read again: Prometheus's text as values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
ESCAPED = re.compile(r"\\(.)")


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


class Family(NamedTuple):
    """One metric: kind is counter, gauge or histogram."""

    name: str
    help: str
    kind: str
    samples: list[Sample]


def samples(text: str) -> Iterator[Sample]:
    """Every line that holds a value, in its order."""
    for line in text.splitlines():
        found = LINE.match(line)
        if found is not None:
            labels = {name: ESCAPED.sub(plain, value) for name, value in LABEL.findall(found[2] or "")}
            yield Sample(found[1], labels, float(found[3]))


def plain(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]


def families(text: str) -> list[Family]:
    """The same, metric by metric, as wherry writes it: help, type, values."""
    found: list[Family] = []
    said = ""
    for line in text.splitlines():
        word, _, rest = line.removeprefix("# ").partition(" ")
        if line.startswith("# HELP "):
            said = rest.partition(" ")[2]
        elif line.startswith("# TYPE "):
            name, _, kind = rest.partition(" ")
            found.append(Family(name, said, kind, []))
        elif word:
            found[-1].samples.extend(samples(line))
    return found
