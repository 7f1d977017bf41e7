"""Which way a missing value goes at each node of a tree, and how many rows came by: the converter forgets to say."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from wherry.model.flavors.sklearn.scorer import parts

ROUTES = "nodes_missing_value_tracks_true"
RATES = "nodes_hitrates"
Known = tuple[tuple[int, ...], tuple[int, ...]]


def route_missing(graph: Any, estimator: Any) -> None:
    """Set, in every tree ensemble of an ONNX graph, the branch that a missing value takes, as the estimator's trees do,
    and as hit rates the rows of their training.

    A tree that cannot be told from another with other routes is left as it is: the proof will see whether it matters.
    """
    known = routes_by_shape(estimator)
    for node in graph.graph.node:
        if not node.op_type.startswith("TreeEnsemble"):
            continue
        values = {each.name: each for each in node.attribute}
        if not {ROUTES, RATES, "nodes_treeids", "nodes_featureids", "nodes_truenodeids"} <= values.keys():
            continue
        features, lefts = values["nodes_featureids"].ints, values["nodes_truenodeids"].ints
        routes, rates = list(values[ROUTES].ints), list(values[RATES].floats)
        places = sorted(range(len(routes)), key=values["nodes_treeids"].ints.__getitem__)
        for _, group in groupby(places, key=values["nodes_treeids"].ints.__getitem__):
            tree = list(group)
            found = known.get(shape([features[place] for place in tree], [lefts[place] for place in tree]))
            if found:
                for place, left, rows in zip(tree, *found, strict=True):
                    routes[place], rates[place] = left, rows
        values[ROUTES].ints[:], values[RATES].floats[:] = routes, rates


def routes_by_shape(estimator: Any) -> dict[bytes, Known | None]:
    """A tree's shape to its nodes' routes (1: left) and rows; None where two trees of one shape route otherwise."""
    known: dict[bytes, Known | None] = {}
    for tree in trees(estimator):
        leaf = tree.children_left < 0
        key = shape(np.where(leaf, 0, tree.feature), np.where(leaf, 0, tree.children_left))
        routes = tuple(np.where(leaf, 0, tree.missing_go_to_left).astype(int).tolist())
        other = known.get(key, (routes, ()))
        known[key] = (routes, tuple(tree.n_node_samples.tolist())) if other and other[0] == routes else None
    return known


def shape(features: Any, lefts: Any) -> bytes:
    return np.asarray([features, lefts], dtype=np.int64).tobytes()


def trees(estimator: Any) -> Iterator[Any]:
    for part in parts(estimator):
        for each in (part, *np.ravel(getattr(part, "estimators_", ()))):
            if hasattr(getattr(each, "tree_", None), "missing_go_to_left"):
                yield each.tree_
