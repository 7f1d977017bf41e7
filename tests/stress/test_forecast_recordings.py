"""Forecasts held against what a real cluster did: runs recorded on 21 November 2026, Kubernetes 1.35, 2 cores."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from wherry.contract.recording import Recording, decode
from wherry.stress.forecasting import replay
from wherry.stress.forecasting.forecast import Forecast, Setup, forecast

RECORDINGS = Path(__file__).resolve().parent.parent / "data" / "recordings"
RUNS = ["autoscaling", "forest-ramp", "forest-rise", "forest-step", "ramp", "vectors-spike"]


def recorded(name: str) -> Recording:
    return decode((RECORDINGS / f"{name}.json").read_bytes())


def exact(run: Recording, setup: Setup) -> Forecast:
    """One line, with the phases that the recording has."""
    phases = replay.phases_of(run)
    assert phases is not None
    return forecast(replay.trace_of(run), setup, phases)


@pytest.mark.parametrize("name", RUNS)
def test_with_the_phases_it_is_within_one_replica(name: str) -> None:
    run = recorded(name)
    found = replay.compared(run, exact(run, replay.setup_of(run)))
    print(f"{name}: at most one apart for {found.within_one:.1%}")
    assert found.within_one >= 0.9


@pytest.mark.parametrize("name", RUNS)
def test_with_the_phases_the_time_to_scale_is_near(name: str) -> None:
    run = recorded(name)
    found = replay.compared(run, exact(run, replay.setup_of(run)))
    print(f"{name}: scaled after {found.scaled} s, forecast {found.scaled_forecast} s")
    assert found.time_error is not None
    assert found.time_error <= 0.2


@pytest.mark.parametrize("name", RUNS)
def test_without_the_phases_the_recording_lies_in_the_band(name: str) -> None:
    run = recorded(name)
    many = forecast(replay.trace_of(run), replay.setup_of(run))
    found = replay.compared(run, many)
    width = float((many.desired[2] - many.desired[0]).mean())
    print(f"{name}: in the band for {found.in_band:.1%}, which is {width:.2f} replicas wide")
    assert found.in_band >= 0.9
    assert width < 1.5  # a band that holds everything says nothing


def test_another_cost_or_another_loop_is_noticed() -> None:
    """The negative control: with half the CPU a request, or an autoscaler that never looks twice, it is far off."""
    run = recorded("ramp")
    right = replay.setup_of(run)
    cheap = msgspec.structs.replace(right, replica=msgspec.structs.replace(right.replica, cost=right.replica.cost / 2))
    assert replay.compared(run, exact(run, cheap)).within_one < 0.9
    slow = msgspec.structs.replace(right, autoscaler=msgspec.structs.replace(right.autoscaler, sync=120.0))
    found = replay.compared(run, exact(run, slow))
    assert found.time_error is None or found.time_error > 0.2
