"""A fitted estimator as an ONNX graph; whether it answers alike is for wherry.model.proof to find out."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
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
from wherry.model.flavors.sklearn.inputs import NUMERIC
from wherry.model.flavors.sklearn.scorer import parts

# What ONNX Runtime 1.20 reads, the oldest that an image may have.
OPSET = 21
ML_OPSET = 3
IR_VERSION = 10


class Way(msgspec.Struct, frozen=True):
    """One way to make a graph: its inputs as skl2onnx's initial types; cast: float32 before the last step."""

    name: str
    inputs: list[tuple[str, Any]]
    cast: bool = False

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
        name = "input" if "input" not in signature.names else "input_"
        yield Way("float32", [(name, FloatTensorType([None, width]))])
        for cast in casts:
            yield Way("float64", [(name, DoubleTensorType([None, width]))], cast)
        return
    whole = any(column.type in ("integer", "boolean") for column in signature.columns)
    for native in (False, True) if whole else (False,):
        suffix = ", whole numbers kept" if native else ""
        yield Way("float32, a column each" + suffix, columns(signature, FloatTensorType, native))
        for cast in casts:
            yield Way("float64, a column each" + suffix, columns(signature, DoubleTensorType, native), cast)


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


def convert(estimator: Any, way: Way) -> bytes:
    """The graph. Raises whatever skl2onnx raises."""
    if any(isinstance(part, VotingClassifier) and part.flatten_transform for part in parts(estimator)):
        # The converter refuses True, which concerns transform alone and no prediction.
        estimator = copy.deepcopy(estimator)
        for part in parts(estimator):
            if isinstance(part, VotingClassifier):
                part.flatten_transform = False
    if way.cast:
        *steps, last = estimator.steps
        estimator = Pipeline([*steps, ("cast to float32", CastTransformer(dtype=np.float32)), last])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = skl2onnx.to_onnx(
            estimator,
            initial_types=way.inputs,
            name="model",
            target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
            options=without_zipmap(estimator),
        )
    graph.ir_version = min(graph.ir_version, IR_VERSION)
    data: bytes = graph.SerializeToString(deterministic=True)
    return data


def without_zipmap(estimator: Any) -> dict[int, dict[str, bool]]:
    """Probabilities as a matrix, not as a list of dictionaries."""
    final = estimator
    while hasattr(final, "steps"):
        final = final.steps[-1][1]
    return {id(final): {"zipmap": False}} if hasattr(final, "predict_proba") or hasattr(final, "classes_") else {}
