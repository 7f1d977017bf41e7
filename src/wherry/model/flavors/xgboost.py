"""XGBoost's boosters, from its own files (JSON or UBJSON): trees and numbers, with nothing in them to run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wherry.contract.manifest import Manifest
from wherry.contract.signature import OutputSpec
from wherry.contract.wire import Outputs, Row
from wherry.errors import BundleUnreadable, ExtraMissing, ModelUnknown
from wherry.model import bundle
from wherry.model.flavors.kept import Kept
from wherry.model.matrix import classified, matrix

try:
    import xgboost
except ImportError as error:
    raise ExtraMissing("xgboost", "xgboost", "an XGBoost model") from error

FORM = "xgboost"
BEST = "best_iteration"  # where early stopping found the best tree: scikit-learn's wrappers go no further
WRAPPED = "scikit_learn"  # the attribute by which such a wrapper's file is known


def load(path: Path, manifest: Manifest) -> XGBoostScorer:
    """The scorer of a booster in a verified bundle. Raises BundleUnreadable."""
    try:
        booster = read(bundle.model_bytes(path, manifest))
    except xgboost.core.XGBoostError as error:
        raise BundleUnreadable(str(path), f"is no booster that XGBoost reads: {first_line(error)}") from error
    return XGBoostScorer(booster, manifest.signature.output)


class XGBoostScorer:
    """Answers as Booster.predict does; a classifier with its classes, as XGBClassifier.predict does. On one thread."""

    def __init__(self, booster: Any, output: OutputSpec) -> None:
        booster.set_param({"nthread": 1})
        best = booster.attr(BEST) if booster.attr(WRAPPED) is not None else None
        self.trees = (0, 0 if best is None else int(best) + 1)  # 0: all of them
        self.ask = booster.inplace_predict
        self.classes, self.shares = list(output.classes), output.probabilities

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        found = self.ask(matrix(rows), iteration_range=self.trees, validate_features=False)
        if not self.classes:
            return Outputs(found.tolist())
        if not self.shares:
            return Outputs([self.classes[place] for place in found.astype(np.int64).ravel().tolist()])
        return classified(found, self.classes)


def read(data: bytes) -> Any:
    booster = xgboost.Booster()
    booster.load_model(bytearray(data))
    return booster


def kept(data: bytes, path: str, packages: tuple[str, ...]) -> Kept:
    """What packing keeps of a booster's file. Raises ModelUnknown."""
    try:
        booster = read(data)
    except xgboost.core.XGBoostError as error:
        raise ModelUnknown(path, "an XGBoost model", f"cannot be read: {first_line(error)}", "save it again") from error
    if "c" in (booster.feature_types or ()):
        hint = "put the encoding and the booster into a Python file with predict(rows), and pack that"
        raise ModelUnknown(path, "an XGBoost model", "was trained on categories, which reach it as codes", hint)
    return Kept(
        name="xgboost.Booster",
        form=FORM,
        flavor=FORM,
        file="model.json" if data[1:2] in b'"\n ' else "model.ubj",
        data=data,
        packages=packages,
        names=tuple(booster.feature_names) if booster.feature_names else None,
        count=booster.num_features(),
        nullable=True,
        output=output_of(booster),
        scorer=lambda signature: XGBoostScorer(booster, signature.output),
    )


def output_of(booster: Any) -> OutputSpec:
    """What a booster answers, by its objective: the classes 0, 1, ... or numbers."""
    learner = json.loads(booster.save_config())["learner"]
    objective, params = learner["objective"]["name"], learner["learner_model_param"]
    if objective in ("binary:logistic", "multi:softprob"):
        count = max(2, int(params["num_class"]))
        return OutputSpec("class", "integer", tuple(range(count)), probabilities=True)
    if objective in ("binary:hinge", "multi:softmax"):
        return OutputSpec("class", "integer", tuple(range(max(2, int(params["num_class"])))))
    return OutputSpec("number", "number", width=max(1, int(params["num_target"])))


def of_estimator(estimator: Any, output: OutputSpec) -> tuple[str, bytes, XGBoostScorer]:
    """The file of a fitted wrapper, by its name, and what answers with it."""
    booster = estimator.get_booster().copy()
    booster.set_attr(**{WRAPPED: "{}"})
    data = bytes(booster.save_raw("ubj"))
    return "model.ubj", data, XGBoostScorer(read(data), output)


def first_line(error: Exception) -> str:
    """What XGBoost says, without the place in its sources and the stack."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[0].partition("] ")[2].partition(": ")[2] or lines[0] if lines else ""
