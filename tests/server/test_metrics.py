"""What was answered together is counted together, as if each had been counted by itself."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from wherry.server.board import Board
from wherry.server.metrics import LATENCIES, Histogram, Metrics

SECONDS = st.one_of(st.sampled_from(LATENCIES), st.floats(0.0, 60.0))


def buckets(found: Histogram) -> list[float]:
    return [found.cells[place] for place in found.places[:-1]]


@given(st.lists(SECONDS, min_size=1, max_size=80))
def test_together_is_one_by_one(values: Sequence[float]) -> None:
    together, apart = (Histogram(Board(), "seconds", "", LATENCIES) for _ in range(2))
    together.observe(values)
    for value in values:
        apart.observe([value])
    expected = [0.0] * (len(LATENCIES) + 1)
    for value in values:
        expected[bisect_left(LATENCIES, value)] += 1
    assert buckets(together) == buckets(apart) == expected
    assert abs(together.cells[together.places[-1]] - sum(values)) < 1e-9 * (1 + sum(values))


@given(st.lists(st.sampled_from([0, 1, 2, "a", "b"]), max_size=50), st.lists(st.sampled_from([1, "a"]), max_size=9))
def test_classes_are_counted_however_they_come(first: list[object], second: list[object]) -> None:
    metrics = Metrics()
    metrics.predicted(first)
    metrics.predicted(second)
    counted = {value: metrics.cells[place] for value, place in metrics.classes.items()}
    assert counted == {value: (first + second).count(value) for value in {*first, *second}}
