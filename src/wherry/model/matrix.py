"""Rows as a matrix of numbers, and arrays as plain values again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wherry.contract.wire import Cells, Outputs, Row, Rows

Floats: TypeAlias = NDArray[np.float64]


def matrix(rows: Sequence[Row]) -> Floats:
    """n x k, not to be written to: the cells as float64, NaN for a missing one.

    Raises TypeError, ValueError when a cell is no number; OverflowError when it is too large for one.
    """
    doubles = rows.doubles() if isinstance(rows, (Rows, Cells)) else None
    if doubles is None:
        return np.array(rows, dtype=np.float64)
    return np.frombuffer(doubles).reshape(len(rows), -1)


def plain(array: Any) -> list[Any]:
    """An array as a list without a single numpy scalar."""
    listed: list[Any] = np.asarray(array).tolist()
    if np.asarray(array).dtype != object:
        return listed
    return [item(value) for value in listed]


def item(value: Any) -> Any:
    if isinstance(value, list):
        return [item(inner) for inner in value]
    return value.item() if isinstance(value, np.generic) else value


def classified(found: Any, classes: list[Any]) -> Outputs:
    """The likeliest class of each row, and the probabilities of all; of two classes only the second one's came."""
    shares = np.asarray(found)
    if shares.ndim == 1:
        shares = np.stack([1 - shares, shares], axis=1)
    return Outputs([classes[place] for place in shares.argmax(axis=1).tolist()], shares.tolist())
