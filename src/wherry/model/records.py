"""What people hold rows in (dicts, lists, arrays, frames) as records that a signature can check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def records_of(rows: Any) -> Sequence[Any]:
    """`rows` as a list of records by name (dicts) or by position (lists), of plain Python values, missing ones None.

    Neither pandas nor numpy is imported: who passes a frame has it, and says so by what it can do.
    """
    if isinstance(rows, Mapping):
        return [{name: plain(value) for name, value in rows.items()}]
    if hasattr(rows, "columns") and hasattr(rows, "__getitem__"):
        return frame_records(rows)
    if hasattr(rows, "tolist") and hasattr(rows, "ndim"):
        listed: list[Any] = rows.tolist()
        return [plain_list(row) for row in ([listed] if rows.ndim == 1 else listed)]
    return [record(row) for row in rows]


def frame_records(frame: Any) -> list[Any]:
    """The rows of a pandas or polars frame; by position when its columns are just numbered."""
    names = list(frame.columns)
    columns = [plain_list(frame[name].to_list() if hasattr(frame[name], "to_list") else frame[name]) for name in names]
    if names == list(range(len(names))):
        return [list(row) for row in zip(*columns, strict=True)]
    texts = [str(name) for name in names]
    return [dict(zip(texts, row, strict=True)) for row in zip(*columns, strict=True)]


def record(row: Any) -> Any:
    if isinstance(row, Mapping):
        return {name: plain(value) for name, value in row.items()}
    if hasattr(row, "tolist"):
        row = row.tolist()
    return plain_list(row) if isinstance(row, (list, tuple)) else row


def plain_list(values: Any) -> list[Any]:
    return [plain(value) for value in values]


def plain(value: Any) -> Any:
    """`value` as JSON has it: numpy's scalars as Python's, everything that means missing (NaN, NA, NaT) as None."""
    if value is None or value.__class__ in (str, int, bool):
        return value
    if hasattr(value, "item") and hasattr(value, "dtype"):
        value = value.item()
    if isinstance(value, float):
        return None if value != value else value
    if value.__class__.__name__ in ("NAType", "NaTType"):
        return None
    return value
