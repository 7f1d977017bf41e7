"""The search for the knee on services that are known, and the settings that follow from what was measured."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.stress.advising.advice import Line, Measured, Wishes, advise
from wherry.stress.advising.knee import Knee, Limits, Probe, Search


class Service:
    """Holds its objective up to `knee`; a probe of fewer than all says otherwise by chance."""

    def __init__(self, knee: float, *, hiccups: float = 0.0, luck: float = 0.0, lag: float = float("inf")) -> None:
        self.knee, self.hiccups, self.luck, self.lag = knee, hiccups, luck, lag
        self.chance = random.Random(5)
        self.interrupted_at = float("inf")

    def measure(self, rate: float, seconds: float) -> Probe | None:
        if rate > self.interrupted_at:
            return None
        held = rate <= self.knee
        if held and self.chance.random() < self.hiccups:
            held = False
        if not held and rate < 1.1 * self.knee and self.chance.random() < self.luck:
            held = True
        return Probe(rate, seconds, round(rate * seconds), held, min(rate, self.knee), 10.0, 0.0, rate > self.lag)


def found(service: Service, limits: Limits | None = None, first: float = 10.0) -> Knee:
    return Search(service.measure, limits or Limits(seconds=3000), lambda probe: None).run(first)


@settings(deadline=None)
@given(st.floats(1, 19_000), st.floats(1, 500))
def test_the_knee_is_found_from_anywhere(knee: float, first: float) -> None:
    search = found(Service(knee), first=first)
    assert search.found
    assert search.rate is not None
    assert knee / 1.06 <= search.rate <= knee


@pytest.mark.parametrize("knee", [37.0, 410.0, 3300.0])
def test_hiccups_and_luck_move_it_little(knee: float) -> None:
    search = found(Service(knee, hiccups=0.15, luck=0.3))
    assert search.rate is not None
    assert 0.85 * knee <= search.rate <= 1.15 * knee


def test_a_plain_bisection_would_be_misled() -> None:
    """The negative control: a search that believes each probe ends far off on the same service."""
    service = Service(3300.0, hiccups=0.15, luck=0.3)

    def held(rate: float) -> bool:
        probe = service.measure(rate, 5.0)
        return probe is not None and probe.held

    ends = []
    for _ in range(20):
        good, bad = 0.0, 10.0
        while held(bad):
            good, bad = bad, 2 * bad
        while good and bad / good > 1.05:
            middle = (good * bad) ** 0.5
            good, bad = (middle, bad) if held(middle) else (good, middle)
        ends.append(good)
    assert sum(not 0.85 * 3300 <= end <= 1.15 * 3300 for end in ends) > 5


def test_a_machine_that_stood_still_is_not_the_service() -> None:
    """Everything misses for three probes on the way up; what was missed then is tried again at the end."""
    service = Service(3300.0)
    count = 0

    def stalled(rate: float, seconds: float) -> Probe | None:
        nonlocal count
        count += 1
        probe = service.measure(rate, seconds)
        return probe and (msgspec.structs.replace(probe, held=False) if 4 <= count <= 6 else probe)

    search = Search(stalled, Limits(seconds=3000), lambda probe: None).run(10.0)
    assert search.rate is not None
    assert 3300 / 1.06 <= search.rate <= 3300


def test_a_service_that_never_holds() -> None:
    search = found(Service(0.0))
    assert (search.rate, search.reason) == (None, "no rate held the objective")


def test_it_keeps_within_its_bounds() -> None:
    capped = found(Service(1e9), Limits(rate=500, seconds=3000))
    assert (capped.rate, capped.found) == (500, False)
    assert "the most that is tried" in capped.reason
    short = found(Service(1000.0), Limits(seconds=40, probe=5))
    assert short.seconds <= 40
    assert (short.found, short.reason) == (False, "its 40 s were used up")
    few = found(Service(1000.0), Limits(seconds=3000, requests=5000))
    assert few.requests <= 5000
    assert few.reason == "its 5,000 requests were used up"


def test_it_stops_where_the_generator_is_the_limit() -> None:
    search = found(Service(900.0, lag=600))
    assert not search.found
    assert "the generator was the limit" in search.reason
    assert search.rate == 640  # which held although it was sent late


def test_an_interrupted_search_keeps_what_held() -> None:
    service = Service(1000.0)
    service.interrupted_at = 100
    search = found(service)
    assert (search.rate, search.found, search.reason) == (80, False, "it was interrupted")


def by_path(lines: tuple[Line, ...]) -> dict[str, object]:
    return {line.path: line.value for line in lines}


MEASURED = Measured(
    knee=310.0,
    found=True,
    slo="p99<100ms",
    limit=100,
    cost=0.75,
    idle=5,
    memory=100 * 2**20,
    cpu_limit=250,
    start=6,
    batches=((1, 2.0), (4, 2.5), (16, 6.0), (64, 22.0), (256, 90.0)),
)


def test_the_settings_that_follow() -> None:
    lines = advise(MEASURED, Wishes(peak=1000, fewest=2, most=10))
    assert by_path(lines) == {
        "serve.workers": 1,
        "serve.batch_rows": 64,  # 22 ms are within a quarter of 100 ms, 90 are not
        "deploy.resources.cpu": "240m",  # 5 + 0.75 * 310 = 237.5
        "deploy.resources.cpu_limit": "250m",
        "deploy.resources.memory": "160Mi",  # 150 MiB, in whole steps of 16
        "deploy.autoscale.cpu": 75,  # 36 s at half as much again a minute: 100 / 1.3 = 76.9
        "deploy.autoscale.min": 2,
        "deploy.autoscale.max": 6,  # 1000 / 232.5 = 4.3, and one to lose
        "": None,
        "capacity.knee": 310,
        "capacity.slo": "p99<100ms",
        "capacity.cost": 0.75,
        "capacity.idle": 5,
        "capacity.start_seconds": 6,
        "capacity.peak": 1000,
    }
    assert all(line.reason for line in lines)


def test_what_was_not_seen_is_not_set() -> None:
    paths = by_path(advise(Measured(knee=50, found=False, slo="p99<1s", limit=1000), Wishes()))
    assert "deploy.resources.cpu" not in paths
    assert "deploy.resources.memory" not in paths
    assert "capacity.cost" not in paths
    assert paths["deploy.resources.cpu_limit"] is None
    assert paths["deploy.autoscale.max"] == 10


def test_the_batch_cap() -> None:
    def cap(*batches: tuple[int, float]) -> Line:
        return next(
            one
            for one in advise(msgspec.structs.replace(MEASURED, batches=batches), Wishes())
            if one.path == "serve.batch_rows"
        )

    assert cap().value is None
    assert cap((1, 80.0)).value == 1  # one row at least, however long it takes
    assert cap((1, 2.0), (4, 3.0)).value == 4
    assert "64 took 22 ms, 256 took 90 ms" in cap((64, 22.0), (256, 90.0)).reason
    assert "a quarter of the objective's 100 ms" in cap((64, 22.0)).reason


def test_a_request_never_passes_its_limit() -> None:
    hot = Measured(knee=400, found=True, slo="p99<1s", limit=1000, cost=0.75, idle=5, cpu_limit=250)
    assert by_path(advise(hot, Wishes()))["deploy.resources.cpu"] == "250m"
    (why,) = (line.reason for line in advise(hot, Wishes()) if line.path == "deploy.resources.cpu")
    assert why == "a replica uses all that its limit gives at 400/s, its knee"


@given(st.floats(0.5, 5000), st.floats(1, 600), st.floats(0.5, 1e6), st.integers(1, 50), st.integers(50, 200))
def test_bounds_that_can_be_set(knee: float, start: float, peak: float, fewest: int, most: int) -> None:
    measured = Measured(knee=knee, found=True, slo="p99<1s", limit=1000, start=start)
    paths = by_path(advise(measured, Wishes(peak=peak, fewest=fewest, most=most)))
    least, highest, target = (paths[f"deploy.autoscale.{name}"] for name in ("min", "max", "cpu"))
    assert isinstance(least, int)
    assert isinstance(highest, int)
    assert isinstance(target, int)
    assert 1 <= least <= highest
    assert 30 <= target <= 80
    assert highest * knee * target / 100 >= peak  # at most they carry what was asked
