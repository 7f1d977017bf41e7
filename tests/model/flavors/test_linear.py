"""Folded pipelines answer as scikit-learn does, whatever stands before the linear model."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_parts import rows_of, signature_of
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    TweedieRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC, LinearSVC, LinearSVR

from wherry.contract.signature import Signature
from wherry.errors import BundleUnreadable
from wherry.model.flavors.linear import Linear, LinearScorer
from wherry.model.flavors.sklearn.converting.features import NotFoldable
from wherry.model.flavors.sklearn.converting.fold import fold
from wherry.model.flavors.sklearn.reference import EstimatorReference
from wherry.model.proving.evidence import gather
from wherry.model.proving.proof import prove

FOLDS = int(os.environ.get("WHERRY_TEST_FOLDS", "40"))  # pipelines; the long form tries 150

pytestmark = pytest.mark.filterwarnings("ignore")  # estimators that did not converge are as good for these tests


def people(count: int, seed: int) -> pd.DataFrame:
    """Numbers, whole numbers, booleans and texts, with holes in two of them."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": random.normal(40, 12, count).round(1),
            "visits": random.integers(0, 9, count),
            "member": random.random(count) < 0.5,
            "city": random.choice(["Bern", "Basel", "Genf"], count),
            "plan": random.choice(["a", "b", "c", "d"], count),
        }
    )
    frame.loc[random.random(count) < 0.1, "age"] = np.nan
    frame.loc[random.random(count) < 0.1, "city"] = None
    frame.iloc[:12] = [
        (30.5 + place, place % 9, bool(place % 2), ["Bern", "Basel", "Genf"][place % 3], "abcd"[place % 4])
        for place in range(12)
    ]
    return frame


def answers_of(frame: pd.DataFrame, seed: int) -> Any:
    noise = np.random.default_rng(seed).normal(0, 0.5, len(frame))
    signal = frame.age.fillna(40) / 20 + frame.visits / 3 + frame.member * 1.0 + (frame.city == "Basel") * 2.0
    return (signal + noise).to_numpy()


scalers = st.sampled_from(
    [
        StandardScaler(),
        StandardScaler(with_mean=False),
        StandardScaler(with_std=False),
        MinMaxScaler(),
        MinMaxScaler((-1, 3), clip=True),
        MaxAbsScaler(),
        RobustScaler(),
        RobustScaler(with_centering=False),
        FunctionTransformer(),
        "passthrough",
    ]
)
imputers = st.builds(
    SimpleImputer,
    strategy=st.sampled_from(["mean", "median", "most_frequent"]),
    add_indicator=st.booleans(),
) | st.builds(SimpleImputer, strategy=st.just("constant"), fill_value=st.sampled_from([0.0, -1.0, 37.5]))
encoders = st.sampled_from(
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(handle_unknown="ignore", drop="first"),
        OneHotEncoder(handle_unknown="ignore", drop="if_binary", sparse_output=False),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
        TargetEncoder(cv=2),
    ]
)
text_imputers = st.sampled_from(
    ["passthrough", SimpleImputer(strategy="most_frequent"), SimpleImputer(strategy="constant", fill_value="none")]
)
classifiers = st.sampled_from(
    [
        LogisticRegression(),
        SVC(kernel="linear"),
        LinearSVC(),
        RidgeClassifier(),
        SGDClassifier(random_state=0),
        SGDClassifier(loss="log_loss", random_state=0),
        SGDClassifier(loss="modified_huber", random_state=0),
        Perceptron(),
        LinearDiscriminantAnalysis(),
    ]
)
regressors = st.sampled_from(
    [LinearRegression(), Ridge(), Lasso(0.01), ElasticNet(0.01), LinearSVR(), TweedieRegressor(power=0)]
)


pipelines = given(
    seed=st.integers(0, 5),
    scaler=scalers,
    imputer=imputers,
    encoder=encoders,
    text_imputer=text_imputers,
    final=classifiers | regressors,
    classes=st.sampled_from([2, 3]),
    remainder=st.sampled_from(["drop", "passthrough", StandardScaler()]),
)


@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@pipelines
def test_a_fold_answers_as_the_pipeline_does(**drawn: Any) -> None:
    """Random pipelines over mixed columns with holes, proven by the same rule as at pack."""
    hold_fold_against_pipeline(**drawn)


