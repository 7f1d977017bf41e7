"""XGBoost and LightGBM: their own files and their wrappers for scikit-learn, held against the libraries themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.datasets import load_diabetes, load_iris

import wherry
from wherry.contract.manifest import Manifest
from wherry.errors import ModelUnknown, SampleUnfit
from wherry.model.pack import pack_file
from wherry.model.reading.kinds import kind_of

try:
    import lightgbm
except OSError:
    pytest.skip("needs libgomp: apt-get install libgomp1", allow_module_level=True)

TREES = 12


def columned(frame: pd.DataFrame) -> pd.DataFrame:
    """A table whose names LightGBM keeps as they are."""
    return frame.set_axis([name.replace(" ", "_") for name in frame.columns], axis=1)


IRIS, SPECIES = load_iris(return_X_y=True, as_frame=True)
IRIS = columned(IRIS)
DIABETES, PROGRESS = load_diabetes(return_X_y=True, as_frame=True)
TWO = (SPECIES > 1).astype(int)
HOLED = DIABETES.mask(np.random.default_rng(0).random(DIABETES.shape) < 0.1)

CASES: dict[str, tuple[Callable[[], Any], pd.DataFrame, Any]] = {
    "xgboost two classes": (lambda: xgboost.XGBClassifier(n_estimators=TREES), IRIS, TWO),
    "xgboost three classes": (lambda: xgboost.XGBClassifier(n_estimators=TREES), IRIS, SPECIES),
    "xgboost numbers": (lambda: xgboost.XGBRegressor(n_estimators=TREES), DIABETES, PROGRESS),
    "xgboost missing cells": (lambda: xgboost.XGBRegressor(n_estimators=TREES), HOLED, PROGRESS),
    "xgboost several numbers": (
        lambda: xgboost.XGBRegressor(n_estimators=TREES),
        DIABETES,
        pd.DataFrame({"a": PROGRESS, "b": -PROGRESS}),
    ),
    "lightgbm two classes": (lambda: lightgbm.LGBMClassifier(n_estimators=TREES, verbose=-1), IRIS, TWO),
    "lightgbm three classes": (lambda: lightgbm.LGBMClassifier(n_estimators=TREES, verbose=-1), IRIS, SPECIES),
    "lightgbm numbers": (lambda: lightgbm.LGBMRegressor(n_estimators=TREES, verbose=-1), DIABETES, PROGRESS),
    "lightgbm missing cells": (lambda: lightgbm.LGBMRegressor(n_estimators=TREES, verbose=-1), HOLED, PROGRESS),
}


def saved(fitted: Any, folder: Path) -> list[Path]:
    """The library's own files of a fitted wrapper, in all of their forms."""
    if isinstance(fitted, xgboost.XGBModel):
        paths = [folder / "model.json", folder / "model.ubj"]
        for path in paths:
            fitted.save_model(path)
        return paths
    fitted.booster_.save_model(folder / "model.txt")
    return [folder / "model.txt"]


def pack_saved(path: Path, X: pd.DataFrame, folder: Path) -> Manifest:
    X.to_csv(folder / "rows.csv", index=False)
    return pack_file(path, data=folder / "rows.csv", target=None, to=folder / "bundle")


def check(folder: Path, fitted: Any, X: pd.DataFrame) -> None:
    """The bundle answers as the library does, on rows of the sample and on others."""
    rng = np.random.default_rng(1)
    others = X.sample(200, replace=True, random_state=0) * rng.normal(1, 0.1, (200, X.shape[1]))
    rows = pd.concat([X, others], ignore_index=True)
    model = wherry.load(folder / "bundle")
    wanted = fitted.predict(rows)
    found = model.predict(rows)
    if model.signature.output.kind == "class":
        assert found == wanted.tolist()
        outputs = model.score(model.signature.check([tuple(row) for row in rows.to_numpy().tolist()]).rows)
        np.testing.assert_allclose(outputs.probabilities, fitted.predict_proba(rows), atol=1e-6)
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_a_wrapper_is_kept_as_its_library_keeps_it(case: str, tmp_path: Path) -> None:
    make, X, y = CASES[case]
    fitted = make().fit(X, y)
    manifest = wherry.pack(fitted, X, y, to=tmp_path / "bundle")
    assert manifest.conversion.form == manifest.flavor == case.partition(" ")[0]
    assert manifest.conversion.proven_rows > len(X)
    assert not manifest.allow_pickle
    check(tmp_path, fitted, X)


@pytest.mark.parametrize("case", [case for case in CASES if "missing" not in case])
def test_a_library_s_own_file_is_packed_without_vouching(case: str, tmp_path: Path) -> None:
    make, X, y = CASES[case]
    fitted = make().fit(X, y)
    for path in saved(fitted, tmp_path):
        manifest = pack_saved(path, X, tmp_path)
        assert manifest.flavor == case.partition(" ")[0]
        assert manifest.signature.names == tuple(X.columns)
        assert all(column.nullable for column in manifest.signature.columns)
        assert manifest.golden.rows >= 30
        check(tmp_path, fitted, X)


def test_a_classifier_of_texts_answers_with_texts(tmp_path: Path) -> None:
    names = np.array(["setosa", "versicolor", "virginica"])[SPECIES]
    fitted = lightgbm.LGBMClassifier(n_estimators=TREES, verbose=-1).fit(IRIS, names)
    wherry.pack(fitted, IRIS, names, to=tmp_path / "bundle")
    check(tmp_path, fitted, IRIS)


