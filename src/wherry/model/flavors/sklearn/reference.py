"""The fitted estimator itself, as the one that every stored form is held against."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from wherry.contract.signature import Signature
from wherry.contract.wire import Outputs, Row
from wherry.model.flavors.sklearn.inputs import builder, fitted_on
from wherry.model.flavors.sklearn.scorer import EstimatorScorer

NOT_KNOWN = float("inf")


class EstimatorReference(EstimatorScorer):
    """Given what it was fitted on, a frame or an array; nothing about it is changed."""

    def __init__(self, estimator: Any, signature: Signature) -> None:
        super().__init__(estimator, builder(signature, fitted_on(estimator)), signature.output)

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        with warnings.catch_warnings():
            # unseen categories, overflow far out of range: the estimator's affair
            warnings.simplefilter("ignore")
            return super().score(rows, probabilities)

    def gaps(self, rows: Sequence[Row]) -> list[float]:
        """How far the best answer of each row is from the second best; decisions in units of the best, if above 1."""
        table = self.build(rows)
        smallest = np.full(len(rows), NOT_KNOWN)
        for method in ("decision_function", "predict_proba"):
            ask = getattr(self.estimator, method, None)
            if ask is None:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                values = np.asarray(ask(table), dtype=np.float64)
            smallest = np.minimum(smallest, gap(values))
        listed: list[float] = smallest.tolist()
        return listed


def gap(values: Any) -> Any:
    """Of each row: the best less the second best; one decision alone is held against 0."""
    if values.ndim == 1:
        return np.abs(values) / np.maximum(1.0, np.abs(values))
    if values.ndim != 2 or values.shape[1] < 2:
        return np.full(len(values), NOT_KNOWN)
    best = np.sort(values, axis=1)
    return (best[:, -1] - best[:, -2]) / np.maximum(1.0, np.abs(best[:, -1]))
