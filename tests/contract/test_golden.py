"""Golden answers: labels equal, numbers within the tolerance, and nothing of another type."""

from __future__ import annotations

from typing import Any

import pytest

from wherry.contract.golden import Difference, GoldenRows, differences, same

NEAR = {"rtol": 1e-6, "atol": 1e-9}


@pytest.mark.parametrize(
    ("want", "have", "equal"),
    [
        ("M", "M", True),
        ("M", "B", False),
        (1, 1, True),
        (1, 1.0, False),
        (1, True, False),
        (True, True, True),
        (True, 1, False),
        (1.0, 1, True),
        (1.0, 1.0 + 5e-7, True),
        (1.0, 1.0 + 5e-6, False),
        (0.0, 5e-10, True),
        (0.0, 5e-9, False),
        (1.0, True, False),
        (1.0, "1.0", False),
        (float("nan"), float("nan"), False),
        ([1.0, 2.0], (1.0, 2.0 + 1e-7), True),
        ([1.0, 2.0], [1.0], False),
        ([1.0], 1.0, False),
        (None, None, True),
    ],
)
def test_same(want: Any, have: Any, equal: bool) -> None:
    assert same(want, have, **NEAR) is equal


def test_differences_name_their_rows() -> None:
    assert differences(["a", "b", "c"], ["a", "x", "c"], **NEAR) == (Difference(1, "b", "x"),)
    assert differences([1.0], [1.0], **NEAR) == ()
    (difference,) = differences(["a", "b"], ["a"], **NEAR)
    assert (difference.expected, difference.found) == ("2 answers", "1 answers")


def test_the_request_asks_for_all_rows_at_once() -> None:
    rows = GoldenRows(("a", "b"), ((1.0, None), (2.0, "x")), ("p", "q"))
    assert rows.request() == {"columns": ["a", "b"], "rows": [[1.0, None], [2.0, "x"]]}
