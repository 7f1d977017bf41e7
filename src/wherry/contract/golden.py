"""Golden rows: inputs with their answers, kept in the bundle, asked again wherever the model is about to be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from wherry.contract.wire import Row


class GoldenRows(msgspec.Struct, frozen=True, omit_defaults=True):
    """What golden.json holds. rows: n rows of cells in the order of `columns`; predictions, probabilities: n each."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    predictions: tuple[Any, ...]
    probabilities: tuple[tuple[float, ...], ...] | None = None

    def request(self) -> dict[str, Any]:
        """The body that asks for all of them at once: {"columns": [...], "rows": [...]}."""
        return {"columns": list(self.columns), "rows": [list(row) for row in self.rows]}


class Difference(msgspec.Struct, frozen=True):
    """A golden row that was answered otherwise."""

    row: int
    expected: Any
    found: Any


def differences(expected: Sequence[Any], found: Sequence[Any], *, rtol: float, atol: float) -> tuple[Difference, ...]:
    """Where `found` departs from `expected`: labels must be equal, numbers within rtol and atol."""
    if len(expected) != len(found):
        return (Difference(min(len(expected), len(found)), f"{len(expected)} answers", f"{len(found)} answers"),)
    return tuple(
        Difference(index, want, have)
        for index, (want, have) in enumerate(zip(expected, found, strict=True))
        if not same(want, have, rtol, atol)
    )


def same(want: Any, have: Any, rtol: float, atol: float) -> bool:
    if isinstance(want, (list, tuple)):
        return (
            isinstance(have, (list, tuple))
            and len(want) == len(have)
            and all(same(a, b, rtol, atol) for a, b in zip(want, have, strict=True))
        )
    if isinstance(want, float) and isinstance(have, (int, float)) and not isinstance(have, bool):
        return math.isclose(want, have, rel_tol=rtol, abs_tol=atol)
    return type(want) is type(have) and bool(want == have)
