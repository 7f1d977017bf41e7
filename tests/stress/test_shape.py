"""When requests come due: as many, and as dense, as the shape says."""

from __future__ import annotations

import numpy as np
import pytest

from wherry.errors import LoadRefused
from wherry.stress import shape as shapes
from wherry.stress.shape import Shape

SHAPES = {
    "constant": (shapes.constant(500, 4), 2000),
    "step": (shapes.step((100, 300, 200), 6), 1200),
    "ramp": (shapes.ramp(0, 1000, 4), 2000),
    "fall": (shapes.ramp(1000, 0, 4), 2000),
    "spike": (shapes.spike(100, 1000, 2, 1, 6), 1500),
    "sine": (shapes.sine(0, 200, 5, 10), 1000),
    "trace": (shapes.replay([0, 2, 3], [100, 0, 50], 4), 250),
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_as_many_come_due_as_the_shape_holds_never_backwards(name: str) -> None:
    shape, total = SHAPES[name]
    due = shape.due(0, shape.total)
    assert shape.total == pytest.approx(total, abs=1)
    assert due[0] == pytest.approx(0, abs=0.2 if name in ("ramp", "sine") else 1e-9)
    assert (np.diff(due) >= -1e-12).all()
    assert 0 <= due[-1] <= shape.seconds


@pytest.mark.parametrize("name", list(SHAPES))
def test_each_second_gets_its_share(name: str) -> None:
    shape, _ = SHAPES[name]
    due = shape.due(0, shape.total)
    edges = np.arange(0, shape.seconds + 0.5)
    counted = np.histogram(due, edges)[0]
    assert counted == pytest.approx(shape.offered(edges), abs=1.01)


def test_the_schedule_is_the_same_in_parts_as_at_once() -> None:
    shape = shapes.sine(10, 500, 3, 7)
    parts = np.concatenate([shape.due(0, 100), shape.due(100, 1000), shape.due(1000, shape.total)])
    assert (parts == shape.due(0, shape.total)).all()


def test_no_request_is_due_while_the_rate_is_nothing() -> None:
    due = shapes.replay([0, 2, 5], [100, 0, 100], 8).due(0, 300)
    assert not ((due > 2.0 + 1e-9) & (due < 5.0 - 1e-9)).any()


def test_a_shape_can_be_cut() -> None:
    shape = shapes.ramp(0, 1000, 10).cut(5)
    assert shape.seconds == 5
    assert shape.total == 1250


@pytest.mark.parametrize(
    ("shape", "unit"),
    [
        (shapes.constant(10, 3601), "seconds"),
        (shapes.constant(200_001, 1), "requests a second"),
        (shapes.constant(100_000, 3000), "requests"),
        (shapes.constant(0, 10), "requests"),
    ],
)
def test_nothing_passes_the_bounds(shape: Shape, unit: str) -> None:
    with pytest.raises(LoadRefused) as refused:
        shapes.bounded(shape)
    assert refused.value.unit == unit


def test_what_is_within_the_bounds_passes() -> None:
    shape = shapes.constant(10_000, 60)
    assert shapes.bounded(shape) is shape


def test_chance_keeps_the_rates_and_not_the_gaps() -> None:
    shape = shapes.step((100, 400), 40)
    chance = shape.scattered(seed=7)
    due = chance.due(0, chance.total)
    assert (np.diff(due) >= 0).all() and due[0] >= 0 and due[-1] <= 40
    first, second = np.histogram(due, [0, 20, 40])[0]
    assert first == pytest.approx(2000, abs=5 * 2000**0.5)
    assert second == pytest.approx(8000, abs=5 * 8000**0.5)
    gaps = np.diff(due[due < 20])
    # the gaps between independent arrivals spread as much as they last; even ones do not spread at all
    assert gaps.std() / gaps.mean() == pytest.approx(1, abs=0.1)
    even = shape.due(0, shape.total)
    assert np.diff(even[even < 20]).std() < 1e-9
    assert chance.offered(np.array([0.0, 20.0]))[0] == pytest.approx(100)


def test_chance_falls_the_same_way_again() -> None:
    shape = shapes.constant(50, 10)
    assert (shape.scattered(1).due(0, 10) == shape.scattered(1).due(0, 10)).all()
    assert (shape.scattered(1).due(0, 10) != shape.scattered(2).due(0, 10)).all()


def test_requests_are_replayed_at_their_own_moments() -> None:
    shape = shapes.arrivals(np.array([1000.0, 1000.25, 1003.5]))
    assert shape.total == 3
    assert shape.due(0, 3).tolist() == [0, 0.25, 3.5]
    assert shape.seconds == 4
    assert shape.offered(np.array([0.0, 1.0, 2.0, 3.0, 4.0])).tolist() == [2, 0, 0, 1]


def test_a_replay_can_be_sped_up_and_cut() -> None:
    shape = shapes.arrivals(np.array([0.0, 10.0, 20.0, 30.0])).faster(10)
    assert shape.due(0, 4).tolist() == [0, 1, 2, 3]
    assert shape.seconds == pytest.approx(3.1)
    assert shape.cut(1.5).total == 2
    assert shapes.constant(10, 60).faster(3).peak == 30
    assert shapes.constant(10, 60).faster(3).total == 600
