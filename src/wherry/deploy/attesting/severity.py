"""How bad a vulnerability is: as its database says, else as its CVSS 3 vector comes to."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from typing import Any


class Level(enum.Enum):
    """From harmless to worst. unrated counts as high: nobody has said that it is less."""

    low = "low"
    medium = "medium"
    unrated = "unrated"
    high = "high"
    critical = "critical"

    @property
    def rank(self) -> int:
        return {"low": 1, "medium": 2, "unrated": 3, "high": 3, "critical": 4}[self.value]


WORDS = {
    "LOW": Level.low,
    "MODERATE": Level.medium,
    "MEDIUM": Level.medium,
    "HIGH": Level.high,
    "CRITICAL": Level.critical,
}
# The weights of CVSS 3.0 and 3.1; privileges weigh more where the scope changes.
WEIGHTS = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "UI": {"N": 0.85, "R": 0.62},
    "C": {"H": 0.56, "L": 0.22, "N": 0.0},
    "I": {"H": 0.56, "L": 0.22, "N": 0.0},
    "A": {"H": 0.56, "L": 0.22, "N": 0.0},
}
PRIVILEGES = {"U": {"N": 0.85, "L": 0.62, "H": 0.27}, "C": {"N": 0.85, "L": 0.68, "H": 0.5}}


def of(specific: Mapping[str, Any], stated: Iterable[Mapping[str, Any]]) -> Level:
    """The level that the database's word or, without one, the worst of the vectors stands for; else unrated."""
    word = str(specific.get("severity", "")).upper()
    if word in WORDS:
        return WORDS[word]
    scores = [found for one in stated if (found := score(str(one.get("score", "")))) is not None]
    return rated(max(scores)) if scores else Level.unrated


def rated(score: float) -> Level:
    """CVSS's own words for its numbers."""
    return Level.low if score < 4 else Level.medium if score < 7 else Level.high if score < 9 else Level.critical


def score(vector: str) -> float | None:
    """The base score of a CVSS 3 vector, 0 to 10; None of any other text."""
    kind, _, rest = vector.partition("/")
    if kind not in ("CVSS:3.0", "CVSS:3.1"):
        return None
    values = dict(part.split(":", 1) for part in rest.split("/") if ":" in part)
    try:
        reach, effort, help_of, secret, whole, there = (WEIGHTS[name][values[name]] for name in WEIGHTS)
        privileges = PRIVILEGES[values["S"]][values["PR"]]
    except KeyError:
        return None
    lost = 1 - (1 - secret) * (1 - whole) * (1 - there)
    changed = values["S"] == "C"
    impact = 7.52 * (lost - 0.029) - 3.25 * (lost - 0.02) ** 15 if changed else 6.42 * lost
    if impact <= 0:
        return 0.0
    ease = 8.22 * reach * effort * privileges * help_of
    return up(min((1.08 if changed else 1.0) * (impact + ease), 10))


def up(value: float) -> float:
    """The next tenth, as CVSS 3.1 rounds: not fooled by how numbers are kept."""
    whole = round(value * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (math.floor(whole / 10_000) + 1) / 10
