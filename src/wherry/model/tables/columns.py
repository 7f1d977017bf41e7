"""A sample's columns: their types, ranges and values as a signature has them, and their cells as JSON carries them."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from wherry.contract.signature import Column, ColumnType
from wherry.contract.wire import Cell
from wherry.errors import SampleUnfit

MAX_CATEGORIES = 1000


def column_of(name: str, values: pd.Series, *, source: str, as_float: bool = False) -> Column:
    """The column that `values` show. Raises SampleUnfit for values that a request cannot carry."""
    kind = type_of(name, values, source)
    if as_float:
        if kind not in ("integer", "number"):
            raise SampleUnfit(
                source, f"column {name} is not of numbers: --float does not apply", f"leave out --float {name}"
            )
        kind = "number"
    cells = [cell for cell in cells_of(values, kind) if cell is not None]
    numbers = [cell for cell in cells if isinstance(cell, (int, float)) and math.isfinite(cell)]
    numeric = kind in ("integer", "number")
    return Column(
        name=name,
        type=kind,
        nullable=bool(values.isna().any()),
        low=float(min(numbers)) if numbers and numeric else None,
        high=float(max(numbers)) if numbers and numeric else None,
        categories=() if numeric else categories_of(cells),
        dtype="float64" if as_float else str(values.dtype),
        example=next((cell for cell in cells if not isinstance(cell, float) or math.isfinite(cell)), None),
    )


def type_of(name: str, values: pd.Series, source: str) -> ColumnType:
    """The signature's type of a column's values. Raises SampleUnfit."""
    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return type_of(name, pd.Series(dtype.categories), source)
    if pd.api.types.is_bool_dtype(dtype):
        return "boolean"
    if pd.api.types.is_integer_dtype(dtype):
        return "integer"
    if pd.api.types.is_float_dtype(dtype):
        return "number"
    if isinstance(dtype, pd.StringDtype):
        return "string"
    if not pd.api.types.is_object_dtype(dtype):
        hint = "turn it into a text or a number before the model is trained"
        raise SampleUnfit(source, f"column {name} is of {dtype}, which no JSON request can carry", hint)
    kinds = {kind_of(value) for value in values.dropna()}
    if kinds <= {"integer", "number"} and kinds:
        return "number" if "number" in kinds else "integer"
    if len(kinds) > 1:
        raise SampleUnfit(
            source, f"column {name} mixes values: {', '.join(sorted(kinds))}", "give it values of one kind"
        )
    found = kinds.pop() if kinds else "string"
    if found not in ("string", "boolean"):
        raise SampleUnfit(source, f"column {name} holds values of type {found}", "give it numbers or texts")
    return "string" if found == "string" else "boolean"


def kind_of(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "boolean"
    if isinstance(value, (int, np.integer)):
        return "integer"
    if isinstance(value, (float, np.floating)):
        return "number"
    return "string" if isinstance(value, str) else type(value).__name__


def cells_of(values: pd.Series, kind: ColumnType) -> list[Cell]:
    """The values as cells of that type; missing ones None. Infinite numbers stay: `finite` finds their rows."""
    missing = values.isna().to_numpy(dtype=bool)
    convert = {"number": float, "integer": int, "boolean": bool, "string": str}[kind]
    return [None if gone else convert(value) for value, gone in zip(values.tolist(), missing.tolist(), strict=True)]


def categories_of(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """The distinct values in order; none where there are more than a thousand."""
    found = set(cells)
    return tuple(sorted(found, key=lambda cell: (str(type(cell)), cell))) if len(found) <= MAX_CATEGORIES else ()


def finite(row: Sequence[Cell]) -> bool:
    """Whether a request can carry the row."""
    return not any(isinstance(cell, float) and not math.isfinite(cell) for cell in row)


def matched(
    frame: pd.DataFrame, names: Sequence[str] | None, count: int | None, source: str, *, targeted: bool = False
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The columns that the estimator was fitted on, in its order, and the sample's others.

    Raises SampleUnfit naming the columns that are missing, with the nearest there is, or both counts.
    """
    have = [str(name) for name in frame.columns]
    if names is not None:
        missing = [name for name in names if name not in have]
        if missing:
            spare = [name for name in have if name not in names]
            near = difflib.get_close_matches(missing[0], spare, n=1, cutoff=0.6)
            hint = (
                f"is {near[0]} meant? Rename it to {missing[0]}" if near else f"the sample has {', '.join(have[:12])}"
            )
            shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if len(missing) > 8 else "")
            raise SampleUnfit(source, f"does not have what the model was fitted on: {shown}", hint)
        return frame[list(names)], tuple(name for name in have if name not in names)
    if count is not None and len(have) != count:
        raise miscounted(have, count, source, targeted=targeted)
    return frame, ()


def miscounted(have: Sequence[str], count: int, source: str, *, targeted: bool) -> SampleUnfit:
    """What to say of a sample of another width than that of a model without names. targeted: the target is known."""
    reason = f"has {len(have)} columns; the model was fitted on {count}, without names"
    extra = len(have) - count
    index = [name for name in have if is_saved_index(name)]
    if extra > 0 and index:
        looks = f"{index[0]} looks like a saved index"
        return SampleUnfit(source, f"{reason}: {looks}", "leave it out: frame.to_csv(..., index=False)")
    if extra == 1 and not targeted:
        return SampleUnfit(source, reason, "name the column of right answers: --target COLUMN")
    shown = ", ".join(have[:12]) + (", ..." if len(have) > 12 else "")
    return SampleUnfit(source, reason, f"leave out {extra} of {shown}" if extra > 0 else f"the sample has {shown}")


def is_saved_index(name: str) -> bool:
    """Whether pandas gives a column this name when it saves an index, or reads a saved one again."""
    return bool(re.fullmatch(r"Unnamed: \d+|__index_level_\d+__|level_\d+|index", name))


def with_known(column: Column, known: Sequence[Any]) -> Column:
    """The column with the categories that its encoder was fitted on beside those of the sample."""
    plain = [value.item() if isinstance(value, np.generic) else value for value in known]
    cells = [cell for cell in plain if isinstance(cell, (str, int, float)) and cell == cell]
    if column.type in ("integer", "number"):
        cells = [
            int(cell) if column.type == "integer" and isinstance(cell, float) and cell.is_integer() else cell
            for cell in cells
        ]
    both = categories_of([*cells, *column.categories])
    return msgspec.structs.replace(column, categories=both) if both else column
