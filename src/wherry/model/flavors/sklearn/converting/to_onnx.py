"""A fitted estimator as an ONNX graph; whether it answers alike is for wherry.model.proof to find out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import onnx
import skl2onnx
from skl2onnx.common.data_types import (
    BooleanTensorType,
    DoubleTensorType,
    FloatTensorType,
    Int64TensorType,
    StringTensorType,
)
from skl2onnx.sklapi import CastTransformer
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.pipeline import Pipeline

from wherry.contract.signature import Signature
from wherry.model.flavors.sklearn.converting import boosting
from wherry.model.flavors.sklearn.converting.columns_graph import head, joined
from wherry.model.flavors.sklearn.converting.features import Number, Raw, Table, untouched
from wherry.model.flavors.sklearn.converting.hot_paths import lay_out
from wherry.model.flavors.sklearn.converting.missing_routes import route_missing, trees
from wherry.model.flavors.sklearn.converting.steps import apply
from wherry.model.flavors.sklearn.inputs import NUMERIC
from wherry.model.flavors.sklearn.scorer import parts

# What ONNX Runtime 1.20 reads, the oldest that an image may have.
OPSET = 21
ML_OPSET = 3
IR_VERSION = 10


class Way(msgspec.Struct, frozen=True):
    """One way to make a graph. inputs: skl2onnx's initial types; cast: float32 before the last step.

    features: what the steps that were folded make of the columns, `rest` the steps that were not.
    """

    name: str
    inputs: list[tuple[str, Any]]
    cast: bool = False
    features: list[Number | Table] = []
    rest: Any = None

    @property
    def exact(self) -> bool:
        return self.name.startswith("float64") and not self.cast


def ways(estimator: Any, signature: Signature) -> Iterator[Way]:
    """From the fastest to the most exact."""
    width = len(signature.columns)
    # Trees compare in float32 what the steps before them computed in float64.
    casts = (False, True) if isinstance(estimator, Pipeline) and len(estimator.steps) > 1 else (False,)
    by_column = any(isinstance(part, ColumnTransformer) for part in parts(estimator))
    if not by_column and all(column.type in NUMERIC for column in signature.columns):
        yield Way("float32", [(free_name(signature), FloatTensorType([None, width]))])
        for cast in casts:
            yield Way("float64", [(free_name(signature), DoubleTensorType([None, width]))], cast)
        return
    yield from folded_ways(estimator, signature)
    whole = any(column.type in ("integer", "boolean") for column in signature.columns)
    for native in (False, True) if whole else (False,):
        suffix = ", whole numbers kept" if native else ""
        yield Way("float32, a column each" + suffix, columns(signature, FloatTensorType, native))
        for cast in casts:
            yield Way("float64, a column each" + suffix, columns(signature, DoubleTensorType, native), cast)


def folded_ways(estimator: Any, signature: Signature) -> Iterator[Way]:
    """The first steps folded into a head of our own, the rest converted: in float32 from there on, or in float64."""
    features, rest = folded_prefix(estimator, signature)
    if not features:
        return
    for name, numbers, cast in (("float32", FloatTensorType, True), ("float64", DoubleTensorType, False)):
        inputs = [(free_name(signature), numbers([None, len(features)]))]
        yield Way(f"{name} after folded columns", inputs, cast, features, rest)


def folded_prefix(estimator: Any, signature: Signature) -> tuple[list[Number | Table], Any]:
    """What the first steps make of the columns, as far as that can be said, and the pipeline of all later steps."""
    if not isinstance(estimator, Pipeline):
        return [], estimator
    features = untouched(signature)
    steps = list(estimator.steps)
    while len(steps) > 1:
        try:
            features = apply(steps[0][1], features)
        except Exception:  # noqa: BLE001  # not foldable, or not as this scikit-learn is known: the rest is converted
            break
        del steps[0]
    numeric = [feature for feature in features if not isinstance(feature, Raw)]
    if len(numeric) != len(features) or len(steps) == len(estimator.steps):
        return [], estimator
    return numeric, Pipeline(steps) if len(steps) > 1 else steps[0][1]


def free_name(signature: Signature) -> str:
    """A name for the one input of a graph, which is no column's."""
    name = "input"
    while name in signature.names:
        name += "_"
    return name


def columns(signature: Signature, numbers: Any, native: bool) -> list[tuple[str, Any]]:
    """One input a column; native: whole numbers and booleans as what they are."""
    types = {"number": numbers, "integer": numbers, "boolean": numbers, "string": StringTensorType}
    if native:
        types |= {"integer": Int64TensorType, "boolean": BooleanTensorType}
    return [
        # A missing cell can only be told among floating numbers.
        (column.name, (numbers if column.nullable and column.type != "string" else types[column.type])([None, 1]))
        for column in signature.columns
    ]


def convert(estimator: Any, signature: Signature, way: Way) -> bytes:
    """The graph. Raises whatever skl2onnx raises, and ValueError where it would not come to an end."""
    if way.exact and any(np.isinf(tree.threshold).any() for tree in trees(estimator)):
        # skl2onnx would halve the way between such a threshold and its neighbour, which is none, for ever.
        raise ValueError("a tree that tells missing values from all others is not converted to float64")
    if way.features:
        rest = graph_of(flat(way.rest), way.inputs)
        # LabelEncoder of texts is as old as version 2 of its domain; what version 1 held is in version 3 too.
        opsets = {each.domain: each.version for each in rest.opset_import} | {"ai.onnx.ml": ML_OPSET}
        del rest.opset_import[:]
        rest.opset_import.extend(onnx.helper.make_opsetid(*each) for each in opsets.items())
        graph = joined(head(signature, way.features, opsets, rest.ir_version), rest, cast=way.cast)
    else:
        estimator = flat(estimator)
        if way.cast:
            *steps, last = estimator.steps
            estimator = Pipeline([*steps, ("cast to float32", CastTransformer(dtype=np.float32)), last])
        graph = graph_of(estimator, way.inputs)
    data: bytes = graph.SerializeToString(deterministic=True)
    return data


def graph_of(estimator: Any, inputs: list[tuple[str, Any]]) -> Any:
    boosting.register()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = skl2onnx.to_onnx(
            estimator,
            initial_types=inputs,
            name="model",
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
            options=without_zipmap(estimator),
        )
    graph.ir_version = min(graph.ir_version, IR_VERSION)
    route_missing(graph, estimator)
    lay_out(graph)
    return graph


def flat(estimator: Any) -> Any:
    """The estimator, or a copy of it in which no VotingClassifier flattens what transform gives.

    The converter refuses the default, which concerns transform alone and no prediction.
    """
    if not any(isinstance(part, VotingClassifier) and part.flatten_transform for part in parts(estimator)):
        return estimator
    estimator = copy.deepcopy(estimator)
    for part in parts(estimator):
        if isinstance(part, VotingClassifier):
            part.flatten_transform = False
    return estimator


def without_zipmap(estimator: Any) -> dict[int, dict[str, bool]]:
    """Probabilities as a matrix, not as a list of dictionaries."""
    final = estimator
    while hasattr(final, "steps"):
        final = final.steps[-1][1]
    return {id(final): {"zipmap": False}} if hasattr(final, "predict_proba") or hasattr(final, "classes_") else {}
