"""Quick answers are None, or the class that the model gives, in any company."""

from __future__ import annotations

import math
import random
from array import array
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quick_parts import EPS, WAYS, Law, balanced, block, compiled, drawn, folded, ordinary, strange, sums_of

from wherry.model.flavors.linear import Decide, LinearScorer
from wherry.server import quick

module: Any = pytest.importorskip("wherry.server._quick", reason="quick answers are not compiled: no compiler")


@pytest.mark.parametrize(("decide", "classes"), WAYS)
def test_an_answer_is_that_of_the_model_in_any_company(decide: Decide, classes: int) -> None:
    numbers, chance = np.random.default_rng(7), random.Random(7)
    for columns in (1, 2, 3, 8, 40):
        law = Law(drawn(numbers, decide, classes, columns))
        rows = ordinary(numbers, columns, 16)
        answered, left = law.holds(rows, chance)
        assert left == 0 or columns == 1, "ordinary rows are answered"
        assert answered > 12
        answered, left = law.holds(strange(numbers, columns), chance)
        assert left >= 3
        near = [each for row in rows[:6] for each in balanced(law, row, chance)]
        doubtful = sum(law.must(row) is False for row in near)
        assert doubtful > len(near) / 4 or columns == 1
        assert law.holds(near + rows[:4], chance)[1] >= doubtful


@pytest.mark.parametrize(("decide", "classes"), WAYS)
def test_exact_ties_are_left_to_the_model(decide: Decide, classes: int) -> None:
    numbers, chance = np.random.default_rng(8), random.Random(8)
    ties = 0
    for columns in (1, 2, 5, 24):
        law = Law(drawn(numbers, decide, classes, columns, whole=True))
        rows: list[list[float]] = numbers.integers(-9, 10, (20, columns)).astype(float).tolist()
        rows += [each for row in rows[:10] for each in balanced(law, row, chance)]
        law.holds(rows, chance)
        tied = [row for row in rows if min(gap for gap, _ in law.gaps(row)) == 0]
        assert all(law.quick.answer(block(row), 0.0) is None for row in tied)
        ties += len(tied)
    assert ties >= 5


def test_two_columns_cancel_whatever_their_size() -> None:
    chance = random.Random(9)
    law = Law(folded("sign", (0, 1), [[1.0], [1.0], [1.0]], [0.0]))
    for power in range(-300, 299, 13):
        large = chance.uniform(1, 9) * 10.0**power
        rows = [[large, -large, small] for small in (0.0, large * EPS, -large * EPS, math.ulp(large), large * 1e-17)]
        assert law.holds(rows, chance) == (0, 5), rows
        if power > -280:
            assert law.holds([[large, -large, large * 1e-6], [large, -large, -large * 1e-6]], chance) == (2, 0)


@st.composite
def models_and_rows(draw: st.DrawFn) -> tuple[LinearScorer, list[list[float]]]:
    """A model and rows of any numbers, many of them the same ones."""
    decide, classes = draw(st.sampled_from(WAYS[:4]))
    columns, count = draw(st.integers(1, 5)), sums_of(decide, min(classes, 4))
    some = draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=4))
    number = st.sampled_from([*some, *(-each for each in some), 0.0, 1.0, -1.0, 1.0 + EPS])
    weights = draw(st.lists(st.lists(number, min_size=count, max_size=count), min_size=columns, max_size=columns))
    bias = draw(st.lists(number, min_size=count, max_size=count))
    rows = draw(st.lists(st.lists(number, min_size=columns, max_size=columns), min_size=1, max_size=6))
    return folded(decide, range(min(classes, 4)), weights, bias), rows


@settings(max_examples=120, deadline=None)
@given(models_and_rows(), st.randoms(use_true_random=False))
def test_whatever_the_numbers_are(one: tuple[LinearScorer, list[list[float]]], chance: random.Random) -> None:
    Law(one[0]).holds(one[1], chance)


@pytest.mark.parametrize("wrong", ["a weight", "the tails", "the bias", "the way to decide"])
def test_the_control_what_answers_otherwise_is_found(wrong: str) -> None:
    numbers, chance = np.random.default_rng(10), random.Random(10)
    scorer = drawn(numbers, "argmax", 3, 6)
    right = scorer.compared
    assert right is not None
    cells = array("d", right.weights)
    cells[2] = -100.0 * cells[2]
    sums = {
        "a weight": msgspec.structs.replace(right, weights=cells.tobytes()),
        "the tails": msgspec.structs.replace(right, classes=right.classes[::-1]),
        "the bias": msgspec.structs.replace(right, bias=array("d", [1e3, 0.0, 0.0]).tobytes()),
        "the way to decide": msgspec.structs.replace(right, decide="votes"),
    }
    rows = ordinary(numbers, 6, 60)
    Law(scorer).holds(rows, chance)
    with pytest.raises(AssertionError, match=r"and was answered|True, None"):
        Law(scorer, sums[wrong]).holds(rows, chance)


@pytest.mark.parametrize("kind", ["as it is", "no doubt"])
def test_the_control_what_leaves_no_doubt_is_found(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = ("#define SLACK (4 *", "#define SLACK (0 *"), ("#define TINY 1e-300", "#define TINY 0.0")
    monkeypatch.setattr(quick, "_quick", compiled(tmp_path, *(without if kind == "no doubt" else ())))
    numbers, chance = np.random.default_rng(11), random.Random(11)
    law = Law(drawn(numbers, "sign", 2, 12))
    rows = [each for row in ordinary(numbers, 12, 20) for each in balanced(law, row, chance)]
    if kind == "as it is":
        assert law.holds(rows, chance)[0] < len(rows) / 4
    else:
        with pytest.raises(AssertionError, match=r"False, b'HTTP|and was answered"):
            law.holds(rows, chance)