def test_early_stopping_is_kept(tmp_path: Path) -> None:
    """XGBoost's wrapper asks no tree after the best; a booster that nobody wrapped asks all."""
    fitted = xgboost.XGBRegressor(n_estimators=200, early_stopping_rounds=3)
    fitted.fit(DIABETES[:300], PROGRESS[:300], eval_set=[(DIABETES[300:], PROGRESS[300:])], verbose=False)
    assert fitted.best_iteration + 1 < fitted.get_booster().num_boosted_rounds()
    wherry.pack(fitted, DIABETES, PROGRESS, to=tmp_path / "bundle")
    check(tmp_path, fitted, DIABETES)
    for path in saved(fitted, tmp_path):
        pack_saved(path, DIABETES, tmp_path)
        check(tmp_path, fitted, DIABETES)
    booster = fitted.get_booster()
    booster.save_model(tmp_path / "bare.ubj")
    pack_saved(tmp_path / "bare.ubj", DIABETES, tmp_path)
    wanted = booster.predict(xgboost.DMatrix(DIABETES))
    np.testing.assert_allclose(wherry.load(tmp_path / "bundle").predict(DIABETES), wanted, rtol=1e-6)


def test_a_booster_without_names_takes_rows_by_place(tmp_path: Path) -> None:
    booster = lightgbm.train({"verbose": -1}, lightgbm.Dataset(DIABETES.to_numpy(), PROGRESS), TREES)
    booster.save_model(tmp_path / "model.txt")
    manifest = pack_file(tmp_path / "model.txt", data=None, target=None, to=tmp_path / "bundle")
    assert manifest.signature.names == tuple(f"x{place}" for place in range(DIABETES.shape[1]))
    assert not manifest.signature.named
    [found] = wherry.load(tmp_path / "bundle").predict(DIABETES.to_numpy()[:1])
    assert found == pytest.approx(booster.predict(DIABETES.to_numpy()[:1])[0])


def test_a_booster_of_categories_is_refused(tmp_path: Path) -> None:
    X = pd.DataFrame({"city": pd.Categorical(["Bern", "Basel"] * 40), "a": np.arange(80.0)})
    y = np.arange(80.0) % 3
    lightgbm.train({"verbose": -1, "min_data_in_leaf": 1}, lightgbm.Dataset(X, y), 3).save_model(tmp_path / "m.txt")
    xgboost.XGBRegressor(n_estimators=3, enable_categorical=True).fit(X, y).save_model(tmp_path / "m.json")
    for path in (tmp_path / "m.txt", tmp_path / "m.json"):
        with pytest.raises(ModelUnknown, match="trained on categories"):
            pack_file(path, data=None, target=None, to=tmp_path / "bundle")


def test_a_sample_of_other_columns_is_refused(tmp_path: Path) -> None:
    fitted = xgboost.XGBRegressor(n_estimators=3).fit(DIABETES, PROGRESS)
    [path, _] = saved(fitted, tmp_path)
    with pytest.raises(SampleUnfit, match="does not have what the model was fitted on: bmi"):
        pack_saved(path, DIABETES.drop(columns="bmi"), tmp_path)
    with pytest.raises(SampleUnfit, match="could not convert string"):
        pack_saved(path, DIABETES.assign(bmi="x"), tmp_path)


@pytest.mark.parametrize("name", ["m.ubj", "m.txt"])
def test_a_damaged_file_is_said_to_be_one(name: str, tmp_path: Path) -> None:
    case = "xgboost numbers" if name == "m.ubj" else "lightgbm numbers"
    make, X, y = CASES[case]
    whole = saved(make().fit(X, y), tmp_path)[-1].read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(ModelUnknown, match="cannot be read"):
        pack_file(path, data=None, target=None, to=tmp_path / "bundle")


def test_kinds_are_told_by_content() -> None:
    assert kind_of(b'{ "learner": {"attributes": {}}}') == "xgboost"
    assert kind_of(b'{"label": 1}\n{"label": 2}\n') == "text"
    assert kind_of(b"tree\nversion=v4\nnum_class=1\n") == "lightgbm"
    assert kind_of(b"tree\nversion of mine\n") == "text"


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_a_missing_library_is_named_with_what_to_install(library: str) -> None:
    code = f"""
import sys
sys.modules[{library!r}] = None
from wherry.errors import ExtraMissing
try:
    import wherry.model.flavors.{library}
except ExtraMissing as error:
    print(error.hint)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"pip install 'wherry[{library}]'\n"


@pytest.mark.parametrize("case", ["xgboost two classes", "lightgbm numbers"])
def test_served_with_two_workers(case: str, tmp_path: Path, service: Callable[..., Any]) -> None:
    """A booster is read before the workers are forked, and answers in each of them."""
    make, X, y = CASES[case]
    fitted = make().fit(X, y)
    path = saved(fitted, tmp_path)[-1]
    pack_saved(path, X, tmp_path)
    running = service(tmp_path / "bundle", "--no-store", "--workers", "2")
    rows = json.loads(X[:40].to_json(orient="records"))
    for row, wanted in zip(rows, fitted.predict(X[:40]).tolist(), strict=True):
        assert running.ask("/predict", row).json["prediction"] == pytest.approx(wanted, rel=1e-6)
    answered = running.ask("/predict", rows).json
    assert answered["predictions"] == pytest.approx(fitted.predict(X[:40]).tolist(), rel=1e-6)
    if "classes" in case:
        answered = running.ask("/predict?probabilities=true", rows).json
        np.testing.assert_allclose(answered["probabilities"], fitted.predict_proba(X[:40]), atol=1e-6)
    assert running.ask("/predict", {**rows[0], X.columns[0]: None}).status == 200
