"""The knee: the highest rate at which one replica holds its objective, found by probes of load. Pure but for `measure`.

First the rate is doubled until a probe misses, then the gap is halved. A single probe proves little on a busy machine:
a miss counts only when a second probe misses too, the rate that is named at the end has held in a probe of its own, and
the one above it has missed again: a machine that stood still for a while is not taken for a service at its limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

LEAST = 0.2  # requests a second: below this nothing is worth serving
FIRST = 10.0  # requests a second, where nothing says better
NARROW = 1.05  # the highest rate that held and the least that missed may lie this far apart
AGAIN = 1.3  # how far the rate goes up where what had missed holds after all
CAREFUL = 0.95  # how far the rate goes down when the last probe misses


class Limits(msgspec.Struct, frozen=True):
    """What all probes together may cost. probe: seconds of one; the last takes twice as long."""

    rate: float = 20_000.0
    seconds: float = 300.0
    requests: int = 2_000_000
    probe: float = 5.0


class Probe(msgspec.Struct, frozen=True):
    """One run of load. tail: the latency the objective is about, in ms. cpu: millicores meanwhile, None if unknown.

    lagged: the generator, not the service, was the limit.
    """

    rate: float
    seconds: float
    sent: int
    held: bool
    throughput: float
    tail: float | None
    errors: float | None
    lagged: bool = False
    cpu: float | None = None


class Knee(msgspec.Struct, frozen=True):
    """What was found. rate: None where no rate held. reason: why the search ended, for a person.

    found: the rate lies between one that held and one that missed; else it is only known that it is at least `rate`.
    """

    rate: float | None
    found: bool
    reason: str
    probes: tuple[Probe, ...]

    @property
    def requests(self) -> int:
        return sum(probe.sent for probe in self.probes)

    @property
    def seconds(self) -> float:
        return sum(probe.seconds for probe in self.probes)


Measure = Callable[[float, float], Probe | None]  # rate and seconds; None: interrupted


class Stopped(Exception):
    """The search may not go on; `reason` says why."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Search:
    """A search under way, with what it has used."""

    def __init__(self, measure: Measure, limits: Limits, tell: Callable[[Probe], None]) -> None:
        self.measure, self.limits, self.tell = measure, limits, tell
        self.probes: list[Probe] = []
        self.good = 0.0  # the rate that is taken to hold, as the search stands

    def run(self, first: float = FIRST) -> Knee:
        """The knee, from probes that begin at `first`."""
        try:
            good, bad = self.bracket(min(first, self.limits.rate), 2.0)
            while bad < math.inf:
                good, bad = self.narrowed(good, bad)
                if not good:
                    return self.knee(None, True, "no rate held the objective")
                while not self.holds(good, 2 * self.limits.probe):
                    bad, good = good, good * CAREFUL
                    self.good = good
                if not self.once(bad):
                    return self.knee(good, True, f"it held at {good:,.4g}/s and missed at {bad:,.4g}/s")
                if bad >= self.limits.rate:
                    good, bad = bad, math.inf
                else:
                    held = bad
                    good, bad = self.bracket(min(AGAIN * held, self.limits.rate), AGAIN)
                    good = good or held
        except Stopped as stop:
            return self.knee(self.good or None, False, stop.reason)
        return self.knee(good, False, f"the objective still held at {good:,.0f}/s, the most that is tried")

    def bracket(self, rate: float, factor: float) -> tuple[float, float]:
        """The last rate that held and the first that missed, going up from `rate`; 0 or infinity for none."""
        good = 0.0
        while self.holds(rate):
            good = self.good = rate
            if rate >= self.limits.rate:
                return good, math.inf
            rate = min(factor * rate, self.limits.rate)
        return good, rate

    def narrowed(self, good: float, bad: float) -> tuple[float, float]:
        """The same two, NARROW apart."""
        while not good:
            if bad / 4 < LEAST:
                return 0.0, bad
            if self.holds(bad / 4):
                good = self.good = bad / 4
            else:
                bad /= 4
        while bad / good > NARROW:
            rate = math.sqrt(good * bad)
            if self.holds(rate):
                good = self.good = rate
            else:
                bad = rate
        return good, bad

    def knee(self, rate: float | None, found: bool, reason: str) -> Knee:
        return Knee(rate, found, reason, tuple(self.probes))

    def holds(self, rate: float, seconds: float | None = None) -> bool:
        """Whether the objective held at `rate`; a miss is tried once more."""
        return self.once(rate, seconds) or self.once(rate, seconds)

    def once(self, rate: float, seconds: float | None = None) -> bool:
        seconds = seconds or self.limits.probe
        # a rate so low that few requests come in that time needs longer to say anything
        seconds = min(max(seconds, 30 / rate), 4 * seconds)
        used = sum(probe.seconds for probe in self.probes)
        sent = sum(probe.sent for probe in self.probes)
        if used + seconds > self.limits.seconds:
            raise Stopped(f"its {self.limits.seconds:,.0f} s were used up")
        if sent + rate * seconds > self.limits.requests:
            raise Stopped(f"its {self.limits.requests:,} requests were used up")
        probe = self.measure(rate, seconds)
        if probe is None:
            raise Stopped("it was interrupted")
        self.probes.append(probe)
        self.tell(probe)
        if probe.lagged and not probe.held:
            raise Stopped(f"at {rate:,.0f}/s the generator was the limit, not the service")
        return probe.held
