"""A deployment simulated: what must hold whatever comes, and small cases that can be followed by hand."""

from __future__ import annotations

import time

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.stress.forecasting.autoscaler import Autoscaler, Behavior, Policy, Rules
from wherry.stress.forecasting.forecast import Setup, forecast
from wherry.stress.forecasting.outcome import Objective, Price, outcome_of
from wherry.stress.forecasting.replica import Replica
from wherry.stress.forecasting.search import search
from wherry.stress.forecasting.simulation import Cluster, Phases, Run, simulate
from wherry.stress.forecasting.trace import Trace

# One pod answers 100/s and then uses 200m, twice its request.
POD = Replica(knee=90, saturation=100, request=100, cost=2, idle=0, start=5, running=1, limit=0.1, quick=0.01)
AT_ONCE = Behavior(Rules(0, (Policy("Percent", 1000, 15),)), Rules(0, (Policy("Percent", 1000, 15),)))
SCALER = Autoscaler(min=1, max=10, target=50, behavior=AT_ONCE)
PHASES = Phases(sync=0, scraped=10, lag=1)


def put(rate: list[float], scaler: Autoscaler = SCALER, pod: Replica = POD, **other: object) -> Run:
    return simulate(np.array(rate, dtype=np.float64), 1.0, pod, scaler, PHASES, **other)


def changes(values: np.ndarray) -> dict[int, int]:
    """The instants at which a value is new."""
    return {
        place: int(values[place]) for place in range(len(values)) if not place or values[place] != values[place - 1]
    }


def test_a_step_by_hand() -> None:
    run = put([10.0] * 40 + [50.0] * 60)
    # 10/s is 20 % of the request, which asks for one. The scrape at 40 still says that; the one at 55, seen at 56 and
    # acted on at 60, says 100 %: two pods. They answer from 65 on. The scrape at 70 covers 55 to 70, in which the new
    # pod was not ready all along: it counts as idle. The old one had 50/s for 10 s and 25/s for 5 s, 83 %; over both
    # that is 41 %, another direction, so nothing changes. At 90 both count with 50 % each, and two it stays.
    assert changes(run.desired) == {0: 1, 60: 2}
    assert changes(run.ready) == {0: 1, 65: 2}
    assert [run.usage[at] for at in (59, 60, 75)] == pytest.approx([20, 100, 250 / 3])


def test_metrics_are_as_old_as_their_lag() -> None:
    late = simulate(np.array([10.0] * 40 + [50.0] * 60), 1.0, POD, SCALER, Phases(sync=0, scraped=10, lag=6))
    assert changes(late.desired) == {0: 1, 75: 2}  # what was scraped at 55 is not seen at 60


def test_a_queue_beyond_capacity_and_its_end() -> None:
    fixed = Autoscaler(min=1, max=1, target=50)
    run = put([150.0] * 4 + [50.0] * 10, fixed)
    assert run.waiting[:4].tolist() == [50, 100, 150, 200]
    assert run.waiting[4:8].tolist() == [150, 100, 50, 0]
    assert run.served[:8].tolist() == [100] * 8
    assert not run.refused.any()


def test_who_would_wait_too_long_is_refused() -> None:
    patient = msgspec.structs.replace(POD, patience=1.0)
    run = put([300.0] * 3, Autoscaler(min=1, max=1, target=50), patient)
    assert run.waiting.tolist() == [100, 100, 100]
    assert run.refused.tolist() == [100, 200, 200]


def test_pods_wait_for_a_node() -> None:
    heavy = [10.0] * 40 + [200.0] * 120
    alone = put(heavy, cluster=Cluster(pods=2))
    assert alone.desired.max() > 2
    assert alone.ready.max() == 2
    grown = put(heavy, cluster=Cluster(pods=2, node=60))
    at = int(np.argmax(grown.desired > 2))
    assert int(np.argmax(grown.ready > 2)) == at + 60 + 5


traffic = st.lists(st.floats(0, 2000), min_size=1, max_size=12).map(lambda knots: [k for k in knots for _ in range(20)])