@pytest.mark.slow
@settings(max_examples=FOLDS, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@pipelines
def test_many_folds_answer_as_their_pipelines_do(**drawn: Any) -> None:
    hold_fold_against_pipeline(**drawn)


def hold_fold_against_pipeline(
    seed: int,
    scaler: Any,
    imputer: Any,
    encoder: Any,
    text_imputer: Any,
    final: Any,
    classes: int,
    remainder: Any,
) -> None:
    frame = people(120, seed)
    values = answers_of(frame, seed)
    if isinstance(encoder, TargetEncoder) and classes > 2 and hasattr(final, "decision_function"):
        classes = 2
    if hasattr(final, "decision_function"):
        target = np.digitize(values, np.quantile(values, np.arange(1, classes) / classes))
    else:
        target = values
    steps = make_column_transformer(
        (make_pipeline(imputer, scaler), ["age", "visits"]),
        (make_pipeline(text_imputer, encoder), ["plan", "city"]),
        remainder=remainder,
        sparse_threshold=0,
    )
    pipeline = make_pipeline(steps, final).fit(frame, target)
    signature, rows = signature_of(pipeline, frame), rows_of(frame)
    itself = EstimatorReference(pipeline, signature)
    proof = prove(itself, scorer_of(pipeline, frame), signature, gather(itself, signature, rows))
    assert proof.rows >= len(frame)
    assert proof.largest_difference < 1e-9


@pytest.mark.parametrize(
    "final",
    [
        LogisticRegression(),
        LogisticRegression(solver="liblinear"),
        SVC(kernel="linear"),
        LinearSVC(),
        RidgeClassifier(),
        SGDClassifier(loss="modified_huber"),
        LinearDiscriminantAnalysis(),
    ],
    ids=repr,
)
@pytest.mark.parametrize("data", [load_iris, load_digits], ids=["iris", "digits"])
def test_several_classes(final: Any, data: Any) -> None:
    X, y = data(return_X_y=True)
    if "liblinear" in repr(final):
        X, y = X[y < 2], y[y < 2]
    pipeline = make_pipeline(StandardScaler(), final).fit(X, y)
    scorer = scorer_of(pipeline, X)
    found = scorer.score(rows_of(X))
    assert found.predictions == pipeline.predict(X).tolist()
    assert all(type(answer) is int for answer in found.predictions)
    if hasattr(pipeline, "predict_proba"):
        np.testing.assert_allclose(found.probabilities, pipeline.predict_proba(X), rtol=1e-7, atol=1e-12)


def scorer_of(estimator: Any, X: Any, signature: Signature | None = None) -> LinearScorer:
    data = fold(estimator, signature or signature_of(estimator, X)).dump()
    return LinearScorer(Linear.parse(data, "model.npz"))


def test_votes_that_tie_go_to_the_first_class() -> None:
    """libsvm's rule for one against one: three classes in a circle, one vote each, the first wins."""
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), SVC(kernel="linear")).fit(X, y)
    model = fold(pipeline, signature_of(pipeline, X))
    circle = msgspec.structs.replace(model, weights=model.weights * 0, bias=np.array([1.0, -1.0, 1.0]))
    assert LinearScorer(circle).score([(0.0,) * 4]).predictions == [0]
    other = msgspec.structs.replace(circle, bias=np.array([-1.0, 1.0, -1.0]))
    assert LinearScorer(other).score([(0.0,) * 4]).predictions == [0]
    second = msgspec.structs.replace(circle, bias=np.array([-1.0, -1.0, 1.0]))
    assert LinearScorer(second).score([(0.0,) * 4]).predictions == [1]


def test_labels_keep_their_type() -> None:
    X, y = load_iris(return_X_y=True)
    for target, type_ in ((y == 1, bool), (np.where(y == 1, "yes", "no"), str), (y * 2.0, float), (y, int)):
        estimator = LogisticRegression().fit(X, target)
        answers = scorer_of(estimator, X).score(rows_of(X)).predictions
        assert {type(answer) for answer in answers} == {type_}
        assert answers == estimator.predict(X).tolist()


def test_several_outputs_and_a_logarithmic_link() -> None:
    X, y = load_diabetes(return_X_y=True)
    both = LinearRegression().fit(X, np.stack([y, -y], axis=1))
    signature = signature_of(both, X)
    wide = msgspec.structs.replace(signature, output=msgspec.structs.replace(signature.output, width=2))
    np.testing.assert_allclose(scorer_of(both, X, wide).score(rows_of(X)).predictions, both.predict(X))
    poisson = PoissonRegressor().fit(X, y)
    np.testing.assert_allclose(scorer_of(poisson, X).score(rows_of(X)).predictions, poisson.predict(X))
    column = LinearRegression().fit(X, y.reshape(-1, 1))
    np.testing.assert_allclose(scorer_of(column, X).score(rows_of(X)).predictions, column.predict(X)[:, 0])


