"""Rows as a matrix of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from wherry.contract.wire import Row, Rows

Floats: TypeAlias = NDArray[np.float64]


def matrix(rows: Sequence[Row]) -> Floats:
    """n x k, not to be written to: the cells as float64, NaN for a missing one.

    Raises TypeError, ValueError when a cell is no number; OverflowError when it is too large for one.
    """
    doubles = rows.doubles() if isinstance(rows, Rows) else None
    if doubles is None:
        return np.array(rows, dtype=np.float64)
    return np.frombuffer(doubles).reshape(len(rows), -1)
