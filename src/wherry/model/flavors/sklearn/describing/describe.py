"""From a fitted estimator and a sample of its data to the signature: what it accepts, what it answers.

What the estimator's tags only claim (missing values, unseen categories) is tried on the estimator itself.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector

from wherry.contract.signature import Column, ColumnType, OutputSpec, Signature
from wherry.contract.wire import Row
from wherry.errors import ModelUnreadable, SampleUnfit
from wherry.model.flavors.sklearn.describing import trial
from wherry.model.flavors.sklearn.describing.columns import cells_of, column_of, finite, matched, with_known
from wherry.model.flavors.sklearn.scorer import plain

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


def describe(
    estimator: Any,
    sample: Any = None,
    answers: Any = None,
    *,
    target: str = "",
    float_columns: Sequence[str] = (),
    source: str = SAMPLE,
) -> Described:
    """The signature of `estimator`, with `sample` (a frame, an array, a list of lists, None) as rows of it.

    Raises SampleUnfit when the sample is not what the estimator was fitted on, or cannot be sent as JSON.
    """
    names, count = fitted_names(estimator), getattr(estimator, "n_features_in_", None)
    if sample is None:
        return without_sample(estimator, names, count, target)
    named = names is not None or hasattr(sample, "columns")
    targeted = bool(target) or answers is not None
    frame, unused = matched(frame_of(sample, names, source), names, count, source, targeted=targeted)
    refuse_unknown_floats(float_columns, tuple(frame.columns), source)
    columns = [column_of(n, frame[n], source=source, as_float=n in float_columns) for n in frame.columns]
    rows = list(zip(*(cells_of(frame[c.name], c.type) for c in columns), strict=True))
    known = trial.encoder_categories(estimator, [column.name for column in columns])
    columns = [with_known(column, known.get(column.name, ())) for column in columns]
    draft = Signature(tuple(columns), OutputSpec("number", "number"), target, unused, named)
    sendable = [finite(row) for row in rows]
    good = [row for row, fine in zip(rows, sendable, strict=True) if fine]
    if not good:
        raise SampleUnfit(source, "has no row without infinite numbers", "remove infinite numbers from the sample")
    keep = np.array(sendable)
    truth = None if answers is None else answers_of(answers, keep, source)
    first = trial.asked(estimator, draft, good[:1], source)
    settled = trial.settle(estimator, msgspec.structs.replace(draft, output=output_of(estimator, first)), good)
    output = msgspec.structs.replace(settled.output, probabilities=trial.gives_probabilities(estimator, settled, good))
    signature = msgspec.structs.replace(settled, output=output)
    return Described(signature, good, frame[keep], truth, len(rows) - len(good))


def fitted_names(estimator: Any) -> list[str] | None:
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


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


def without_sample(estimator: Any, names: list[str] | None, count: int | None, target: str) -> Described:
    """The signature of an estimator that comes without a sample: numbers, under its own names or x0, x1, ..."""
    if count is None and names is None:
        raise SampleUnfit(
            type(estimator).__name__, "does not say how many columns it takes", "give a sample with --data"
        )
    named = names if names is not None else [f"x{place}" for place in range(count or 0)]
    known = trial.encoder_categories(estimator, named)
    columns = [assumed(name, known.get(name, ())) for name in named]
    draft = Signature(tuple(columns), OutputSpec("number", "number"), target, (), names is not None)
    warm = [tuple(column.categories[0] if column.categories else 0.0 for column in columns)]
    first = trial.asked(estimator, draft, warm, type(estimator).__name__)
    settled = trial.settle(estimator, msgspec.structs.replace(draft, output=output_of(estimator, first)), warm)
    output = msgspec.structs.replace(settled.output, probabilities=trial.gives_probabilities(estimator, settled, warm))
    return Described(msgspec.structs.replace(settled, output=output), [])


def assumed(name: str, known: Sequence[Any]) -> Column:
    """A column of which only the encoder's categories are known: a number where there are none."""
    if not known:
        return Column(name, "number", dtype="float64")
    values = pd.Series(list(known)).dropna()
    column = column_of(name, values.infer_objects(), source=name)
    return with_known(column, known)


def output_of(estimator: Any, answers: Any) -> OutputSpec:
    """What a prediction is: from the estimator, and from the answers that it gave."""
    array = np.asarray(answers)
    width = 1 if array.ndim < 2 else int(array.shape[1])
    if is_classifier(estimator) or is_outlier_detector(estimator):
        found = getattr(estimator, "classes_", None)
        if is_outlier_detector(estimator):
            found = np.array([-1, 1])
        single = width == 1 and found is not None and not isinstance(found, list)
        classes = tuple(plain(found)) if single else ()
        return OutputSpec("class", answer_type(np.asarray(found) if single else array), classes, False, width)
    if is_clusterer(estimator):
        return OutputSpec("cluster", "integer", (), False, width)
    if array.dtype.kind not in "fiub":
        raise ModelUnreadable(
            f"this {type(estimator).__name__} predicts {array.dtype} and is neither a classifier nor a regressor",
            hint="wherry packs classifiers, regressors, clusterers and outlier detectors",
        )
    return OutputSpec("number", "number", (), False, width)


def answer_type(array: Any) -> ColumnType:
    kind = array.dtype.kind
    if kind == "O":
        flat = [value for value in array.ravel().tolist()[:100] if value is not None]
        kind = np.asarray(flat).dtype.kind if flat else "U"
    kinds: dict[str, ColumnType] = {"b": "boolean", "i": "integer", "u": "integer", "f": "number"}
    return kinds.get(kind, "string")
