"""Estimators kept as they are: one fixed list of types, trees that point inside themselves, and frames rebuilt."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest
import skops.io
from model_parts import breast_cancer, make_bundle, rows_of, signature_of
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Row
from wherry.errors import BundleUnreadable
from wherry.model import bundle
from wherry.model.flavors.sklearn import skops_file
from wherry.model.flavors.sklearn.inputs import builder, fitted_on
from wherry.model.flavors.sklearn.scorer import made_to_serve, parts
from wherry.model.loaded import load


@pytest.mark.parametrize("function", [os.system, eval, exec, open, getattr, __import__], ids=lambda each: each.__name__)
def test_functions_that_run_things_are_never_trusted(function: Any, tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    model = make_pipeline(FunctionTransformer(), LogisticRegression(max_iter=500)).fit(X, y)
    model[0].func = function
    try:
        data = skops_file.dump(model)
    except Exception:  # skops does not even write it
        return
    assert skops_file.untrusted(data)
    with pytest.raises(BundleUnreadable, match="not trusted"):
        skops_file.load(data, "model.skops")


def test_a_crafted_file_runs_nothing(tmp_path: Path) -> None:
    """The names in a skops file are only names until the list has let them pass."""
    X, y = load_iris(return_X_y=True)
    data = skops_file.dump(LogisticRegression(max_iter=500).fit(X, y))
    canary = tmp_path / "ran"
    for module, name in (("os", "system"), ("subprocess", "Popen"), ("builtins", "eval"), ("wherry", "load")):
        archive = zipfile.ZipFile(io.BytesIO(data))
        schema = json.loads(archive.read("schema.json"))
        schema["__module__"], schema["__class__"] = module, name
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as crafted:
            for each in archive.namelist():
                crafted.writestr(each, json.dumps(schema) if each == "schema.json" else archive.read(each))
        with pytest.raises(BundleUnreadable):
            skops_file.load(file.getvalue(), "model.skops")
    assert not canary.exists()


def test_the_list_is_fixed_and_each_name_on_it_exists() -> None:
    assert len(skops_file.TRUSTED) == len(set(skops_file.TRUSTED))
    known = {f"{each.__module__}.{each.__name__}" for _, each in all_estimators()}
    for name in skops_file.TRUSTED:
        assert name.startswith(("sklearn.", "numpy.", "scipy.", "functools.")), name
        assert name not in ("numpy.load", "numpy.memmap", "joblib.load") and name not in known - {name}
    assert not [name for name in known if name.startswith("sklearn.") and not skops_file.trusted(name)]
    others = ("sklearn.datasets.load_iris", "sklearn.neighbors._kd_tree.newObj", "sklearn.neighbors._kd_tree.KDTree64")
    assert not any(map(skops_file.trusted, others))


@pytest.mark.parametrize(
    "estimator",
    [
        DecisionTreeClassifier(),
        RandomForestClassifier(3),
        HistGradientBoostingClassifier(max_iter=3),
        KNeighborsClassifier(algorithm="kd_tree"),
        KNeighborsClassifier(algorithm="ball_tree"),
        VotingClassifier([("a", DecisionTreeClassifier()), ("b", LogisticRegression(max_iter=500))]),
    ],
    ids=lambda each: type(each).__name__,
)
def test_honest_models_pass_and_answer_alike(estimator: Any) -> None:
    X, y = load_iris(return_X_y=True)
    estimator.fit(X, y)
    copy = skops_file.load(skops_file.dump(estimator), "model.skops")
    assert copy.predict(X).tolist() == estimator.predict(X).tolist()


def test_a_tree_that_points_outside_itself_is_refused_before_it_is_asked() -> None:
    X, y = load_iris(return_X_y=True)
    tree = DecisionTreeClassifier(random_state=0).fit(X, y)
    for field, value in (("left_child", 10**6), ("right_child", 0), ("feature", 99)):
        state = tree.tree_.__getstate__()
        state["nodes"] = state["nodes"].copy()
        state["nodes"][field][0] = value
        bad = DecisionTreeClassifier(random_state=0).fit(X, y)
        bad.tree_.__setstate__(state)
        with pytest.raises(BundleUnreadable, match="points outside itself"):
            skops_file.load(skops_file.dump(bad), "model.skops")
    boosted = HistGradientBoostingClassifier(max_iter=2).fit(X, y)
    boosted._predictors[0][0].nodes["left"][0] = 10**6
    with pytest.raises(BundleUnreadable, match="TreePredictor"):
        skops_file.load(skops_file.dump(boosted), "model.skops")


def test_a_pickle_that_the_manifest_does_not_permit_is_not_opened(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)

    class Bomb:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    manifest = make_bundle(tmp_path / "bundle", KNeighborsClassifier().fit(X, y), X)
    assert manifest.conversion.form == "skops"
    data = io.BytesIO()
    joblib.dump(Bomb(), data)
    # The digests are an attacker's and right; the form is not what allow_pickle permits.
    files = {name: (tmp_path / "bundle" / name).read_bytes() for name in manifest.files} | {
        manifest.model: data.getvalue()
    }
    pickled = msgspec.structs.replace(manifest.conversion, form="pickle")
    for changed in (manifest, msgspec.structs.replace(manifest, conversion=pickled)):
        bundle.write(tmp_path / "bundle", changed, files)
        with pytest.raises((BundleUnreadable, zipfile.BadZipFile)):
            load(tmp_path / "bundle")
    assert not (tmp_path / "ran").exists()


def test_to_serve_means_one_job_and_no_names() -> None:
    X, y = breast_cancer()
    model = make_pipeline(FunctionTransformer(), RandomForestClassifier(3, n_jobs=4, random_state=0)).fit(X, y)
    expected = model.predict(X).tolist()
    made_to_serve(model, nameless=True)
    assert model[-1].n_jobs == 1
    assert not any(hasattr(each, "feature_names_in_") for each in parts(model))
    assert model.predict(X.to_numpy()).tolist() == expected  # and no warning, which would be an error here


def test_a_frame_has_the_samples_names_and_dtypes() -> None:
    columns = (
        Column("a", "number", nullable=True, dtype="float32"),
        Column("b", "integer", dtype="int16"),
        Column("c", "boolean", dtype="bool"),
        Column("d", "string", nullable=True, dtype="str"),
        Column("e", "string", dtype="category", categories=("x", "y")),
        Column("f", "integer", nullable=True, dtype="Int64"),
        Column("g", "string", nullable=True, dtype="object"),
    )
    signature = Signature(columns, OutputSpec("number", "number"))
    rows: list[Row] = [(1.5, 2, True, "p", "x", 3, "q"), (None, 4, False, None, "y", None, None)]
    frame = builder(signature, "frame")(rows)
    assert list(frame.columns) == list("abcdefg")
    assert [str(each) for each in frame.dtypes] == ["float32", "int16", "bool", "str", "category", "Int64", "object"]
    assert frame.isna().sum().tolist() == [1, 0, 0, 1, 0, 1, 1]
    large = builder(signature, "frame")([(1.0, 10**6, True, "p", "x", 3, "q")])
    assert large["b"].tolist() == [10**6]


def test_what_an_estimator_was_fitted_on() -> None:
    X, y = breast_cancer()
    assert fitted_on(LogisticRegression(max_iter=5000).fit(X.to_numpy(), y)) == "array"
    assert fitted_on(KNeighborsClassifier().fit(X, y)) == "frame"
    integers = KNeighborsClassifier().fit(np.arange(20).reshape(-1, 2), np.arange(10) % 2)
    array = builder(signature_of(integers, np.arange(20).reshape(-1, 2)), "array")([(1, 2), (3, 4)])
    assert array.dtype == np.int64
    texts = builder(
        Signature((Column("x0", "string"), Column("x1", "number")), OutputSpec("number", "number")), "array"
    )
    assert texts([("a", 1.0), (None, None)]).dtype == object


def test_skops_itself_refuses_to_trust_everything() -> None:
    """The day skops changes its mind about `trusted`, this fails first."""
    X, y = load_iris(return_X_y=True)
    data = skops.io.dumps(DecisionTreeClassifier().fit(X, y))
    with pytest.raises(TypeError):
        skops.io.loads(data, trusted=True)
    with pytest.raises(TypeError, match="Untrusted"):
        skops.io.loads(data)
    assert rows_of(pd.DataFrame({"a": [1.0]})) == [(1.0,)]
