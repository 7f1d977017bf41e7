"""A pipeline that ends in a linear model, folded into the sums that flavors.linear answers with."""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import Any

import numpy as np
from sklearn import linear_model, svm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline

from wherry.contract.signature import Signature
from wherry.contract.wire import Cell
from wherry.model.flavors.linear import Decide, Form, Linear, LinearScorer, Link, Lookup
from wherry.model.flavors.sklearn.converting.features import NotFoldable, Number, Table, as_numeric, untouched
from wherry.model.flavors.sklearn.converting.steps import apply
from wherry.model.matrix import Floats, plain

NUMBERS = (
    "ARDRegression BayesianRidge ElasticNet ElasticNetCV GammaRegressor HuberRegressor Lars LarsCV Lasso LassoCV "
    "LassoLars LassoLarsCV LassoLarsIC LinearRegression LinearSVR MultiTaskElasticNet MultiTaskElasticNetCV "
    "MultiTaskLasso MultiTaskLassoCV NuSVR OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV "
    "PassiveAggressiveRegressor PoissonRegressor QuantileRegressor Ridge RidgeCV SGDRegressor SVR TheilSenRegressor "
    "TweedieRegressor"
)
CLASSES = (
    "LogisticRegression LogisticRegressionCV RidgeClassifier RidgeClassifierCV SGDClassifier Perceptron "
    "PassiveAggressiveClassifier LinearSVC LinearDiscriminantAnalysis SVC NuSVC"
)
LOG_LINKED = ("PoissonRegressor", "GammaRegressor", "TweedieRegressor")
# An offset this large beside the sums would cost the last digits of the answer: such models subtract first.
FAR = 1e4


def fold(estimator: Any, signature: Signature) -> Linear:
    """The estimator as sums. Raises NotFoldable."""
    columns = untouched(signature)
    *steps, final = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    while isinstance(final, Pipeline):
        *inner, final = [step for _, step in final.steps]
        steps += inner
    kind = kind_of(final)
    for step in steps:
        columns = apply(step, columns)
    weights, bias = coefficients(final)
    if weights.shape[1] != len(columns):
        raise NotFoldable(f"{weights.shape[1]} coefficients for {len(columns)} features")
    decide: Decide
    link: Link
    classes: tuple[Cell, ...]
    if kind == "number":
        decide, link, classes = "number", number_link(final, weights, bias), ()
    else:
        classes = tuple(plain(final.classes_))
        decide = decision(final, len(classes), len(weights))
        link = class_link(final, decide, classes, weights, bias, wanted=signature.output.probabilities)
    form = Form(decide=decide, link=link, classes=classes, columns=(), lookups=(), width=signature.output.width)
    return assembled(form, [as_numeric(column) for column in columns], weights.T, bias)


def kind_of(final: Any) -> str:
    """number or class; only for scikit-learn's own classes, whose subclasses may answer otherwise."""
    for kind, names in (("number", NUMBERS), ("class", CLASSES)):
        for name in names.split():
            for module in (linear_model, svm):
                if type(final) is getattr(module, name, None):
                    return kind
    if type(final) is LinearDiscriminantAnalysis:
        return "class"
    raise NotFoldable(f"{type(final).__name__} is not linear")


def coefficients(final: Any) -> tuple[Floats, Floats]:
    """k x features and k, in float64."""
    if getattr(final, "kernel", "linear") != "linear":
        raise NotFoldable(f"{type(final).__name__} has the kernel {final.kernel!r}")
    weights = final.coef_.toarray() if hasattr(final.coef_, "toarray") else np.asarray(final.coef_)
    weights = np.atleast_2d(weights.astype(np.float64))
    bias = np.broadcast_to(np.asarray(final.intercept_, dtype=np.float64).ravel(), (len(weights),)).copy()
    return weights, bias


def number_link(final: Any, weights: Floats, bias: Floats) -> Link:
    if type(final).__name__ not in LOG_LINKED:
        return "none"
    point = np.zeros((1, weights.shape[1]))
    answer = float(quietly(final.predict, point)[0])
    return "exp" if np.isclose(answer, np.exp(bias[0]), rtol=1e-9) else "none"


def decision(final: Any, classes: int, sums: int) -> Decide:
    if classes == 2:
        return "sign"
    if isinstance(final, (svm.SVC, svm.NuSVC)):
        if final.break_ties:
            raise NotFoldable("SVC breaks ties by its decision function")
        return "votes"
    if sums != classes:
        raise NotFoldable(f"{sums} sums for {classes} classes")
    return "argmax"


