"""Fitted models as people save them: one of each kind that scikit-learn has, alone and in pipelines."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn import (
    calibration,
    cluster,
    compose,
    decomposition,
    discriminant_analysis,
    ensemble,
    feature_extraction,
    feature_selection,
    gaussian_process,
    impute,
    isotonic,
    linear_model,
    mixture,
    model_selection,
    multiclass,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)
from sklearn.base import BaseEstimator, ClassifierMixin

RNG = np.random.default_rng(0)
NUMBERS = pd.DataFrame(RNG.normal(size=(90, 4)), columns=["a", "b", "c", "d"])
CLASSES = np.array(["no", "yes", "maybe"])[RNG.integers(0, 3, 90)]
VALUES = NUMBERS["a"] * 3 + RNG.normal(size=90)
MIXED = NUMBERS.assign(city=RNG.choice(["Oslo", "Bergen"], 90), member=RNG.random(90) > 0.5)
WORDS = ["good", "bad"] * 45


class LocalClassifier(ClassifierMixin, BaseEstimator):
    """An estimator of a user's own, in a module that wherry does not know."""

    def fit(self, X: Any, y: Any) -> LocalClassifier:
        self.classes_ = np.unique(y)
        self.n_features_in_ = 1
        return self

    def predict(self, X: Any) -> Any:
        return np.zeros(len(X), dtype=int)


def fitted(model: Any, X: Any = NUMBERS, y: Any = CLASSES) -> Callable[[], Any]:
    def make() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # convergence is not what these models are for
            return model.fit(X, y)

    return make


def number(model: Any) -> Callable[[], Any]:
    return fitted(model, NUMBERS, VALUES)


def columns() -> Any:
    numeric = pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler())
    return compose.make_column_transformer(
        (numeric, ["a", "b"]),
        (preprocessing.OneHotEncoder(handle_unknown="ignore"), ["city"]),
        (preprocessing.FunctionTransformer(np.abs), ["c"]),
        remainder="passthrough",
    )


MODELS: dict[str, Callable[[], Any]] = {
    "logistic": fitted(linear_model.LogisticRegression()),
    "linear": number(linear_model.LinearRegression()),
    "ridge-array": fitted(linear_model.Ridge(), NUMBERS.to_numpy(), VALUES),
    "elastic-net": number(linear_model.ElasticNet()),
    "sgd": fitted(linear_model.SGDClassifier()),
    "tweedie": number(linear_model.HuberRegressor()),
    "tree": fitted(tree.DecisionTreeClassifier()),
    "tree-regressor": number(tree.DecisionTreeRegressor()),
    "forest": fitted(ensemble.RandomForestClassifier(5)),
    "extra-trees": number(ensemble.ExtraTreesRegressor(5)),
    "boosting": fitted(ensemble.GradientBoostingClassifier(n_estimators=5)),
    "hist-boosting": fitted(ensemble.HistGradientBoostingClassifier(max_iter=5)),
    "hist-boosting-regressor": number(ensemble.HistGradientBoostingRegressor(max_iter=5)),
    "ada-boost": fitted(ensemble.AdaBoostClassifier(n_estimators=5)),
    "bagging": fitted(ensemble.BaggingClassifier(n_estimators=3)),
    "isolation-forest": fitted(ensemble.IsolationForest(n_estimators=5)),
    "voting": fitted(ensemble.VotingClassifier([("a", tree.DecisionTreeClassifier()), ("b", svm.SVC())])),
    "stacking": fitted(ensemble.StackingClassifier([("a", tree.DecisionTreeClassifier())], cv=2)),
    "svc": fitted(svm.SVC()),
    "linear-svr": number(svm.LinearSVR()),
    "neighbors": fitted(neighbors.KNeighborsClassifier(algorithm="kd_tree")),
    "neighbors-ball": number(neighbors.KNeighborsRegressor(algorithm="ball_tree")),
    "gaussian-nb": fitted(naive_bayes.GaussianNB()),
    "mlp": fitted(neural_network.MLPClassifier((4,), max_iter=5)),
    "lda": fitted(discriminant_analysis.LinearDiscriminantAnalysis()),
    "gaussian-process": fitted(
        gaussian_process.GaussianProcessRegressor(gaussian_process.kernels.RBF()), NUMBERS, VALUES
    ),
    "calibrated": fitted(calibration.CalibratedClassifierCV(svm.LinearSVC(), cv=2)),
    "one-vs-rest": fitted(multiclass.OneVsRestClassifier(linear_model.LogisticRegression())),
    "grid-search": fitted(model_selection.GridSearchCV(tree.DecisionTreeClassifier(), {"max_depth": [1, 2]}, cv=2)),
    "kmeans": fitted(cluster.KMeans(2, n_init=1)),
    "mixture": fitted(mixture.GaussianMixture(2)),
    "isotonic": fitted(isotonic.IsotonicRegression(), NUMBERS["a"], VALUES),
    "pca": fitted(pipeline.make_pipeline(decomposition.PCA(2), linear_model.LogisticRegression())),
    "k-best": fitted(pipeline.make_pipeline(feature_selection.SelectKBest(k=2), naive_bayes.GaussianNB())),
    "columns": fitted(pipeline.make_pipeline(columns(), linear_model.LogisticRegression()), MIXED),
    "columns-forest": fitted(pipeline.make_pipeline(columns(), ensemble.RandomForestClassifier(3)), MIXED),
    "words": fitted(
        pipeline.make_pipeline(feature_extraction.text.TfidfVectorizer(), linear_model.LogisticRegression()), WORDS
    ),
    "spline": fitted(pipeline.make_pipeline(preprocessing.SplineTransformer(), linear_model.Ridge()), NUMBERS, VALUES),
    "target": fitted(
        compose.TransformedTargetRegressor(linear_model.Ridge(), func=np.log1p, inverse_func=np.expm1),
        NUMBERS,
        VALUES.abs(),
    ),
    "random-state": fitted(ensemble.RandomForestClassifier(3, random_state=np.random.RandomState(1))),
}
