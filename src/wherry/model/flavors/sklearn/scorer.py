"""An estimator in memory, as a scorer."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # ships no types

from wherry.contract.signature import OutputSpec
from wherry.contract.wire import Outputs, Row
from wherry.model.flavors.sklearn.inputs import Build
from wherry.model.matrix import plain

# Their predict is by its own source the class of the highest probability: asking both would walk the trees twice.
HIGHEST_PROBABILITY = (
    "sklearn.ensemble.RandomForestClassifier",
    "sklearn.ensemble.ExtraTreesClassifier",
    "sklearn.tree.DecisionTreeClassifier",
    "sklearn.tree.ExtraTreeClassifier",
)

FEW = 1024


class EstimatorScorer:
    """Answers with the estimator's own predict and predict_proba."""

    def __init__(self, estimator: Any, build: Build, output: OutputSpec) -> None:
        self.estimator = estimator
        self.build = build
        self.output = output
        self.probabilities = output.probabilities and output.width == 1
        final = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        self.by_probability = (
            output.kind == "class" and self.probabilities and type(final) in loaded(*HIGHEST_PROBABILITY)
        )
        self.classes: list[Any] = plain(estimator.classes_) if self.by_probability else []

        self.openmp = ThreadpoolController().select(user_api="openmp")

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        if len(rows) > FEW:
            return self.answer(rows, probabilities)
        # For a small batch OpenMP's threads take longer to meet than to compute: 43 ms instead of 1 ms a row, here.
        with self.openmp.limit(limits=1):
            return self.answer(rows, probabilities)

    def answer(self, rows: Sequence[Row], probabilities: bool) -> Outputs:
        table = self.build(rows)
        if self.by_probability:
            matrix = self.estimator.predict_proba(table)
            return Outputs([self.classes[best] for best in matrix.argmax(axis=1).tolist()], matrix.tolist())
        answers = plain_answers(self.estimator.predict(table), self.output)
        if not (probabilities and self.probabilities):
            return Outputs(answers)
        return Outputs(answers, self.estimator.predict_proba(table).tolist())


def loaded(*names: str) -> tuple[type[Any], ...]:
    """Those of the classes whose modules are loaded: the others have no instances, and take 0.2 s to import."""
    places = (name.rpartition(".") for name in names)
    return tuple(getattr(sys.modules[module], name) for module, _, name in places if module in sys.modules)


def plain_answers(answers: Any, output: OutputSpec) -> list[Any]:
    """What predict returned, one plain Python value a row."""
    array = np.asarray(answers)
    if array.ndim > 1 and output.width == 1:
        array = array.reshape(len(array), -1)[:, 0]
    if output.kind == "number" and array.dtype.kind in "iub":
        array = array.astype(np.float64)
    return plain(array)


def parts(estimator: Any) -> Iterator[Any]:
    """The estimator and every estimator, tree or other scikit-learn object inside it, each once."""
    seen: set[int] = set()
    waiting = [estimator]
    while waiting:
        part = waiting.pop()
        if id(part) in seen or isinstance(part, (str, bytes, int, float, type(None))):
            continue
        seen.add(id(part))
        if isinstance(part, np.ndarray):
            if part.dtype == object:
                waiting.extend(part.ravel().tolist())
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, (list, tuple, set)):
            waiting.extend(part)
        elif type(part).__module__.startswith("sklearn."):
            yield part
            waiting.extend(getattr(part, "__dict__", {}).values())


def made_to_serve(estimator: Any, *, nameless: bool) -> Any:
    """The estimator, changed in place to answer one small request after the other.

    One job each: starting threads takes longer than a row. nameless: it forgets its columns' names, so that an array
    is as good as a frame and every call does without a warning.
    """
    for part in parts(estimator):
        if isinstance(part, BaseEstimator):
            if getattr(part, "n_jobs", None) is not None:
                part.n_jobs = 1
            if getattr(part, "verbose", 0):
                part.verbose = 0
            if nameless:
                part.__dict__.pop("feature_names_in_", None)
    return estimator
