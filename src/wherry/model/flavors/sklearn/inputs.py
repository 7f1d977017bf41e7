"""Rows of cells as the table that an estimator was fitted on: an array where that is enough, else a frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from wherry.contract.signature import Column, Signature
from wherry.contract.wire import Cell, Row
from wherry.model.matrix import matrix

Kind = Literal["array", "frame"]
Build: TypeAlias = Callable[[Sequence[Row]], Any]

NUMERIC = frozenset({"number", "integer", "boolean"})
NAN = float("nan")


def fitted_on(estimator: Any) -> Kind:
    """What the estimator was given when it was fitted: it knows names only from a frame."""
    return "frame" if getattr(estimator, "feature_names_in_", None) is not None else "array"


def builder(signature: Signature, kind: Kind) -> Build:
    """The function that turns rows into an estimator's input."""
    return frame_builder(signature) if kind == "frame" else array_builder(signature)


def array_builder(signature: Signature) -> Build:
    """A 2-D array: of numbers when all columns are (NaN for missing), else of objects."""
    width = len(signature.columns)
    if not all(column.type in NUMERIC for column in signature.columns):
        return lambda rows: object_array(rows, width)
    dtype = common_dtype(signature)
    if dtype == np.float64:
        return lambda rows: matrix(rows).reshape(len(rows), width).copy()  # an estimator may write into its input

    def numbers(rows: Sequence[Row]) -> Any:
        try:
            return np.array(rows, dtype=dtype).reshape(len(rows), width)
        except (TypeError, OverflowError):  # a missing cell, or a number too large, in an array of integers
            return np.array(rows, dtype=np.float64).reshape(len(rows), width)

    return numbers


def common_dtype(signature: Signature) -> Any:
    """The dtype numpy gives an array that holds every column."""
    kinds = []
    for column in signature.columns:
        try:
            dtype = np.dtype(column.dtype or "float64")
        except TypeError:  # pandas' own: Int64, boolean, category
            return np.dtype(np.float64)
        if dtype.kind not in "fiub" or (column.nullable and dtype.kind != "f"):
            return np.dtype(np.float64)
        kinds.append(dtype)
    common = np.result_type(*kinds)
    return common if common.kind in "fiu" else np.dtype(np.float64)


def object_array(rows: Sequence[Row], width: int) -> Any:
    """The cells as they are; what is missing is NaN, as in a file that pandas read."""
    array = np.empty((len(rows), width), dtype=object)
    for place, row in enumerate(rows):
        array[place] = [NAN if cell is None else cell for cell in row]
    return array


def frame_builder(signature: Signature) -> Build:
    """A DataFrame with the names and the dtypes of the sample."""
    import pandas as pd  # 0.4 s: only for the estimators that cannot do without

    columns = signature.columns

    def frame(rows: Sequence[Row]) -> Any:
        by_column = zip(*rows, strict=True) if rows else [()] * len(columns)
        cells = {column.name: series(pd, column, values) for column, values in zip(columns, by_column, strict=True)}
        return pd.DataFrame(cells, copy=False)

    return frame


def series(pd: Any, column: Column, cells: Sequence[Cell]) -> Any:
    """One column of a frame."""
    dtype = column.dtype
    if dtype == "category":
        # As in the sample's own dtype: what the sample did not have is missing.
        known = {value: code for code, value in enumerate(column.categories)}
        return pd.Categorical.from_codes([known.get(cell, -1) for cell in cells], categories=list(known))
    missing = None in cells
    try:
        plain = np.dtype(dtype) if dtype else None
    except TypeError:
        return pd.array(cells, dtype=dtype)  # Int64, boolean, str, string: these know a missing cell themselves
    if column.type == "number":
        return np.array(cells, dtype=plain if plain is not None and plain.kind == "f" else np.float64)
    if column.type == "integer" and plain is not None and plain.kind in "iuf":
        try:
            return np.array(cells, dtype=np.float64 if missing else plain)
        except OverflowError:  # a number that the sample's dtype has no room for
            return np.array(cells, dtype=np.float64)
    if column.type == "integer" and plain is None and not missing:
        return np.array(cells, dtype=np.int64)
    if column.type == "boolean" and not missing and (plain is None or plain.kind == "b"):
        return np.array(cells, dtype=bool)
    values = np.empty(len(cells), dtype=object)
    values[:] = [NAN if cell is None else cell for cell in cells]
    return pd.Series(values, dtype=object) if dtype == "object" else values