@settings(deadline=None, max_examples=60)
@given(
    traffic,
    st.integers(1, 4),
    st.integers(0, 12),
    st.integers(5, 200),
    st.floats(0, 15),
    st.floats(0, 15),
    st.floats(0, 14),
)
def test_what_holds_for_any_traffic(
    rate: list[float], least: int, more: int, target: int, sync: float, scraped: float, lag: float
) -> None:
    scaler = Autoscaler(min=least, max=least + more, target=target, behavior=AT_ONCE)
    run = simulate(np.array(rate), 1.0, POD, scaler, Phases(sync=sync, scraped=scraped, lag=lag))
    assert run.desired.min() >= least
    assert run.desired.max() <= least + more
    assert (run.ready <= np.maximum.accumulate(run.desired)).all()
    assert (run.served <= run.ready * POD.saturation + 1e-6).all()
    # no request is lost or made
    assert run.served.sum() + run.refused.sum() + run.waiting[-1] == pytest.approx(sum(rate), abs=1e-6)
    outcome = outcome_of(run, POD, Objective(), 1.0)
    assert 0 <= outcome.missed <= outcome.requests + 1e-6
    assert outcome.cost == pytest.approx(run.desired.sum() / 3600)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 95), min_size=2, max_size=2, unique=True))
def test_more_load_a_replica_is_never_faster(pair: list[float]) -> None:
    low, high = np.array([min(pair)]), np.array([max(pair)])
    idle = np.zeros(1)
    assert POD.slow(low, idle) <= POD.slow(high, idle)
    assert POD.tail(low, idle) <= POD.tail(high, idle)
    assert POD.slow(low, idle) <= POD.slow(low, idle + 0.05)


def test_the_knee_is_where_the_objective_just_holds() -> None:
    at = np.array([90.0])
    assert POD.slow(at, np.zeros(1))[0] == pytest.approx(POD.share)
    assert POD.tail(at, np.zeros(1))[0] == pytest.approx(POD.limit)


def test_what_a_pod_costs() -> None:
    assert Price(pod=0.1, cpu=0.04, memory=0.01).of_pod(500, 2) == pytest.approx(0.1 + 0.02 + 0.02)


def hill(top: float, seconds: int = 3600) -> Trace:
    at = np.arange(0, seconds, 60.0)
    return Trace(at, 20 + top * np.sin(np.pi * at / seconds) ** 2, float(seconds))


def test_the_band_and_the_line() -> None:
    setup = Setup(replica=POD, autoscaler=Autoscaler(min=1, max=20, target=50))
    many, one = forecast(hill(400), setup, runs=12), forecast(hill(400), setup, PHASES)
    assert (many.runs, one.runs) == (12, 1)
    assert (many.desired[0] <= many.desired[1]).all()
    assert (many.desired[1] <= many.desired[2]).all()
    assert (many.desired[0] < many.desired[2]).any()  # when its turns fall does matter
    assert (one.desired[0] == one.desired[2]).all()
    assert forecast(hill(400), setup, runs=12).outcomes == many.outcomes  # the same seed, the same figures


def test_search_finds_settings_that_hold_and_cost_less() -> None:
    traffic = hill(400)
    missing = Setup(replica=POD, autoscaler=Autoscaler(min=1, max=2, target=90))
    assert not forecast(traffic, missing).met
    found, tried = search(traffic, missing)
    assert found is not None
    assert found.met
    assert tried > 5
    lavish = forecast(traffic, msgspec.structs.replace(missing, autoscaler=Autoscaler(min=12, max=12, target=50)))
    assert lavish.met
    assert found.figure("pod_hours")[1] < lavish.figure("pod_hours")[1]
    # what was found holds when it is forecast again
    again = forecast(traffic, msgspec.structs.replace(missing, autoscaler=found.setup.autoscaler), seed=7)
    assert again.met


def test_search_says_when_nothing_holds() -> None:
    slow = Setup(replica=msgspec.structs.replace(POD, start=600), autoscaler=SCALER, cluster=Cluster(pods=1))
    assert search(hill(400), slow)[0] is None


def test_a_year_by_the_minute_in_bounded_work() -> None:
    """By the processor's own clock, which others on the machine do not run."""
    at = np.arange(0, 90 * 86400, 60.0)
    rate = 1e6 * (1.1 + np.sin(2 * np.pi * at / 86400))  # a million a second, over a quarter of a year
    pod = msgspec.structs.replace(POD, knee=900, saturation=1000, cost=0.2)
    setup = Setup(replica=pod, autoscaler=Autoscaler(min=2, max=100_000, target=60))
    before = time.process_time()
    found = forecast(Trace(at, rate, 90 * 86400.0), setup)
    assert time.process_time() - before < 10 / 4 * 3  # a year in ten seconds, and three times as much for a slow one
    assert found.desired.max() > 5000
