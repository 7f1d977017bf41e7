"""inspect says what a bundle or a model file is, and compare what changed; neither runs anything."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
import skops.io
from malicious import Evil
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import wherry
from wherry.errors import BundleDamaged, FileMissing, ModelUnsafe, UsageRefused
from wherry.model import inspect

RNG = np.random.default_rng(2)
FRAME = pd.DataFrame({"a": RNG.normal(size=60), "b": RNG.integers(0, 5, 60)})
LABELS = np.where(FRAME["a"] > 0, "up", "down")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    model = LogisticRegression().fit(FRAME, LABELS)
    wherry.pack(model, FRAME, LABELS, to=folder / "one", name="m")
    changed = FRAME.assign(c=FRAME["a"] * 2)
    other = make_pipeline(StandardScaler(), LogisticRegression()).fit(changed, LABELS == "up")
    wherry.pack(other, changed, LABELS == "up", to=folder / "two", name="m", version="2")
    return folder / "one", folder / "two"


def test_a_bundle(bundles: tuple[Path, Path]) -> None:
    found = inspect.inspect(bundles[0])
    assert (found.kind, found.name, found.version) == ("bundle", "m", "1")
    assert found.signature is not None
    assert found.signature.names == ("a", "b")
    assert found.golden_rows >= 32
    assert found.size == sum(path.stat().st_size for path in bundles[0].iterdir())
    assert inspect.inspect(bundles[0] / "manifest.json") == found
    assert msgspec.json.decode(msgspec.json.encode(found), type=dict)["metrics"][0]["name"] == "accuracy"


def test_a_damaged_bundle_is_not_described(bundles: tuple[Path, Path], tmp_path: Path) -> None:
    for path in bundles[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "example.json").write_text("{}")
    with pytest.raises(BundleDamaged, match=r"example\.json"):
        inspect.inspect(tmp_path)


@pytest.mark.parametrize("writer", ["joblib", "gzip", "pickle", "skops"])
def test_a_model_file(writer: str, tmp_path: Path) -> None:
    path = tmp_path / "any.name"
    model = make_pipeline(StandardScaler(), LogisticRegression(C=3.0)).fit(FRAME, LABELS)
    if writer == "skops":
        skops.io.dump(model, path)
    elif writer == "pickle":
        path.write_bytes(pickle.dumps(model))
    else:
        joblib.dump(model, path, compress=("gzip", 3) if writer == "gzip" else 0)
    found = inspect.inspect(path)
    assert found.kind == ("joblib" if writer == "gzip" else writer)
    assert found.compression == ("gzip" if writer == "gzip" else "")
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.verdict == "only known types"
    assert found.loads_unasked
    assert found.estimator == "sklearn.pipeline.Pipeline"
    assert found.features == ("a", "b")
    assert found.fitted
    assert found.versions == {"scikit-learn": __import__("sklearn").__version__}
    assert found.parts is not None
    assert [(part.name, part.settings.get("C")) for part in found.parts.parts] == [
        ("standardscaler", None),
        ("logisticregression", 3.0),
    ]
    msgspec.json.encode(found)


def test_a_file_that_can_run_code(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(Evil(tmp_path / "canary")))
    found = inspect.inspect(path)
    assert found.verdict == "can run code: posix.system"
    assert not found.loads_unasked
    assert not (tmp_path / "canary").exists()


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "model.joblib"
    path.write_text("a,b\n1,2\n")
    found = inspect.inspect(path)
    assert (found.kind, found.verdict) == ("a text file", "never loaded")
    with pytest.raises(FileMissing):
        inspect.inspect(tmp_path / "gone")


def test_inspecting_needs_no_scikit_learn(tmp_path: Path) -> None:
    path = tmp_path / "model"
    joblib.dump(LogisticRegression().fit(FRAME, LABELS), path)
    code = (
        "import sys\n"
        "for name in ('sklearn', 'joblib', 'skops', 'pandas', 'scipy'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from wherry.model.inspect import inspect\n"
        "assert inspect(Path(sys.argv[1])).features == ('a', 'b')\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_changed(bundles: tuple[Path, Path]) -> None:
    found = inspect.compare(*bundles)
    whats = {change.what: (change.before, change.after) for change in found.signature}
    assert whats["column c"] == (None, "number")
    assert whats["output: type"] == ("string", "boolean")
    assert whats["output: classes"] == (("down", "up"), (False, True))
    assert not found.alike
    assert found.digests[0] != found.digests[1]


def test_nothing_changed(bundles: tuple[Path, Path]) -> None:
    found = inspect.compare(bundles[0], bundles[0])
    assert found.alike
    assert found.golden_common >= 32


def test_golden_answers_that_changed(bundles: tuple[Path, Path], tmp_path: Path) -> None:
    inverted = LogisticRegression().fit(FRAME, np.where(LABELS == "up", "down", "up"))
    wherry.pack(inverted, FRAME, LABELS, to=tmp_path / "b")
    found = inspect.compare(bundles[0], tmp_path / "b")
    assert found.signature == ()
    assert found.golden_common > 20
    assert len(found.golden_changed) == found.golden_common
    assert {(change.before, change.after) for change in found.golden_changed} == {("up", "down"), ("down", "up")}
    assert "accuracy" in {change.what for change in found.metrics}


def test_two_model_files(tmp_path: Path) -> None:
    """What each says of itself is compared; of their answers, nothing is known."""
    for name, model in (("a", LogisticRegression(C=1.0)), ("b", LogisticRegression(C=3.0))):
        joblib.dump(model.fit(FRAME[["a"]] if name == "a" else FRAME, LABELS), tmp_path / name)
    found = inspect.compare(tmp_path / "a", tmp_path / "b")
    assert [(each.what, each.before, each.after) for each in found.model] == [("LogisticRegression.C", 1.0, 3.0)]
    assert ("takes", ("a",), ("a", "b")) in [(each.what, each.before, each.after) for each in found.signature]
    assert not found.alike
    assert inspect.compare(tmp_path / "a", tmp_path / "a").alike


def test_a_bundle_and_a_file_are_not_compared(bundles: tuple[Path, Path], tmp_path: Path) -> None:
    joblib.dump(LogisticRegression().fit(FRAME, LABELS), tmp_path / "model")
    with pytest.raises(UsageRefused, match="a bundle and a file") as caught:
        inspect.compare(bundles[0], tmp_path / "model")
    assert f"wherry pack {tmp_path / 'model'}" in caught.value.hint
    assert inspect.compare(bundles[0], bundles[1] / "manifest.json").b == str(bundles[1])


@pytest.mark.parametrize("keep", [25, 0.5, -1])
@pytest.mark.parametrize("producer", ["", "somebody"])
def test_a_graph_that_is_cut_off_is_an_error(keep: float, producer: str, tmp_path: Path) -> None:
    """Wherever the file ends, and whether its maker's name stands before the graph or not."""
    whole = graph(producer)
    path = tmp_path / "m.onnx"
    path.write_bytes(whole)
    assert inspect.inspect(path).outputs == ("y: float [?, 2]",)
    path.write_bytes(whole[: int(len(whole) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(ModelUnsafe, match=r"m\.onnx: is an ONNX model that is damaged, or ends too early"):
        inspect.inspect(path)


def graph(producer: str) -> bytes:
    value = onnx.helper.make_tensor_value_info
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [value("x", onnx.TensorProto.FLOAT, ["n", 2])],
        [value("y", onnx.TensorProto.FLOAT, ["n", 2])],
    )
    made: bytes = onnx.helper.make_model(inner, producer_name=producer).SerializeToString()
    return made


def test_what_lives_in_the_training_script_is_named_and_trust_is_not_offered(scripted: Path) -> None:
    found = inspect.inspect(scripted)
    assert found.verdict == "can run code: __main__.lg"
    assert found.hindrance == "needs `lg`, which lives in the script or notebook that trained it"
