"""A sample as people give it (a frame, an array, lists), as the frame and the rows that a model is described by."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from wherry.contract.signature import Column, Signature
from wherry.contract.wire import Row
from wherry.errors import SampleUnfit
from wherry.model.matrix import plain
from wherry.model.tables.columns import cells_of, column_of, finite, matched

SAMPLE = "the sample"


class Described(msgspec.Struct, frozen=True):
    """A signature, and the sample as its rows.

    table: the sample's columns as the estimator was fitted on them (a frame), for predict; answers: the target, plain
    values. rows, table and answers are of one length. left_out: rows with infinite numbers, which no request carries.
    """

    signature: Signature
    rows: list[Row]
    table: Any = None
    answers: list[Any] | None = None
    left_out: int = 0


class Sampled(msgspec.Struct, frozen=True):
    """A sample's columns, as a model's names or their number put them in order, and its rows.

    rows, frame and answers are of one length; unused: columns that the model does not have; named: whether names came.
    """

    columns: tuple[Column, ...]
    unused: tuple[str, ...]
    named: bool
    rows: list[Row]
    frame: Any
    answers: list[Any] | None
    left_out: int


def of(
    sample: Any,
    answers: Any,
    names: Sequence[str] | None,
    count: int | None,
    *,
    target: str = "",
    float_columns: Sequence[str] = (),
    source: str = SAMPLE,
) -> Sampled:
    """The rows of `sample`, with the columns `names`, or `count` of them where a model has no names.

    Raises SampleUnfit when columns are missing, or when no row of them can be sent as JSON.
    """
    targeted = bool(target) or answers is not None
    frame, unused = matched(frame_of(sample, names, source), names, count, source, targeted=targeted)
    refuse_unknown_floats(float_columns, tuple(frame.columns), source)
    columns = tuple(column_of(n, frame[n], source=source, as_float=n in float_columns) for n in frame.columns)
    rows = list(zip(*(cells_of(frame[c.name], c.type) for c in columns), strict=True))
    sendable = [finite(row) for row in rows]
    good = [row for row, fine in zip(rows, sendable, strict=True) if fine]
    if not good:
        raise SampleUnfit(source, "has no row without infinite numbers", "remove infinite numbers from the sample")
    keep = np.array(sendable)
    truth = None if answers is None else answers_of(answers, keep, source)
    named = names is not None or hasattr(sample, "columns")
    return Sampled(columns, unused, named, good, frame[keep], truth, len(rows) - len(good))


def frame_of(sample: Any, names: Sequence[str] | None, source: str) -> pd.DataFrame:
    """The sample as a frame with texts for names. Positions become x0, x1, ... or the estimator's own names."""
    if hasattr(sample, "to_pandas") and not isinstance(sample, pd.DataFrame):  # polars, pyarrow
        sample = sample.to_pandas()
    if isinstance(sample, pd.DataFrame):
        if list(sample.columns) != list(range(sample.shape[1])):
            return sample.set_axis([str(name) for name in sample.columns], axis=1).reset_index(drop=True)
        frame = sample.reset_index(drop=True)
    else:
        if hasattr(sample, "toarray"):  # a sparse matrix
            sample = sample.toarray()
        array = np.asarray(sample)
        if array.ndim != 2:
            raise SampleUnfit(source, f"is not a table: its shape is {array.shape}", "give rows and columns")
        frame = pd.DataFrame(array).infer_objects()
    width = frame.shape[1]
    fitting = list(names) if names is not None and len(names) == width else [f"x{place}" for place in range(width)]
    return frame.set_axis(fitting, axis=1)


def refuse_unknown_floats(float_columns: Sequence[str], columns: tuple[str, ...], source: str) -> None:
    for name in float_columns:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"did you mean --float {near[0]}?" if near else f"the columns are {', '.join(columns[:12])}"
            raise SampleUnfit(source, f"has no column {name} that the model uses", hint)


def answers_of(answers: Any, keep: Any, source: str) -> list[Any]:
    """The target as plain values, one a row that is kept (a list where the target has several columns)."""
    array = np.asarray(answers)
    if len(array) != len(keep):
        raise SampleUnfit(source, f"has {len(keep)} rows and {len(array)} answers", "one answer a row")
    if array.ndim > 1 and array.shape[1] == 1:
        array = array[:, 0]
    return plain(array[keep])
