"""How many requests a second are offered, and so when each one is due. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from wherry.errors import LoadRefused

Floats = npt.NDArray[np.float64]

# Nothing that this tool does passes these, whatever is asked.
MOST_RATE = 200_000.0  # requests a second
MOST_REQUESTS = 20_000_000
MOST_SECONDS = 3600.0


@dataclass(frozen=True)
class Shape:
    """An offered rate over time: linear between its knots; two knots at one time are a jump.

    times: seconds from the start, never falling, the first 0. rates: requests a second at those times. text: as asked.
    moments: when each request is due, where that does not follow from the rate alone.
    """

    text: str
    times: tuple[float, ...]
    rates: tuple[float, ...]
    moments: Floats | None = None

    @property
    def seconds(self) -> float:
        return self.times[-1]

    @property
    def peak(self) -> float:
        return max(self.rates)

    @property
    def total(self) -> int:
        """How many requests come due."""
        if self.moments is not None:
            return len(self.moments)
        return max(0, math.ceil(float(self._sums[-1]) - 1e-6))

    @cached_property
    def _sums(self) -> Floats:
        """How many requests were due before each knot."""
        times, rates = np.array(self.times, dtype=float), np.array(self.rates, dtype=float)
        parts = np.diff(times) * (rates[1:] + rates[:-1]) / 2
        return np.concatenate(([0.0], np.cumsum(parts)))

    def due(self, first: int, last: int) -> Floats:
        """Seconds from the start at which requests `first` up to but not including `last` are due."""
        if self.moments is not None:
            return self.moments[first:last]
        return self.when(np.arange(first, last, dtype=np.float64))

    def when(self, wanted: Floats) -> Floats:
        """Seconds from the start by which so many requests have come due."""
        times, rates = np.array(self.times, dtype=float), np.array(self.rates, dtype=float)
        place = np.clip(np.searchsorted(self._sums, wanted, side="right") - 1, 0, len(times) - 2)
        left = wanted - self._sums[place]
        width = times[place + 1] - times[place]
        slope = np.divide(rates[place + 1] - rates[place], width, out=np.zeros_like(width), where=width > 0)
        # left = r t + s t^2 / 2, solved in the form that loses no digits where the slope is small
        root = np.sqrt(np.maximum(rates[place] ** 2 + 2 * slope * left, 0))
        speed = rates[place] + root
        ahead = np.divide(2 * left, speed, out=np.zeros_like(left), where=speed > 0)
        return np.asarray(times[place] + np.minimum(ahead, width), dtype=np.float64)

    def offered(self, edges: Floats) -> Floats:
        """Mean requests a second offered between each two of `edges`."""
        times, rates = np.array(self.times, dtype=float), np.array(self.rates, dtype=float)
        place = np.clip(np.searchsorted(times, edges, side="right") - 1, 0, len(times) - 2)
        width = times[place + 1] - times[place]
        slope = np.divide(rates[place + 1] - rates[place], width, out=np.zeros_like(width), where=width > 0)
        ahead = np.clip(edges - times[place], 0, width)
        sums = self._sums[place] + rates[place] * ahead + slope * ahead**2 / 2
        return np.asarray(np.diff(sums) / np.diff(edges), dtype=np.float64)

    def scattered(self, seed: int = 0) -> Shape:
        """The same rates, at each moment as likely as at any other: arrivals as those of many independent people."""
        expected = float(self._sums[-1])
        gaps = np.random.default_rng(seed).exponential(size=math.ceil(expected + 10 * math.sqrt(expected) + 10))
        places = np.cumsum(gaps)
        return replace(self, text=f"{self.text}, poisson", moments=self.when(places[places < expected]))

    def faster(self, factor: float) -> Shape:
        """The same requests in a `factor` of the time, at as many times the rate."""
        moments = None if self.moments is None else self.moments / factor
        times, rates = (t / factor for t in self.times), (r * factor for r in self.rates)
        return Shape(f"{self.text}, {factor:g} times as fast", tuple(times), tuple(rates), moments)

    def cut(self, seconds: float) -> Shape:
        """The first `seconds` of it."""
        if seconds >= self.seconds:
            return self
        kept = [(t, r) for t, r in zip(self.times, self.rates, strict=True) if t < seconds]
        at = float(self.offered(np.array([seconds - 1e-9, seconds + 1e-9]))[0])
        moments = None if self.moments is None else self.moments[self.moments < seconds]
        return Shape(self.text, (*(t for t, _ in kept), seconds), (*(r for _, r in kept), at), moments)


def constant(rate: float, seconds: float) -> Shape:
    return Shape(f"{rate:g}/s", (0.0, seconds), (rate, rate))


def step(rates: tuple[float, ...], seconds: float, text: str = "") -> Shape:
    """Each of `rates` for an equal part of the time."""
    part = seconds / len(rates)
    times = [place for k in range(len(rates)) for place in (k * part, (k + 1) * part)]
    return Shape(text or "step", tuple(times), tuple(rate for rate in rates for _ in range(2)))


def ramp(low: float, high: float, seconds: float, text: str = "") -> Shape:
    return Shape(text or "ramp", (0.0, seconds), (low, high))


def spike(low: float, high: float, begin: float, length: float, seconds: float, text: str = "") -> Shape:
    """`low`, but `high` from `begin` for `length` seconds."""
    begin, end = min(begin, seconds), min(begin + length, seconds)
    times = (0.0, begin, begin, end, end, seconds)
    return Shape(text or "spike", times, (low, low, high, high, low, low))


def sine(low: float, high: float, period: float, seconds: float, text: str = "") -> Shape:
    """Between `low` and `high`, beginning at `low`; drawn by 48 straight lines a period."""
    count = min(20_000, max(48, math.ceil(48 * seconds / period)))
    times = [seconds * k / count for k in range(count + 1)]
    rates = [low + (high - low) * (1 - math.cos(2 * math.pi * t / period)) / 2 for t in times]
    return Shape(text or "sine", tuple(times), tuple(rates))


def replay(times: Sequence[float], rates: Sequence[float], seconds: float, text: str = "") -> Shape:
    """A trace: each rate holds from its moment until the next, the last until `seconds`; the first moment is 0."""
    ends = [*times[1:], seconds]
    knots = [at for begin, end in zip(times, ends, strict=True) for at in (float(begin), float(end))]
    return Shape(text or "trace", tuple(knots), tuple(float(rate) for rate in rates for _ in range(2)))


def arrivals(moments: Floats, text: str = "") -> Shape:
    """Requests at just these moments, in seconds, rising; the rate is what came in each second."""
    moments = moments - moments[0]
    seconds = math.floor(float(moments[-1])) + 1
    counts = np.bincount(moments.astype(np.int64), minlength=seconds)
    return replace(replay(range(seconds), counts.tolist(), float(seconds), text or "arrivals"), moments=moments)


def bounded(shape: Shape) -> Shape:
    """`shape`, when it is within what this tool will ever do. Raises LoadRefused."""
    if shape.seconds > MOST_SECONDS:
        raise LoadRefused("seconds", shape.seconds, MOST_SECONDS)
    if shape.peak > MOST_RATE:
        raise LoadRefused("requests a second", shape.peak, MOST_RATE)
    if shape.total > MOST_REQUESTS:
        raise LoadRefused("requests", shape.total, MOST_REQUESTS)
    if shape.total < 1:
        raise LoadRefused("requests", 0, MOST_REQUESTS)
    return shape
