"""From a fitted estimator and a sample of its data to the signature: what it accepts, what it answers.

What the estimator's tags only claim (missing values, unseen categories) is tried on the estimator itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn.base import is_classifier, is_clusterer, is_outlier_detector

from wherry.contract.signature import Column, ColumnType, OutputSpec, Signature
from wherry.errors import ModelUnreadable, SampleUnfit
from wherry.model.flavors.sklearn.describing import trial
from wherry.model.matrix import plain
from wherry.model.tables import sampled
from wherry.model.tables.columns import column_of, with_known
from wherry.model.tables.sampled import SAMPLE, Described


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
    asked = sampled.of(sample, answers, names, count, target=target, float_columns=float_columns, source=source)
    known = trial.encoder_categories(estimator, [column.name for column in asked.columns])
    columns = tuple(with_known(column, known.get(column.name, ())) for column in asked.columns)
    draft = Signature(columns, OutputSpec("number", "number"), target, asked.unused, asked.named)
    good = asked.rows
    first = trial.asked(estimator, draft, good[:1], source)
    settled = trial.settle(estimator, msgspec.structs.replace(draft, output=output_of(estimator, first)), good)
    output = msgspec.structs.replace(settled.output, probabilities=trial.gives_probabilities(estimator, settled, good))
    signature = msgspec.structs.replace(settled, output=output)
    return Described(signature, good, asked.frame, asked.answers, asked.left_out)


def fitted_names(estimator: Any) -> list[str] | None:
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


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