def test_columns_far_from_zero_keep_their_digits() -> None:
    random = np.random.default_rng(0)
    X = random.normal(1e9, 1e-1, (300, 3)).round(3)
    y = (X - 1e9) @ [3.0, -2.0, 1.0]
    pipeline = make_pipeline(StandardScaler(), LinearRegression()).fit(X, y)
    found = scorer_of(pipeline, X).score(rows_of(X)).predictions
    np.testing.assert_allclose(found, pipeline.predict(X), rtol=1e-9, atol=1e-9)


def test_a_missing_cell_that_nothing_fills_has_no_answer() -> None:
    X, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    rows = rows_of(X)
    rows[1] = (None, *rows[1][1:])
    answers = scorer_of(pipeline, X).score(rows[:3]).predictions
    assert answers == [0, None, 0]


def test_an_unseen_category_that_the_encoder_refuses_has_no_answer() -> None:
    frame = people(60, 0)[["plan"]]
    pipeline = make_pipeline(OneHotEncoder(), LogisticRegression()).fit(frame, frame["plan"] == "a")
    scorer = scorer_of(pipeline, frame)
    assert scorer.score([("a",), ("z",), ("b",)]).predictions == [True, None, False]


@pytest.mark.parametrize(
    ("estimator", "reason"),
    [
        (SVC(), "kernel 'rbf'"),
        (SVC(kernel="linear", break_ties=True), "breaks ties"),
        (make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()), "calls a function"),
        (make_pipeline(SimpleImputer(missing_values=0.0), LogisticRegression()), "fills 0.0"),
    ],
    ids=["rbf", "ties", "function", "zeros"],
)
def test_what_is_no_sum_is_not_folded(estimator: Any, reason: str) -> None:
    X, y = load_iris(return_X_y=True)
    X = np.abs(X)
    estimator.fit(X, y)
    with pytest.raises(NotFoldable, match=reason):
        fold(estimator, signature_of(estimator, X))


def test_a_subclass_may_answer_otherwise_and_is_not_folded() -> None:
    class Contrary(LogisticRegression):
        def predict(self, X: Any) -> Any:
            return super().predict(X)[::-1]

    X, y = load_iris(return_X_y=True)
    estimator = Contrary().fit(X, y)
    with pytest.raises(NotFoldable, match="Contrary is not linear"):
        fold(estimator, signature_of(estimator, X))


def test_selected_columns() -> None:
    X, y = load_digits(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), SelectKBest(k=10), LogisticRegression()).fit(X, y)
    assert scorer_of(pipeline, X).score(rows_of(X)).predictions == pipeline.predict(X).tolist()


def test_the_file_holds_arrays_and_no_objects(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    estimator = LogisticRegression().fit(X, y)
    model = fold(estimator, signature_of(estimator, X))
    data = model.dump()
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        assert {file[name].dtype.kind for name in file.files} == {"f", "u"}
    time.sleep(2.1)  # the resolution of the times in a zip file
    assert model.dump() == data
    evil = io.BytesIO()
    np.savez(evil, form=np.array([object()], dtype=object))
    for bad in (evil.getvalue(), b"", b"PK\x03\x04", data[:200]):
        with pytest.raises(BundleUnreadable):
            Linear.parse(bad, "model.npz")


def test_one_row_costs_microseconds(capsys: pytest.CaptureFixture[str]) -> None:
    X, y = load_digits(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=50)).fit(X[y < 2], y[y < 2])
    scorer, rows = scorer_of(pipeline, X), rows_of(X)
    best = {1: float("inf"), 64: float("inf")}
    for count in best:
        for _ in range(200):
            start = time.perf_counter()
            scorer.score(rows[:count])
            best[count] = min(best[count], time.perf_counter() - start)
    with capsys.disabled():
        print(
            f"\nfolded logistic regression, 64 columns: {best[1] * 1e6:.1f} us a row, "
            f"{best[64] * 1e6:.1f} us for 64 rows"
        )
    assert best[1] < 200e-6
