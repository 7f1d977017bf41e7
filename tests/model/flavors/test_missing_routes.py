"""Missing values take the branch that scikit-learn's trees give them, so that forests become ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
)
from sklearn.ensemble import RandomForestClassifier as Forest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import wherry
from wherry.model.flavors.sklearn.converting import to_onnx

rng = np.random.default_rng(3)
WHOLE = rng.normal(size=(300, 4))
HOLED = np.where(rng.random(WHOLE.shape) < 0.1, np.nan, WHOLE)
ANSWERS = (WHOLE[:, 0] + WHOLE[:, 1] ** 2 > 0.5).astype(int)
MODELS = {
    "forest": (Forest(21, random_state=0), WHOLE),
    "forest that saw missing values": (Forest(21, random_state=0), HOLED),
    "regression": (RandomForestRegressor(21, random_state=0), HOLED),
    "extra trees": (ExtraTreesClassifier(21, random_state=0), WHOLE),
    "tree": (DecisionTreeClassifier(random_state=0), HOLED),
    "boosting": (GradientBoostingClassifier(n_estimators=10, random_state=0), WHOLE),
    "histogram boosting": (HistGradientBoostingClassifier(max_iter=10), HOLED),
    "histogram boosting of numbers": (HistGradientBoostingRegressor(max_iter=10), HOLED),
    "behind a scaler": (make_pipeline(StandardScaler(), Forest(21, random_state=0)), WHOLE),
}


@pytest.mark.parametrize("name", MODELS)
def test_trees_become_onnx_though_values_may_be_missing(name: str, tmp_path: Any) -> None:
    model, rows = MODELS[name]
    manifest = wherry.pack(model.fit(rows, ANSWERS), rows, ANSWERS, to=tmp_path / "bundle")
    assert manifest.conversion.form == "onnx", manifest.conversion.refused
    asked = HOLED if manifest.signature.columns[0].nullable else WHOLE
    cells = [[None if np.isnan(cell) else float(cell) for cell in row] for row in asked[:200]]
    assert wherry.load(tmp_path / "bundle").predict(cells) == pytest.approx(model.predict(asked[:200]).tolist())


def test_without_the_routes_the_proof_refuses_the_graph(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_onnx, "route_missing", lambda graph, estimator: None)
    model = Forest(21, random_state=0).fit(WHOLE, ANSWERS)
    assert wherry.pack(model, WHOLE, ANSWERS, to=tmp_path / "bundle").conversion.form == "skops"


@pytest.mark.timeout(120)
def test_a_tree_that_tells_missing_values_from_all_others_is_left_to_scikit_learn_where_float32_will_not_do(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_onnx, "route_missing", lambda graph, estimator: None)
    model = Forest(21, random_state=0).fit(HOLED, ANSWERS)
    assert any(np.isinf(tree.tree_.threshold).any() for tree in model.estimators_)
    assert wherry.pack(model, HOLED, ANSWERS, to=tmp_path / "bundle").conversion.form == "skops"
