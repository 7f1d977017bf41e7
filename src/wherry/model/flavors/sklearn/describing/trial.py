"""What an estimator does with a missing cell or an unseen category: tried, as tags claim more than pipelines do."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from wherry.contract.signature import Column, Signature
from wherry.contract.wire import Cell, Row
from wherry.errors import ModelUnreadable, SampleUnfit
from wherry.model.flavors.sklearn.inputs import builder, fitted_on

UNSEEN = "\N{BLACK QUESTION MARK ORNAMENT} unseen"


def asked(estimator: Any, signature: Signature, rows: Sequence[Row], source: str) -> Any:
    """The estimator's own answers, as it gives them. Raises SampleUnfit when it cannot take the sample's rows."""
    try:
        return answers(estimator, signature, rows)
    except Exception as error:  # what the user's estimator says of the user's data
        raise SampleUnfit(
            source,
            f"is not what the model takes: {type(estimator).__name__} says {type(error).__name__}: {error}",
            "give rows as they were when the model was fitted, before any step of its own",
        ) from error


def answers(estimator: Any, signature: Signature, rows: Sequence[Row]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(estimator.predict(builder(signature, fitted_on(estimator))(rows)))


def gives_probabilities(estimator: Any, signature: Signature, rows: Sequence[Row]) -> bool:
    """Whether predict_proba answers with one number a class."""
    if signature.output.kind != "class" or signature.output.width > 1 or not signature.output.classes:
        return False
    if not hasattr(estimator, "predict_proba"):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            matrix = np.asarray(estimator.predict_proba(builder(signature, fitted_on(estimator))(rows[:1])))
    except Exception:  # noqa: BLE001  # an estimator that has the method and cannot do it has no probabilities
        return False
    return matrix.shape == (1, len(signature.output.classes))


def settle(estimator: Any, signature: Signature, rows: Sequence[Row]) -> Signature:
    """The signature with `nullable` and `unknown_ok` as the estimator bears them."""
    claims = accepting(estimator, list(signature.names))
    base = next((row for row in rows if None not in row), rows[0])
    columns = []
    for place, column in enumerate(signature.columns):
        settled = column
        if not column.nullable and claims.get(column.name, False):
            settled = msgspec.structs.replace(column, nullable=bears(estimator, signature, base, place, None))
        if column.categories:
            unseen = unseen_value(column)
            bearable = unseen is None or bears(estimator, signature, base, place, unseen)
            settled = msgspec.structs.replace(settled, unknown_ok=bearable)
            if bearable and column.type in ("integer", "number"):
                settled = msgspec.structs.replace(settled, categories=())
        columns.append(settled)
    return msgspec.structs.replace(signature, columns=tuple(columns))


def bears(estimator: Any, signature: Signature, row: Row, place: int, cell: Cell) -> bool:
    """Whether the estimator answers, with something finite, when `row` has `cell` in that place."""
    column = msgspec.structs.replace(signature.columns[place], nullable=cell is None)
    columns = (*signature.columns[:place], column, *signature.columns[place + 1 :])
    changed = (*row[:place], cell, *row[place + 1 :])
    try:
        found = answers(estimator, msgspec.structs.replace(signature, columns=columns), [changed])
    except Exception:  # noqa: BLE001  # whatever it raises, it does not bear it
        return False
    return found.dtype.kind != "f" or bool(np.isfinite(found).all())


def unseen_value(column: Column) -> Cell:
    """A value outside the column's categories; None for a boolean that has both."""
    if column.type == "string":
        return UNSEEN
    if column.type == "boolean":
        return next((value for value in (False, True) if value not in column.categories), None)
    return max(cell for cell in column.categories if isinstance(cell, (int, float))) + 1


def accepting(estimator: Any, names: Sequence[str]) -> dict[str, bool]:
    """By column: whether the step that meets it first claims to accept missing values."""
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step is not None and step != "passthrough"]
        return accepting(steps[0], names) if steps else {}
    if isinstance(estimator, ColumnTransformer):
        found: dict[str, bool] = dict.fromkeys(names, True)  # what is passed through or dropped: the trial decides
        for inner, taken in branches(estimator, names):
            claims = accepting(inner, taken)
            found.update({name: found[name] and claims.get(name, False) for name in taken})
        return found
    try:
        claim = bool(get_tags(estimator).input_tags.allow_nan)
    except (AttributeError, ModelUnreadable):
        claim = False
    return dict.fromkeys(names, claim)


def branches(transformer: ColumnTransformer, names: Sequence[str]) -> Iterator[tuple[Any, list[str]]]:
    """Each fitted transformer with the names of the columns that it takes."""
    for _, inner, columns in transformer.transformers_:
        if isinstance(inner, str):
            continue
        taken = taken_names(columns, names)
        if taken:
            yield inner, taken


def taken_names(columns: Any, names: Sequence[str]) -> list[str]:
    if isinstance(columns, str):
        return [columns] if columns in names else []
    if isinstance(columns, slice):
        if isinstance(columns.start, str) or isinstance(columns.stop, str):
            start = names.index(columns.start) if columns.start is not None else 0
            stop = names.index(columns.stop) + 1 if columns.stop is not None else len(names)
            return list(names[start:stop])
        return list(names[columns])
    listed = np.atleast_1d(np.asarray(columns))
    if listed.dtype == bool:
        return [name for name, taken in zip(names, listed.tolist(), strict=False) if taken]
    if listed.dtype.kind in "iu":
        return [names[place] for place in listed.tolist() if -len(names) <= place < len(names)]
    return [name for name in map(str, listed.tolist()) if name in names]


def encoder_categories(estimator: Any, names: Sequence[str]) -> dict[str, list[Any]]:
    """By column: the values that the encoder which meets it was fitted on; imputers before it are seen through."""
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            if step is None or step == "passthrough":
                continue
            found = encoder_categories(step, names)
            if found or not keeps_columns(step, len(names)):
                return found
        return {}
    if isinstance(estimator, ColumnTransformer):
        merged: dict[str, list[Any]] = {}
        for inner, taken in branches(estimator, names):
            merged.update(encoder_categories(inner, taken))
        return merged
    categories = getattr(estimator, "categories_", None)
    if isinstance(categories, list) and len(categories) == len(names):
        return {name: list(values) for name, values in zip(names, categories, strict=True) if len(values) <= 1000}
    return {}


def keeps_columns(step: Any, count: int) -> bool:
    """Whether a step's output columns are its input columns, one by one."""
    return type(step).__name__ in ("SimpleImputer", "FunctionTransformer") and (
        getattr(step, "n_features_in_", count) == count and not getattr(step, "add_indicator", False)
    )
