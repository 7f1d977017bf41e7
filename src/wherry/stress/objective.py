"""What a service is held to, and whether it was met. Pure."""

from __future__ import annotations

import msgspec


class Limit(msgspec.Struct, frozen=True):
    """One limit. name: p99, max, mean (ms), errors (percent) or rate (right answers a second). sign: <, <=, >, >=."""

    text: str
    name: str
    sign: str
    value: float

    @property
    def unit(self) -> str:
        return {"errors": "%", "rate": "/s"}.get(self.name, "ms")

    def judge(self, measured: float | None) -> Judged:
        """Whether `measured` holds; nothing measured is a miss."""
        met = (
            measured is not None
            and {
                "<": measured < self.value,
                "<=": measured <= self.value,
                ">": measured > self.value,
                ">=": measured >= self.value,
            }[self.sign]
        )
        return Judged(self.text, met, measured, self.value, self.unit)


class Judged(msgspec.Struct, frozen=True):
    """A limit beside what was measured; None where nothing could be."""

    objective: str
    met: bool
    measured: float | None
    limit: float
    unit: str
