"""Models as skops files, read and written with one fixed list of types: what is not on it is never constructed."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import sklearn.utils

from wherry.errors import BundleUnreadable
from wherry.model.flavors.sklearn.scorer import loaded, parts
from wherry.model.reading.known import is_estimator

# What points at its own nodes and columns.
SEARCHED = ("sklearn.neighbors.KDTree", "sklearn.neighbors.BallTree")
GROWN = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)
TREES = ("sklearn.tree._tree.Tree", *GROWN, *SEARCHED)

KERNELS = (
    "CompoundKernel ConstantKernel DotProduct ExpSineSquared Exponentiation Matern PairwiseKernel Product RBF "
    "RationalQuadratic Sum WhiteKernel"
)
DISTANCES = (
    "BrayCurtis Canberra Chebyshev Dice Euclidean Hamming Haversine Jaccard Mahalanobis Manhattan Minkowski "
    "RogersTanimoto RussellRao SEuclidean SokalSneath"
)
SCORES = "chi2 f_classif f_regression r_regression"

# Beside scikit-learn's public estimators, as `known` lists them, and skops' own defaults (numpy's and scipy's ufuncs,
# plain containers). Each was read: none runs a file's content as code, opens a file or starts a process. Never
# "whatever the file holds".
TRUSTED: tuple[str, ...] = (
    "functools.partial",  # calls nothing at load, and later only what is itself on the list
    "numpy.dtype",
    "numpy.max",
    "numpy.mean",
    "numpy.median",
    "numpy.min",
    "numpy.sum",
    "scipy.interpolate._bsplines.BSpline",
    "scipy.sparse._csc.csc_matrix",
    "scipy.sparse._csr.csr_matrix",
    "sklearn._loss.loss.HalfTweedieLoss",
    "sklearn._loss.loss.HalfTweedieLossIdentity",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.cluster._bisect_k_means._BisectingTree",
    "sklearn.cluster._kmeans._kmeans_single_elkan",
    "sklearn.cluster._kmeans._kmeans_single_lloyd",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",  # checked by `sound`
    *(f"sklearn.feature_selection._univariate_selection.{name}" for name in SCORES.split()),
    "sklearn.feature_selection._mutual_info.mutual_info_classif",
    "sklearn.feature_selection._mutual_info.mutual_info_regression",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    *(f"sklearn.gaussian_process.kernels.{name}" for name in KERNELS.split()),
    *(f"sklearn.metrics._dist_metrics.{name}Distance64" for name in DISTANCES.split()),
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.neighbors._ball_tree.BallTree",  # checked by `sound`
    "sklearn.neighbors._kd_tree.KDTree",  # checked by `sound`
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.preprocessing._label.LabelBinarizer",
    "sklearn.tree._tree.Tree",  # checked by `sound`
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
)


@functools.cache
def io() -> Any:
    """skops.io, imported once a model is kept so or comes so: packing what becomes arrays does without.

    skops would import all of scikit-learn to list its estimators: a sixth of the time in which a pod is ready. The list
    is here already, and what a file needs of scikit-learn is imported when it is made.
    """
    search, sklearn.utils.all_estimators = sklearn.utils.all_estimators, list
    try:
        import skops.io
    finally:
        sklearn.utils.all_estimators = search
    return skops.io


def dump(estimator: Any) -> bytes:
    """The estimator as a skops file. Raises what skops raises for objects that it cannot hold."""
    data: bytes = io().dumps(estimator)
    return data


def untrusted(data: bytes) -> tuple[str, ...]:
    """The types in a skops file that are not on the list; nothing is constructed."""
    return tuple(sorted(name for name in io().get_untrusted_types(data=data) if not trusted(name)))


def trusted(name: str) -> bool:
    """Whether the list holds this type. Trees of 64 bits are parts of pickles alone: `sound` does not know them."""
    module, _, kind = name.rpartition(".")
    named = kind.lstrip("_")[:1].isupper() and not kind.endswith("Tree64")
    return name in TRUSTED or (named and is_estimator(module, kind))


def made(data: bytes, vouched: Sequence[str] = ()) -> Any:
    """What the file holds. Raises what skops raises for a type that is neither on the list nor vouched for."""
    found = io().get_untrusted_types(data=data)
    return io().loads(data, trusted=[name for name in found if trusted(name) or name in vouched])


def load(data: bytes, path: str) -> Any:
    """The estimator in a skops file; path is for the error. Raises BundleUnreadable, before anything is constructed."""
    if others := untrusted(data):
        raise BundleUnreadable(path, f"holds types that are not trusted: {', '.join(others)}")
    estimator = made(data)
    sound(estimator, path)
    return estimator


def sound(estimator: Any, path: str) -> None:
    """Nothing when every tree inside points only at its own nodes and columns: scikit-learn itself does not look."""
    for part in parts(estimator):
        for tree in trees_of(part):
            if not points_inside(tree):
                raise BundleUnreadable(path, f"holds a {type(tree).__name__} that points outside itself")


def trees_of(part: Any) -> tuple[Any, ...]:
    return (part,) if isinstance(part, loaded(*TREES)) else ()


def points_inside(tree: Any) -> bool:
    if isinstance(tree, loaded(*SEARCHED)):
        data, order, nodes, _ = (np.asarray(array) for array in tree.get_arrays())
        rows = len(data)
        ends = bool((nodes["idx_start"] >= 0).all() and (nodes["idx_end"] <= rows).all())
        return ends and bool(((order >= 0) & (order < rows)).all())
    if isinstance(tree, loaded(*GROWN)):
        nodes = tree.nodes
        inner = nodes[nodes["is_leaf"] == 0]
        left, right, feature = inner["left"], inner["right"], inner["feature_idx"]
        # unsigned: no negative ones
        return bool((left < len(nodes)).all() and (right < len(nodes)).all() and (feature >= 0).all())
    count, leaf = tree.node_count, tree.children_left == -1
    left, right = tree.children_left[~leaf], tree.children_right[~leaf]
    here = np.arange(count)[~leaf]
    children = bool(((left > here) & (left < count) & (right > here) & (right < count)).all())
    feature = tree.feature[~leaf]
    return children and bool(((feature >= 0) & (feature < tree.n_features)).all())
