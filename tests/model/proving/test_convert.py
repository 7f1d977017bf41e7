"""The form that is chosen: the fastest that is proven, and a record of why the others were not."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from model_parts import breast_cancer, make_bundle, rows_of, signature_of, walkthrough_model
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from wherry.contract.events import Note, Step
from wherry.errors import NotStorable
from wherry.model.loaded import load
from wherry.model.proving import boundaries, convert
from wherry.model.proving.boundaries import PAIRS


def store(estimator: Any, X: Any, **options: Any) -> convert.Stored:
    kind = options.pop("kind", "")
    return convert.store(estimator, signature_of(estimator, X, kind=kind), rows_of(X), **options)


def test_the_walkthrough_model_is_wrong_as_onnx_and_is_caught(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SimpleImputer, MinMaxScaler, hard VotingClassifier: converted, 29 of its 569 rows are answered otherwise."""
    X, y = breast_cancer()
    model = walkthrough_model().fit(X, y)
    manifest = make_bundle(tmp_path / "bundle", model, X, signature=signature_of(model, X, nullable=True))
    refused = manifest.conversion.refused
    with capsys.disabled():
        print(f"\nwalkthrough model as onnx: {refused['onnx']}")
    assert manifest.conversion.form == "skops"
    assert "of 569 sample rows" in refused["onnx"] and "answered otherwise" in refused["onnx"]
    assert "VotingClassifier" in refused["linear"]
    loaded = load(tmp_path / "bundle")
    loaded.replay()
    assert loaded.predict(X) == model.predict(X).tolist()
    holes = X.head(5).copy()
    holes.iloc[2, 1] = np.nan
    assert loaded.predict(holes) == model.predict(holes).tolist()
    assert "pandas" not in manifest.requirements.packages  # fitted on a frame, and an array is proven to do


@pytest.mark.parametrize(
    ("estimator", "form"),
    [
        (make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)), "linear"),
        (make_pipeline(StandardScaler(), SVC(kernel="linear")), "linear"),
        (make_pipeline(StandardScaler(), SVC()), "onnx"),
        (RandomForestClassifier(20, random_state=0), "onnx"),
        (make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=20, random_state=0)), "onnx"),
        (KNeighborsClassifier(), "skops"),
        (HistGradientBoostingClassifier(max_iter=10, random_state=0), "skops"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each[-1] if isinstance(each, Pipeline) else each).__name__,
)
def test_classifiers(estimator: Any, form: str) -> None:
    X, y = load_iris(return_X_y=True)
    stored = store(estimator.fit(X, y), X)
    assert stored.conversion.form in (form, "onnx")  # a better converter is no failure
    assert stored.conversion.proven_rows >= 150 + 2 * 3 * 200
    assert stored.scorer.score(rows_of(X)).predictions == estimator.predict(X).tolist()


@pytest.mark.parametrize(
    ("estimator", "form"),
    [
        (make_pipeline(StandardScaler(), Ridge()), "linear"),
        (RandomForestRegressor(20, random_state=0), "onnx"),
        (make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=20, random_state=0)), "onnx"),
    ],
    ids=["Ridge", "RandomForest", "GradientBoosting"],
)
def test_regressors(estimator: Any, form: str) -> None:
    X, y = load_diabetes(return_X_y=True)
    stored = store(estimator.fit(X, y), X)
    assert stored.conversion.form == form
    np.testing.assert_allclose(stored.scorer.score(rows_of(X)).predictions, estimator.predict(X), rtol=1e-5)
    assert stored.rtol in (1e-6, 1e-5)


def people() -> tuple[pd.DataFrame, Any]:
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "age": random.normal(40, 12, 400).round(1),
            "visits": random.integers(0, 9, 400),
            "member": random.random(400) < 0.5,
            "city": random.choice(["Bern", "Basel", "Genf"], 400),
        }
    )
    target = np.where(frame["age"] / 20 + frame["visits"] / 3 + (frame["city"] == "Basel") * 2 > 4.2, "yes", "no")
    frame.loc[random.random(400) < 0.1, "age"] = np.nan
    frame.loc[random.random(400) < 0.1, "city"] = None
    return frame, target


def mixed(final: Any) -> Any:
    return make_pipeline(
        make_column_transformer(
            (make_pipeline(SimpleImputer(add_indicator=True), MinMaxScaler(clip=True)), ["age", "visits"]),
            (
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                ["city"],
            ),
            (OneHotEncoder(drop="if_binary"), ["member"]),
        ),
        final,
    )


