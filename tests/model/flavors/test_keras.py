"""Keras 3 models on PyTorch: kept as graphs that answer like them, or refused with a way out."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import wherry
from wherry.errors import ModelUnknown
from wherry.model.pack import pack_file

pytestmark = [pytest.mark.heavy, pytest.mark.filterwarnings("ignore")]  # Keras' and PyTorch's own
ROWS = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32), columns=["a", "b", "c"])


@pytest.fixture(scope="module")
def keras() -> Iterator[Any]:
    before = os.environ.get("KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = "torch"
    yield pytest.importorskip("keras", reason="needs keras: scripts/heavy-env")
    if before is None:
        del os.environ["KERAS_BACKEND"]


def network(keras: Any, *, activation: str | None = "softmax", outputs: int = 3) -> Any:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    scale = layers.Normalization()
    scale.adapt(ROWS.to_numpy())
    inner = [layers.Dense(16, activation="relu"), layers.Dropout(0.3), layers.BatchNormalization()]
    return keras.Sequential([keras.Input((3,)), scale, *inner, layers.Dense(outputs, activation=activation)])


def packed(path: Path, rows: pd.DataFrame = ROWS, **options: Any) -> Any:
    rows.to_csv(path.with_name("rows.csv"), index=False)
    given = {"data": path.with_name("rows.csv"), "target": None, "to": path.with_name("bundle"), "trust": True}
    return pack_file(path, **{**given, **options})


def test_a_model_answers_as_its_graph(keras: Any, tmp_path: Path) -> None:
    model = network(keras)
    model.save(tmp_path / "net.keras")
    (tmp_path / "labels.txt").write_text("low\nmiddle\nhigh\n")
    manifest = packed(tmp_path / "net.keras", labels=tmp_path / "labels.txt")
    assert (manifest.flavor, manifest.origin.estimator) == ("onnx", "keras.Sequential")
    assert manifest.conversion.proven_rows > len(ROWS)
    assert manifest.conversion.boundary_pairs > 0
    assert not manifest.signature.output.softmax
    assert set(manifest.requirements.packages) == {"numpy", "onnxruntime"}
    wanted = model.predict(ROWS.to_numpy(), verbose=0)
    found = wherry.load(tmp_path / "bundle")
    assert found.predict(ROWS) == np.array(["low", "middle", "high"])[wanted.argmax(axis=1)].tolist()
    shares = found.score([tuple(row) for row in ROWS.to_numpy().tolist()]).probabilities
    np.testing.assert_allclose(shares, wanted, atol=1e-5)


def test_several_inputs_and_outputs(keras: Any, tmp_path: Path) -> None:
    size, age = keras.Input((2,), name="size"), keras.Input((1,), name="age")
    both = keras.layers.Concatenate()([size, age])
    model = keras.Model([size, age], [keras.layers.Dense(1)(size), keras.layers.Dense(2)(both)])
    model.save(tmp_path / "net.keras")
    rows = ROWS.set_axis(["size_0", "size_1", "age"], axis=1)
    manifest = packed(tmp_path / "net.keras", rows)
    assert manifest.signature.names == ("size_0", "size_1", "age")
    wanted = np.concatenate(model.predict([rows.to_numpy()[:, :2], rows.to_numpy()[:, 2:]], verbose=0), axis=1)
    np.testing.assert_allclose(wherry.load(tmp_path / "bundle").predict(rows), wanted, rtol=1e-4, atol=1e-6)


def test_what_cannot_be_kept_is_told(keras: Any, tmp_path: Path) -> None:
    """A function in the file is not unpickled, though somebody vouched for it; nor is a class of a script found."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda rows: rows * 2)])
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(ModelUnknown, match="cannot be read by Keras") as caught:
        packed(tmp_path / "lambda.keras")
    assert "Python file" in caught.value.hint

    class Mine(keras.layers.Layer):
        def call(self, rows: Any) -> Any:
            return rows

    keras.Sequential([keras.Input((3,)), Mine()]).save(tmp_path / "mine.keras")
    with pytest.raises(ModelUnknown, match="Mine"):
        packed(tmp_path / "mine.keras")
    model = network(keras)
    model.save(tmp_path / "old.h5")
    with pytest.raises(ModelUnknown, match="HDF5") as caught:
        packed(tmp_path / "old.h5")
    assert "model.save('model.keras')" in caught.value.hint


def test_packed_and_served_without_keras(
    keras: Any, wherry: Callable[..., Any], service: Callable[..., Any], tmp_path: Path
) -> None:
    model = network(keras, activation=None, outputs=1)
    model.save(tmp_path / "net.keras")
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    told = wherry("pack", "net.keras", "--data", "rows.csv", "--trust")
    assert told.returncode == 0, told.stderr
    assert "stored as  onnx, equal on" in told.stdout
    running = service(tmp_path / "bundle", "--no-store", fresh=True)
    rows = json.loads(ROWS[:5].to_json(orient="records", double_precision=15))
    wanted = model.predict(ROWS.to_numpy()[:5], verbose=0).ravel().tolist()
    assert running.ask("/predict", rows).json["predictions"] == pytest.approx(wanted, rel=1e-4, abs=1e-6)
    maps = Path(f"/proc/{running.process.pid}/maps").read_text()
    assert "onnxruntime" in maps and "torch" not in maps and "h5py" not in maps
    assert "keras" in sys.modules  # here it is
