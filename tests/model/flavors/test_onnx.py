"""Graphs are read from their bytes alone, answered on one thread, and may not reach for other files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest
from model_parts import make_bundle, rows_of, signature_of
from onnx import TensorProto, helper
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.errors import BundleUnreadable
from wherry.model import bundle
from wherry.model.flavors.onnx import OnnxScorer, options
from wherry.model.loaded import load
from wherry.model.proving import convert
from wherry.model.reading.graphs import has_external_data

LINE = Signature((Column("x0", "number"),), OutputSpec("number", "number"))


def external(place: str) -> bytes:
    """A graph that keeps one tensor at `place`: a path trick that has opened other people's files before."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    return graph([helper.make_node("Add", ["x", "w"], ["y"])], [tensor])


def graph(nodes: list[Any], tensors: list[Any], name: str = "x") -> bytes:
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        nodes, "g", [value(name, TensorProto.FLOAT, [None, 1])], [value("y", TensorProto.FLOAT, [None, 1])], tensors
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


@pytest.mark.parametrize(
    "place", ["/etc/hostname", "../secret", "a/../../secret", "secret", "./secret", "link/secret", "hard"]
)
def test_external_data_is_refused_by_every_path(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T17: no file outside the bundle is read, nor any other file that the graph names."""
    (tmp_path / "secret").write_bytes(b"\x00\x00\x80\x3f")
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "hard").hardlink_to(tmp_path / "secret")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleUnreadable, match="data in other files"):
        OnnxScorer(external(place), LINE)


def test_onnxruntime_by_itself_reads_the_file_that_a_graph_names(tmp_path: Path) -> None:
    """T17's control."""
    (tmp_path / "secret").write_bytes(b"\x00\x00\x80\x3f")
    (tmp_path / "graph").write_bytes(external("secret"))
    session = onnxruntime.InferenceSession(tmp_path / "graph", providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.zeros((1, 1), np.float32)})[0].tolist() == [[1.0]]


def test_external_data_is_found_wherever_a_tensor_may_lie() -> None:
    inner = onnx.load_from_string(external("secret"))
    tensor = inner.graph.initializer[0]
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner.graph, else_branch=inner.graph)
    sparse = onnx.SparseTensorProto()
    sparse.values.CopyFrom(tensor)
    hidden = helper.make_graph([], "g", [], [])
    hidden.sparse_initializer.append(sparse)
    function = helper.make_function("d", "f", [], ["w"], [constant], [helper.make_opsetid("", 21)])
    trained = helper.make_model(helper.make_graph([], "g", [], []))
    trained.training_info.add().algorithm.CopyFrom(inner.graph)
    for model in (
        helper.make_model(helper.make_graph([constant], "g", [], [])),
        helper.make_model(helper.make_graph([branch], "g", [], [])),
        helper.make_model(hidden),
        helper.make_model(helper.make_graph([], "g", [], []), functions=[function]),
        trained,
    ):
        assert has_external_data(model.SerializeToString())


def test_a_column_that_is_called_location_is_no_external_data() -> None:
    data = graph([helper.make_node("Identity", ["location"], ["y"])], [], name="location")
    assert b"location" in data and not has_external_data(data)
    location = Signature((Column("location", "number"),), OutputSpec("number", "number"))
    assert OnnxScorer(data, location).score([(2.0,)]).predictions == [2.0]


def test_bytes_that_are_no_graph_are_refused() -> None:
    good = external("x")
    chance = random.Random(0)
    for data in (
        b"",
        b"location",
        b"PK\x03\x04",
        good[:40],
        *(chance.randbytes(200) + b"location" for _ in range(200)),
    ):
        with pytest.raises(BundleUnreadable):
            OnnxScorer(data, LINE)


def test_one_thread_that_sleeps() -> None:
    chosen = options()
    assert (chosen.intra_op_num_threads, chosen.inter_op_num_threads) == (1, 1)
    assert chosen.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    scorer = OnnxScorer(graph([helper.make_node("Identity", ["x"], ["y"])], []), LINE)
    assert scorer.score([(1.5,), (2.5,)]).predictions == [1.5, 2.5]


@pytest.mark.parametrize("labels", [[False, True], ["no", "yes"], [3, 7], [0.0, 2.0]], ids=repr)
def test_labels_come_back_as_what_they_were(labels: list[Any], tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    target = np.array(labels)[(y == 1).astype(int)]
    estimator = RandomForestClassifier(11, random_state=0).fit(X, target)
    manifest = make_bundle(tmp_path / "bundle", estimator, X)
    assert manifest.conversion.form == "onnx", manifest.conversion.refused
    answers = load(tmp_path / "bundle").predict(X)
    assert answers == estimator.predict(X).tolist()
    assert {type(answer) for answer in answers} == {type(labels[0])}


def test_one_column_and_several_outputs() -> None:
    X, y = load_iris(return_X_y=True)
    one = RandomForestRegressor(5, random_state=0).fit(X[:, :1], y)
    stored = convert.store(one, signature_of(one, X[:, :1]), rows_of(X[:, :1]))
    assert stored.conversion.form == "onnx"
    np.testing.assert_allclose(stored.scorer.score(rows_of(X[:, :1])).predictions, one.predict(X[:, :1]), rtol=1e-5)
    both = RandomForestRegressor(5, random_state=0).fit(X, np.stack([y, y * 2], axis=1))
    signature = signature_of(both, X)
    wide = msgspec.structs.replace(signature, output=msgspec.structs.replace(signature.output, width=2))
    stored = convert.store(both, wide, rows_of(X))
    np.testing.assert_allclose(stored.scorer.score(rows_of(X)).predictions, both.predict(X), rtol=1e-5)


def test_any_onnxruntime_that_an_image_may_have_reads_the_graph(tmp_path: Path) -> None:
    X, y = load_iris(return_X_y=True)
    manifest = make_bundle(tmp_path / "bundle", RandomForestClassifier(5).fit(X, y), X)
    model = onnx.load_from_string(bundle.model_bytes(tmp_path / "bundle" / manifest.model, manifest))
    assert model.ir_version <= 10
    assert {each.domain: each.version for each in model.opset_import}.get("", 0) <= 21
    assert len(model.graph.output) == 2