def class_link(
    final: Any, decide: Decide, classes: tuple[Cell, ...], weights: Floats, bias: Floats, *, wanted: bool
) -> Link:
    """How the estimator makes probabilities of its sums: found by asking it."""
    if not wanted:
        return "none"
    # Points whose sums lie about 0: further out every way says 0 or 1.
    sums = np.random.default_rng(0).uniform(-2.5, 2.5, size=(64, len(weights)))
    points = (sums - bias) @ np.linalg.pinv(weights).T
    expected = quietly(final.predict_proba, points)
    candidates: tuple[Link, ...] = (
        ("sigmoid", "sigmoid2", "clip") if decide == "sign" else ("softmax", "ovr", "ovr_clip")
    )
    for link in candidates if decide != "votes" else ():
        form = Form(decide=decide, link=link, classes=classes, columns=tuple(range(weights.shape[1])), lookups=())
        found = LinearScorer(dense(form, weights.T, bias)).score(points.tolist()).probabilities
        if np.allclose(np.asarray(found), expected, rtol=1e-9, atol=1e-12):
            return link
    raise NotFoldable(f"{type(final).__name__} makes its probabilities in a way of its own")


def quietly(ask: Any, points: Any) -> Any:
    with warnings.catch_warnings():
        # asked with an array though it may know names
        warnings.simplefilter("ignore")
        return np.asarray(ask(points))


def dense(form: Form, weights: Floats, bias: Floats) -> Linear:
    lines, sums = weights.shape
    free = np.full(lines, np.inf)
    return Linear(
        form, weights, bias, np.zeros(lines), -free, free, np.full((lines, sums), np.nan), np.zeros((0, sums))
    )


def assembled(form: Form, features: list[Number | Table], weights: Floats, bias: Floats) -> Linear:
    """The sums of `features` times `weights` (features x k), the features of one column gathered in one line."""
    lines: dict[tuple[int, float, float], list[tuple[Number, Floats]]] = defaultdict(list)
    tables: dict[tuple[int, tuple[Cell, ...]], list[tuple[Table, Floats]]] = defaultdict(list)
    for feature, weight in zip(features, weights, strict=True):
        if isinstance(feature, Number):
            lines[feature.column, feature.low, feature.high].append((feature, weight))
        else:
            tables[feature.column, feature.known].append((feature, weight))
    ordered = sorted(lines)
    sums = len(bias)
    slopes = np.zeros((len(ordered), sums))
    missing = np.full((len(ordered), sums), np.nan)
    center = np.zeros(len(ordered))
    bias = bias.copy()
    far = any(abs(each.shift * each.slope) > FAR for each in features if isinstance(each, Number))
    for line, name in enumerate(ordered):
        members = lines[name]
        at = center[line] = members[0][0].shift if far else 0.0
        for feature, weight in members:
            slopes[line] += feature.slope * weight
        constant = sum(
            ((each.slope * (at - each.shift) + each.offset) * weight for each, weight in members), np.zeros(sums)
        )
        bias += constant
        # 0 * NaN is NaN: a feature that nothing weighs does not make its column's missing cells unanswerable
        absent = [each.missing * weight if weight.any() else np.zeros(sums) for each, weight in members]
        missing[line] = sum(absent, np.zeros(sums)) - constant
    lookups, table = tabulated(tables, sums)
    return Linear(
        form=Form(form.decide, form.link, form.classes, tuple(key[0] for key in ordered), lookups, form.width),
        weights=slopes,
        bias=bias,
        center=center,
        low=np.array([key[1] for key in ordered], dtype=np.float64),
        high=np.array([key[2] for key in ordered], dtype=np.float64),
        missing=missing,
        table=table,
    )


def tabulated(
    tables: dict[tuple[int, tuple[Cell, ...]], list[tuple[Table, Floats]]], sums: int
) -> tuple[tuple[Lookup, ...], Floats]:
    """One entry a category, with what all features of its column add; unknown and missing ones last."""
    lookups: list[Lookup] = []
    entries: list[Floats] = []
    for (column, known), members in tables.items():
        start = len(entries)
        base = sum((each.otherwise * weight for each, weight in members), np.zeros(sums))
        own = {value: base.copy() for value in known}
        for each, weight in members:
            for value, amount in each.values.items():
                own[value] += (amount - each.otherwise) * weight
        entries += own.values()
        unknown = sum((each.unknown * weight for each, weight in members), np.zeros(sums))
        missing = sum((each.missing * weight for each, weight in members), np.zeros(sums))
        lookups.append(Lookup(column, known, start, start + len(known), start + len(known) + 1))
        entries += [unknown, missing]
    return tuple(lookups), np.array(entries, dtype=np.float64).reshape(-1, sums)
