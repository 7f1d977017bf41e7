"""Shapes, objectives and traces as people type them; what cannot be read is refused with its place."""

from __future__ import annotations

import pytest

from wherry.errors import ExpressionRefused
from wherry.stress.grammar import read_duration, read_objective, read_shape


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30), ("30s", 30), ("1.5s", 1.5), ("250ms", 0.25), ("2m", 120), ("4m30s", 270), ("1h", 3600)],
)
def test_durations(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


def test_an_objective_is_read() -> None:
    found = read_objective("p99<50ms, errors<=0.1%,p99.9<1.5s,max<2s,mean<300us,rate>990/s")
    assert [(limit.text, limit.name, limit.sign, limit.value) for limit in found] == [
        ("p99<50ms", "p99", "<", 50),
        ("errors<=0.1%", "errors", "<=", 0.1),
        ("p99.9<1.5s", "p99.9", "<", 1500),
        ("max<2s", "max", "<", 2000),
        ("mean<300us", "mean", "<", pytest.approx(0.3)),
        ("rate>990/s", "rate", ">", 990),
    ]


def test_a_limit_is_judged() -> None:
    under, at_most, above = read_objective("p99<50ms,errors<=1%,rate>=10")
    assert under.judge(49.9).met and not under.judge(50.0).met
    assert at_most.judge(1.0).met and not at_most.judge(1.1).met
    assert above.judge(10.0).met and not above.judge(9.9).met
    assert not under.judge(None).met


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("p99<50m", 7, "expected ms, s or us"),
        ("p99<50", 7, "expected ms, s or us"),
        ("p99 50ms", 5, "expected < or >"),
        ("p99>50ms", 4, "held below"),
        ("rate<100", 5, "held above"),
        ("p100<5ms", 2, "percentile"),
        ("p<5ms", 2, "percentile"),
        ("p99<50ms;errors<1%", 9, "','"),
        ("p99<50ms,error<1%", 10, "expected p50"),
        ("p99<50ms,", 10, "expected p50"),
        ("errors<1", 9, "expected %"),
        ("", 1, "expected p50"),
        ("p99<fast", 5, "expected a number"),
    ],
)
def test_an_objective_that_cannot_be_read_names_the_place(text: str, place: int, words: str) -> None:
    if text == "p99<50ms,":  # a trailing comma is a limit that was forgotten
        place = 10
    with pytest.raises(ExpressionRefused, match="--slo") as refused:
        read_objective(text)
    assert refused.value.place == place
    assert words in str(refused.value)
    assert "p99<50ms" in refused.value.hint


@pytest.mark.parametrize(
    ("text", "knots"),
    [
        ("step:100,200", [(0, 100), (5, 100), (5, 200), (10, 200)]),
        ("ramp:10-50", [(0, 10), (10, 50)]),
        ("spike:1-9@2s+3s", [(0, 1), (2, 1), (2, 9), (5, 9), (5, 1), (10, 1)]),
    ],
)
def test_shapes(text: str, knots: list[tuple[float, float]]) -> None:
    shape = read_shape(text, 10)
    assert list(zip(shape.times, shape.rates, strict=True)) == knots
    assert shape.text == text


def test_a_sine_begins_low_and_is_highest_after_half_a_period() -> None:
    shape = read_shape("sine:100-900/4s", 8)
    assert shape.rates[0] == 100
    assert shape.peak == pytest.approx(900)
    assert shape.times[shape.rates.index(shape.peak)] % 4 == pytest.approx(2)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("saw:1-2", 1),
        ("step", 5),
        ("step:", 6),
        ("step:1;2", 7),
        ("ramp:10", 8),
        ("ramp:10-x", 9),
        ("ramp:1-2,3", 9),
        ("spike:1-2", 10),
        ("spike:1-2@3q+1s", 12),
        ("sine:1-2/0s", 10),
        ("sine:1-2", 9),
    ],
)
def test_a_shape_that_cannot_be_read_names_the_place(text: str, place: int) -> None:
    with pytest.raises(ExpressionRefused, match="--shape") as refused:
        read_shape(text, 10)
    assert refused.value.place == place
