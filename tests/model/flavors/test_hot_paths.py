"""Trees laid out for the caches answer with the same bits, also on their thresholds and where values are missing."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from model_parts import signature_of
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)

from wherry.model.flavors.sklearn.converting import hot_paths, to_onnx

rng = np.random.default_rng(5)
ROWS = rng.integers(-3, 4, size=(300, 4)).astype(float)  # few values: thresholds lie half-way, and many at -0.5 and 0.5
TWO = (ROWS[:, 0] + ROWS[:, 1] ** 2 > 2).astype(int)
THREE = TWO + (ROWS[:, 2] > 0)
MODELS = {
    "forest": (RandomForestClassifier(9, random_state=0), THREE),
    "forest of two": (RandomForestClassifier(9, random_state=0), TWO),
    "impure leaves": (ExtraTreesClassifier(9, max_depth=4, random_state=0), THREE),
    "numbers": (RandomForestRegressor(9, random_state=0), THREE),
    "two numbers": (RandomForestRegressor(9, random_state=0), np.stack([TWO, THREE], axis=1)),
    "boosting": (GradientBoostingClassifier(n_estimators=5, random_state=0), THREE),
    "histogram boosting": (HistGradientBoostingClassifier(max_iter=5, random_state=0), THREE),
    "one leaf": (RandomForestRegressor(3), np.ones(len(ROWS))),
}


def graphs(model: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, bytes]:
    """As the converter makes it, and laid out."""
    signature = signature_of(model, ROWS)
    way = next(iter(to_onnx.ways(model, signature)))
    monkeypatch.setattr(hot_paths, "TURNED", 1)
    made = to_onnx.convert(model, signature, way)
    monkeypatch.setattr(to_onnx, "lay_out", lambda graph: None)
    return to_onnx.convert(model, signature, way), made


def answers(graph: bytes, rows: Any) -> list[Any]:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(None, {session.get_inputs()[0].name: rows.astype(np.float32)})
    return found


def asked(graph: bytes) -> Any:
    """Rows at random; on every threshold and right beside it; with what is no number."""
    node = next(each for each in onnx.load_from_string(graph).graph.node if each.op_type.startswith("TreeEnsemble"))
    values = np.unique(next(each for each in node.attribute if each.name == "nodes_values").floats).astype(np.float32)
    every = np.concatenate([values, *(np.nextafter(values, np.float32(end)) for end in (-np.inf, np.inf))])
    odd = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], dtype=np.float32)
    return rng.choice(np.concatenate([every, odd]), size=(2000, 4))


@pytest.mark.parametrize("name", MODELS)
def test_the_answers_are_the_same_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, target = MODELS[name]
    plain, made = graphs(model.fit(ROWS, target), monkeypatch)
    for rows in (ROWS, asked(plain), asked(plain)[:1]):
        for want, have in zip(answers(plain, rows), answers(made, rows), strict=True):
            np.testing.assert_array_equal(have, want)
    assert len(made) < len(plain) or name == "one leaf"


def test_a_threshold_that_is_not_moved_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: -x is at most -t also where x is t."""
    monkeypatch.setattr(np, "nextafter", lambda values, *ends: values)
    model, target = MODELS["forest"]
    plain, made = graphs(model.fit(ROWS, target), monkeypatch)
    monkeypatch.undo()
    rows = asked(plain)
    assert (answers(plain, rows)[1] != answers(made, rows)[1]).any()


def test_small_forests_get_no_more_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    model, target = MODELS["forest"]
    _, turned = graphs(model.fit(ROWS, target), monkeypatch)
    monkeypatch.undo()
    signature = signature_of(model, ROWS)
    small = to_onnx.convert(model, signature, next(iter(to_onnx.ways(model, signature))))
    assert [each.op_type for each in onnx.load_from_string(turned).graph.node][:2] == ["Neg", "Concat"]
    assert "Neg" not in {each.op_type for each in onnx.load_from_string(small).graph.node}
