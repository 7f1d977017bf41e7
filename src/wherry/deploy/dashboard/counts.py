"""What a pod has counted, read from the text of its /metrics, and what was added between two readings. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec

from wherry.contract import names

_LINE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_WHOLE = {"n": "\n"}
Key = TypeVar("Key")
OTHER = "other"  # the door of probes and pages: no predictions are asked there


class Counts(msgspec.Struct, frozen=True):
    """Requests for predictions by status; how many took at most so many seconds, by bound; rows by class answered."""

    statuses: Mapping[str, float] = {}
    buckets: Mapping[float, float] = {}
    classes: Mapping[str, float] = {}
    in_flight: float = 0.0

    @property
    def requests(self) -> float:
        return sum(self.statuses.values())

    def of(self, first: str) -> float:
        """Requests whose status begins so: 5 for what failed, 4 for what was refused."""
        return sum(count for status, count in self.statuses.items() if status.startswith(first))

    def since(self, before: Counts) -> Counts:
        """What was counted after `before`; all of it where a restart began the count anew."""
        if self.requests < before.requests:
            return self
        return Counts(
            less(self.statuses, before.statuses),
            less(self.buckets, before.buckets),
            less(self.classes, before.classes),
            self.in_flight,
        )

    def percentile(self, share: float) -> float | None:
        """Seconds within which this share was answered, evenly spread within its bucket; None where none was."""
        total = max(self.buckets.values(), default=0.0)
        if total <= 0:
            return None
        low = below = 0.0
        for bound in sorted(self.buckets):
            count = self.buckets[bound]
            if count >= share * total:
                if bound == float("inf"):
                    return low  # all that is known: more than the last bound
                return low + (bound - low) * (share * total - below) / (count - below) if count > below else bound
            low, below = bound, count
        return low


def read(text: str) -> Counts:
    """What /metrics says. Lines that are no metric of wherry's are passed over."""
    statuses: dict[str, float] = {}
    buckets: dict[float, float] = {}
    classes: dict[str, float] = {}
    in_flight = 0.0
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found is None:
            continue
        name, value = found["name"], float(found["value"])
        labels = {key: _ESCAPED.sub(meant, said) for key, said in _LABEL.findall(found["labels"] or "")}
        if labels.get("door") == OTHER:
            continue
        if name == names.METRIC_REQUESTS:
            statuses[labels["status"]] = statuses.get(labels["status"], 0.0) + value
        elif name == f"{names.METRIC_LATENCY}_bucket":
            bound = float(labels["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
        elif name == names.METRIC_CLASSES:
            classes[labels["class"]] = value
        elif name == names.METRIC_IN_FLIGHT:
            in_flight += value
    return Counts(statuses, buckets, classes, in_flight)


def together(counts: Iterable[Counts]) -> Counts:
    """The counts of several pods as one."""
    all_of_them = tuple(counts)
    return Counts(
        more(one.statuses for one in all_of_them),
        more(one.buckets for one in all_of_them),
        more(one.classes for one in all_of_them),
        sum(one.in_flight for one in all_of_them),
    )


def meant(found: re.Match[str]) -> str:
    return _WHOLE.get(found[1], found[1])


def less(now: Mapping[Key, float], before: Mapping[Key, float]) -> dict[Key, float]:
    return {key: value - before.get(key, 0.0) for key, value in now.items()}


def more(parts: Iterable[Mapping[Key, float]]) -> dict[Key, float]:
    found: dict[Key, float] = {}
    for part in parts:
        for key, value in part.items():
            found[key] = found.get(key, 0.0) + value
    return found