@pytest.mark.parametrize(
    ("final", "form"),
    [
        (LogisticRegression(), "linear"),
        (SVC(kernel="linear"), "linear"),
        (RandomForestClassifier(25, random_state=0), "onnx"),
        (GradientBoostingClassifier(n_estimators=20, random_state=0), "onnx"),
    ],
    ids=["LogisticRegression", "SVC", "RandomForest", "GradientBoosting"],
)
def test_texts_booleans_whole_numbers_and_holes(final: Any, form: str, tmp_path: Path) -> None:
    """Behind imputers, scalers and one-hot encoders the model is still folded or converted, and needs no pandas."""
    X, y = people()
    model = mixed(final).fit(X, y)
    manifest = make_bundle(tmp_path / "bundle", model, X)
    assert manifest.conversion.form == form, manifest.conversion.refused
    assert set(manifest.requirements.packages) <= {"numpy", "onnxruntime"}
    loaded = load(tmp_path / "bundle")
    loaded.replay()
    same = np.array(loaded.predict(X)) == model.predict(X)
    assert same.sum() >= len(X) - manifest.conversion.ties_left_out
    unseen = {"age": None, "visits": 3, "member": True, "city": "Chur"}
    frame = pd.DataFrame([unseen]).astype({"age": float})
    assert loaded.predict(unseen) == model.predict(frame).tolist()


class Doubled(BaseEstimator, TransformerMixin):
    """A user's own step: no form but pickle holds it."""

    def fit(self, X: Any, y: Any = None) -> Doubled:
        return self

    def transform(self, X: Any) -> Any:
        return np.asarray(X) * 2


def test_a_step_of_ones_own_needs_pickle_and_its_permission(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(Doubled(), RandomForestClassifier(5, random_state=0)).fit(X, y)
    with pytest.raises(NotStorable) as caught:
        store(model, X)
    assert any(name.endswith("Doubled") for name in caught.value.types)
    assert "Doubled" in str(caught.value) and "--allow-pickle" in caught.value.hint
    assert set(caught.value.refused) == {"linear", "onnx", "skops"}
    manifest = make_bundle(tmp_path / "bundle", model, X, allow_pickle=True)
    assert (manifest.conversion.form, manifest.flavor, manifest.allow_pickle) == ("pickle", "sklearn", True)
    assert "Doubled" in manifest.conversion.refused["skops"]
    assert load(tmp_path / "bundle").predict(X) == model.predict(X).tolist()


def test_frames_are_rebuilt_where_only_a_frame_will_do(tmp_path: Path) -> None:
    X, y = people()
    X = X.astype({"city": "category"})
    model = HistGradientBoostingClassifier(max_iter=10, categorical_features="from_dtype", random_state=0).fit(X, y)
    manifest = make_bundle(tmp_path / "bundle", model, X)
    assert manifest.conversion.form == "skops" and "pandas" in manifest.requirements.packages
    assert load(tmp_path / "bundle").predict(X) == model.predict(X).tolist()


def test_without_a_sample_nothing_is_proven_and_the_estimator_kept_as_it_is() -> None:
    X, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(X, y)
    stored = convert.store(model, signature_of(model, X), [])
    assert (stored.conversion.form, stored.conversion.proven_rows) == ("skops", 0)
    assert "no sample" in stored.conversion.refused["linear"]
    assert stored.scorer.score(rows_of(X)).predictions == model.predict(X).tolist()


def test_the_users_own_model_is_not_changed() -> None:
    X, y = breast_cancer()
    model = make_pipeline(SimpleImputer(), RandomForestClassifier(5, n_jobs=2, random_state=0)).fit(X, y)
    before = {key: repr(value) for key, value in model.get_params().items()}
    store(model, X)
    assert {key: repr(value) for key, value in model.get_params().items()} == before
    assert list(model.feature_names_in_) == list(X.columns)


def test_what_is_tried_is_told() -> None:
    X, y = load_iris(return_X_y=True)
    told: list[Any] = []
    store(SVC().fit(X, y), X, tell=told.append)
    assert [event.text.split()[-1] for event in told if isinstance(event, Step)][-2:] == ["linear", "onnx"]


def test_fewer_boundaries_of_a_slow_model_are_told_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = load_iris(return_X_y=True)
    model = LogisticRegression(max_iter=500).fit(X, y)
    told: list[Any] = []
    every = store(model, X, tell=told.append).conversion
    assert (every.boundary_pairs, every.boundary_pairs_left_out) == (3 * PAIRS, 0)
    assert not [event for event in told if isinstance(event, Note)]
    monkeypatch.setattr(boundaries, "SECONDS", 0.0)  # as if each row took an age
    fewer = store(model, X, tell=told.append).conversion
    assert fewer.boundary_pairs == 3 * (PAIRS // 3)
    assert fewer.boundary_pairs + fewer.boundary_pairs_left_out == 3 * PAIRS
    assert [event.text for event in told if isinstance(event, Note)] == [
        f"{fewer.boundary_pairs} of {3 * PAIRS} pairs of rows at the boundaries are asked: the model is slow"
    ]


def test_a_thousand_rows_are_proven_in_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = breast_cancer()
    start = time.perf_counter()
    store(RandomForestClassifier(100, random_state=0).fit(X, y), X)
    seconds = time.perf_counter() - start
    with capsys.disabled():
        print(f"\nforest of 100 trees, 569 rows: asked, converted and proven in {seconds:.1f} s")
    assert seconds < 60
