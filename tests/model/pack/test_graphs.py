"""ONNX graphs of tables, as skl2onnx and others write them: what they take and answer is found out, or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
import skl2onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import wherry
from wherry.contract.manifest import Manifest
from wherry.errors import DataUnreadable, ModelUnknown, ModelUnreadable, ModelUnsafe, SampleUnfit, UsageRefused
from wherry.model.pack import pack_file

X, Y = load_iris(return_X_y=True, as_frame=True)
X = X.set_axis(["a", "b", "c", "d"], axis=1)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
FLOAT, DOUBLE, HALF, INT, TEXT = (
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.INT64, TensorProto.STRING,
)  # fmt: skip  # one line reads better


def made(
    folder: Path,
    nodes: Sequence[Any],
    outputs: dict[str, tuple[int, Sequence[Any]]],
    inputs: dict[str, tuple[int, Sequence[Any]]] | None = None,
    constants: dict[str, Any] | None = None,
    **about: Any,
) -> Path:
    """A graph in a file; without inputs it takes x, n x 2 of float32."""
    value = helper.make_tensor_value_info
    given = inputs or {"x": (FLOAT, ["n", 2])}
    graph = helper.make_graph(
        nodes,
        "g",
        [value(name, kind, shape) for name, (kind, shape) in given.items()],
        [value(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(np.asarray(each), name) for name, each in (constants or {}).items()],
    )
    options = {"opset_imports": [helper.make_opsetid("", 21)], "ir_version": 10, **about}
    path = folder / "graph.onnx"
    path.write_bytes(helper.make_model(graph, **options).SerializeToString())
    return path


def packed(path: Path, rows: pd.DataFrame | None = None, target: str | None = None, **options: Any) -> Manifest:
    data = None
    if rows is not None:
        data = path.with_name("rows.csv")
        rows.to_csv(data, index=False)
    return pack_file(path, data=data, target=target, to=path.with_name("bundle"), **options)


def converted(path: Path, fitted: Any, types: list[tuple[str, Any]], **options: Any) -> Path:
    graph = skl2onnx.to_onnx(fitted, initial_types=types, options=options or None, target_opset=21)
    path.write_bytes(graph.SerializeToString())
    return path


@pytest.mark.parametrize("answers", [NAMES, Y.to_numpy()], ids=["texts", "numbers"])
@pytest.mark.parametrize(
    ("numbers", "zipmap"),
    [(FloatTensorType, True), (FloatTensorType, False), (DoubleTensorType, False)],
    ids=["zipmap", "float", "double"],
)
def test_a_classifier_as_skl2onnx_makes_it(zipmap: bool, answers: Any, numbers: Any, tmp_path: Path) -> None:
    fitted = LogisticRegression(max_iter=500).fit(X.to_numpy(), answers)
    path = converted(tmp_path / "m.onnx", fitted, [("input", numbers([None, 4]))], zipmap=zipmap)
    manifest = packed(path, X.assign(species=answers), "species")
    assert (manifest.flavor, manifest.conversion.form) == ("onnx", "onnx")
    assert set(manifest.requirements.packages) == {"numpy", "onnxruntime"}
    assert manifest.signature.names == ("a", "b", "c", "d")
    assert manifest.signature.output.classes == tuple(np.unique(answers).tolist())
    assert manifest.metrics[0].value > 0.9
    model = wherry.load(tmp_path / "bundle")
    assert model.predict(X) == fitted.predict(X.to_numpy()).tolist()
    outputs = model.score([tuple(row) for row in X.to_numpy().tolist()])
    np.testing.assert_allclose(outputs.probabilities, fitted.predict_proba(X.to_numpy()), atol=1e-5)
    assert model.score([(1.0, 2.0, 3.0, 4.0)], False).probabilities is None


def test_an_input_a_column_with_texts_and_whole_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"city": ["Bern", "Basel", "Chur"] * 20, "rooms": range(60), "area": np.arange(60) / 3})
    price = frame["rooms"] * 7 + frame["city"].map({"Bern": 1.0, "Basel": 2.0, "Chur": 5.0})
    encoded = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder=StandardScaler())
    fitted = make_pipeline(encoded, LinearRegression()).fit(frame, price)
    types = [("city", StringTensorType([None, 1])), ("rooms", Int64TensorType([None, 1]))]
    path = converted(tmp_path / "m.onnx", fitted, [*types, ("area", FloatTensorType([None, 1]))])
    manifest = packed(path, frame.assign(price=price), "price")
    assert [column.type for column in manifest.signature.columns] == ["string", "integer", "number"]
    assert manifest.signature.columns[0].categories == ("Basel", "Bern", "Chur")
    np.testing.assert_allclose(wherry.load(tmp_path / "bundle").predict(frame), fitted.predict(frame), rtol=1e-4)
    with pytest.raises(SampleUnfit, match=r"rooms is 2\.5, not a whole number"):
        packed(path, frame.assign(rooms=2.5))
    with pytest.raises(SampleUnfit, match="does not take the rows of the sample: Unknown Category"):
        packed(path)


def test_a_text_that_a_graph_has_never_seen_is_refused_where_it_raises(tmp_path: Path) -> None:
    frame = pd.DataFrame({"city": ["Bern", "Basel"] * 20, "area": np.arange(40) / 3})
    for unknown in ("error", "ignore"):
        encoded = ColumnTransformer(
            [("city", OneHotEncoder(handle_unknown=unknown), ["city"])], remainder="passthrough"
        )
        fitted = make_pipeline(encoded, LinearRegression()).fit(frame, frame["area"])
        types = [("city", StringTensorType([None, 1])), ("area", FloatTensorType([None, 1]))]
        city = packed(converted(tmp_path / "m.onnx", fitted, types), frame).signature.columns[0]
        assert (city.type, city.unknown_ok) == ("string", unknown == "ignore")
    packed(tmp_path / "m.onnx")  # without rows the example is made up, of what the graph takes
    example = json.loads((tmp_path / "bundle" / "example.json").read_text())
    assert isinstance(example["city"], str)
    assert len(wherry.load(tmp_path / "bundle").predict(example)) == 1


def test_a_regressor_takes_fractions_where_the_sample_has_none(tmp_path: Path) -> None:
    whole = X.round(0).astype(int)
    fitted = RandomForestRegressor(5, random_state=0).fit(whole.to_numpy(), X["a"])
    path = converted(tmp_path / "m.onnx", fitted, [("input", FloatTensorType([None, 4]))])
    manifest = packed(path, whole)
    assert {column.type for column in manifest.signature.columns} == {"number"}
    found = wherry.load(tmp_path / "bundle").predict(X)
    np.testing.assert_allclose(found, fitted.predict(X.to_numpy()), rtol=1e-5)


def test_classes_that_the_sample_does_not_show_are_those_of_the_target_or_declared(tmp_path: Path) -> None:
    """Probabilities are numbers without names; what keeps them apart must be known for every class."""
    path = made(
        tmp_path,
        [
            helper.make_node("Softmax", ["x"], ["shares"]),
            helper.make_node("ArgMax", ["shares"], ["place"], axis=1, keepdims=0),
            helper.make_node("Gather", ["names", "place"], ["label"]),
        ],
        {"label": (TEXT, ["n"]), "shares": (FLOAT, ["n", 3])},
        {"x": (FLOAT, ["n", 3])},
        {"names": np.array(["no", "yes", "maybe"], dtype=object)},
    )
    rows = pd.DataFrame({"a": [3.0, 0.0], "b": [0.0, 4.0], "c": [1.0, 1.0]})
    with pytest.raises(ModelUnknown, match="which of its probabilities is whose"):
        packed(path, rows)
    third = pd.DataFrame({"a": [0.0], "b": [0.0], "c": [2.0]})
    assert packed(path, pd.concat([rows, third])).signature.output.classes == ("no", "yes", "maybe")
    (tmp_path / "labels.txt").write_text("no\nyes\nmaybe\n")
    labelled = packed(path, rows, labels=tmp_path / "labels.txt")
    assert labelled.signature.output.classes == ("no", "yes", "maybe")
    (tmp_path / "labels.txt").write_text("yes\nno\nmaybe\n")
    with pytest.raises(ModelUnknown, match="which of its probabilities is whose"):
        packed(path, rows, labels=tmp_path / "labels.txt")


def test_a_classifier_states_its_classes_without_a_sample(tmp_path: Path) -> None:
    fitted = LogisticRegression(max_iter=500).fit(X.to_numpy(), NAMES)
    path = converted(tmp_path / "m.onnx", fitted, [("input", FloatTensorType([None, 4]))], zipmap=False)
    manifest = packed(path)
    assert manifest.signature.output.classes == ("setosa", "versicolor", "virginica")
    assert manifest.signature.names == ("x0", "x1", "x2", "x3")
    assert manifest.golden.rows == 0


@pytest.mark.parametrize("steep", [1.0, 30.0])
def test_numbers_get_the_names_of_their_classes(steep: float, tmp_path: Path) -> None:
    """Numbers of any size are made probabilities; those that are probabilities stay as they are."""
    constants = {"w": np.array([[steep, 0.0], [0.0, steep]], dtype=np.float32)}
    path = made(tmp_path, [helper.make_node("MatMul", ["x", "w"], ["y"])], {"y": (FLOAT, ["n", 2])}, None, constants)
    rows = pd.DataFrame({"a": [0.25, 1.0], "b": [0.75, 0.0]})
    assert packed(path, rows).signature.output.width == 2
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    told: list[Any] = []
    output = packed(path, rows, labels=tmp_path / "labels.txt", tell=told.append).signature.output
    how = "logits, of which softmax" if steep > 1 else "probabilities; on the sample they lie from 0 to 1"
    assert any(f"the graph's 2 numbers are read as {how}" in str(each) for each in told)
    assert (output.classes, output.softmax) == (("no", "yes"), steep > 1)
    found = wherry.load(tmp_path / "bundle").score([(0.25, 0.75), (1.0, 0.0)])
    assert found.predictions == ["yes", "no"]
    assert sum(found.probabilities[0]) == pytest.approx(1)
    if steep == 1:
        assert found.probabilities[0] == pytest.approx([0.25, 0.75])
    (tmp_path / "labels.txt").write_text("no\nyes\nmaybe\n")
    with pytest.raises(DataUnreadable, match="has 3 labels, and the graph answers with 2"):
        packed(path, rows, labels=tmp_path / "labels.txt")
    (tmp_path / "labels.txt").write_text("no\nyes\nno\n")
    with pytest.raises(DataUnreadable, match=r"labels\.txt: lines 1 and 3 are both 'no'"):
        packed(path, rows, labels=tmp_path / "labels.txt")


@pytest.mark.parametrize(
    ("end", "how"),
    [("Sigmoid", "probabilities of yes, above 0.5"), ("Identity", "logits: above 0 is yes, and sigmoid")],
)
def test_one_number_is_that_of_the_second_class_and_it_is_told_as_what_it_is_read(
    end: str, how: str, tmp_path: Path
) -> None:
    path = made(
        tmp_path,
        [helper.make_node("ReduceSum", ["x", "one"], ["s"]), helper.make_node(end, ["s"], ["y"])],
        {"y": (FLOAT, ["n", 1])},
        None,
        {"one": np.array([1])},
    )
    (tmp_path / "labels.txt").write_text("no\nyes\n")
    told: list[Any] = []
    rows = pd.DataFrame({"a": [-2.0, 1.0], "b": [0.0, 1.0]})
    packed(path, rows, labels=tmp_path / "labels.txt", tell=told.append)
    assert any(f"the graph's numbers, one a row, are read as {how}" in str(each) for each in told)
    found = wherry.load(tmp_path / "bundle").score([(-2.0, 0.0), (1.0, 1.0)])
    assert found.predictions == ["no", "yes"]
    assert found.probabilities[1] == pytest.approx([1 - 0.880797, 0.880797], abs=1e-5)


def test_several_outputs_stand_side_by_side_with_their_names(tmp_path: Path) -> None:
    path = made(
        tmp_path,
        [helper.make_node("Identity", ["x"], ["both"]), helper.make_node("ReduceMax", ["x", "one"], ["most"])],
        {"both": (FLOAT, ["n", 2]), "most": (FLOAT, ["n", 1])},
        None,
        {"one": np.array([1])},
    )
    output = packed(path, pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 1.5]})).signature.output
    assert (output.width, output.names) == (3, ("both_0", "both_1", "most"))
    assert wherry.load(tmp_path / "bundle").predict([[1.0, 3.0], [2.0, 1.5]]) == [[1.0, 3.0, 3.0], [2.0, 1.5, 2.0]]


def test_inputs_that_share_the_columns_out(tmp_path: Path) -> None:
    path = made(
        tmp_path,
        [helper.make_node("ReduceSum", ["x", "one"], ["s"]), helper.make_node("Add", ["s", "y"], ["z"])],
        {"z": (FLOAT, ["n", 1])},
        {"x": (FLOAT, ["n", 2]), "y": (FLOAT, ["n", 1])},
        {"one": np.array([1])},
    )
    manifest = packed(path, pd.DataFrame({"x_0": [1.0], "x_1": [2.0], "y": [10.0]}))
    assert manifest.signature.names == ("x_0", "x_1", "y")
    assert wherry.load(tmp_path / "bundle").predict({"y": 10, "x_1": 5, "x_0": 1}) == [16.0]


@pytest.mark.parametrize("kind", [FLOAT, HALF])
def test_a_graph_for_one_row_at_a_time_is_asked_row_by_row(kind: int, tmp_path: Path) -> None:
    path = made(
        tmp_path,
        [helper.make_node("ReduceSum", ["x", "one"], ["y"], keepdims=0)],  # without the axis of the rows
        {"y": (kind, [1])},
        {"x": (kind, [1, 2])},
        {"one": np.array([1])},
    )
    packed(path, pd.DataFrame({"a": [0.5, 1.5], "b": [1.0, 2.0]}))
    assert wherry.load(tmp_path / "bundle").predict([[0.5, 1.0], [1.5, 2.0], [4.0, 4.0]]) == [1.5, 3.5, 8.0]


def test_a_batch_that_is_fixed_inside_is_told(tmp_path: Path) -> None:
    path = made(
        tmp_path,
        [helper.make_node("Reshape", ["x", "shape"], ["y"])],
        {"y": (FLOAT, ["n", 2])},
        None,
        {"shape": np.array([1, 2])},
    )
    with pytest.raises(ModelUnknown, match="answers one row, and not 3 at once") as caught:
        packed(path, pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [0.0, 1.0, 2.0]}))
    assert "open first axis" in caught.value.hint


def test_rows_that_depend_on_each_other_are_refused(tmp_path: Path) -> None:
    path = made(
        tmp_path,
        [helper.make_node("ReduceMean", ["x"], ["m"], keepdims=1), helper.make_node("Sub", ["x", "m"], ["y"])],
        {"y": (FLOAT, ["n", 2])},
    )
    with pytest.raises(ModelUnreadable, match="when it is asked alone"):
        packed(path, pd.DataFrame({"a": [0.0, 1.0], "b": [3.0, 5.0]}))


def test_rows_without_an_answer_are_counted_and_none_at_all_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path, [helper.make_node("Log", ["x"], ["y"])], {"y": (FLOAT, ["n", 1])}, {"x": (FLOAT, ["n", 1])})
    told: list[Any] = []
    rows = pd.DataFrame({"a": [1.0, -1.0, 2.0, None], "right": [0.0, 0.0, 0.7, 0.0]})
    manifest = packed(path, rows, "right", tell=told.append)
    assert any("2 of 4 rows are answered with no finite number, as row 1 is" in str(each) for each in told)
    assert manifest.golden.rows == 2
    assert manifest.signature.columns[0].nullable
    with pytest.raises(ModelUnreadable, match="no row of the sample with a finite number"):
        packed(path, pd.DataFrame({"a": [-1.0, -2.0]}))


IDENTITY = helper.make_node("Identity", ["x"], ["y"])
Y2 = {"y": (FLOAT, ["n", 2])}


@pytest.mark.parametrize(
    ("options", "kind", "words", "hint"),
    [
        ({"opset_imports": [helper.make_opsetid("", 99)]}, ModelUnknown, "a newer version of ONNX", "older opset"),
        ({"ir_version": 99}, ModelUnknown, "a newer version of ONNX", "older opset"),
        (
            {"nodes": [helper.make_node("Magic", ["x"], ["y"], domain="acme")],
             "opset_imports": [helper.make_opsetid("acme", 1)]},
            ModelUnknown, "operator that ONNX Runtime", "ONNX's own operators",
        ),
        ({"inputs": {"x": (FLOAT, [4, 2])}}, ModelUnknown, "takes 4 rows at once", "open first axis"),
        ({"inputs": {"x": (FLOAT, ["n", 3, 8, 8])}}, UsageRefused, "takes pictures", "--labels"),
        ({"inputs": {"x": (FLOAT, ["n", 3, 8])}}, ModelUnknown, "does not take rows of a table", r"\[n, columns\]"),
        (
            {"inputs": {"x": (TensorProto.UINT8, ["n", 2])}, "outputs": {"y": (TensorProto.UINT8, ["n", 2])}},
            ModelUnknown, "which no column has", "Cast",
        ),
        (
            {"nodes": [helper.make_node("Unsqueeze", ["x", "one"], ["y"])], "outputs": {"y": (FLOAT, ["n", 1, 2])},
             "constants": {"one": np.array([1])}},
            ModelUnknown, "in the shape", "flatten",
        ),
        (
            {"nodes": [helper.make_node("ReduceSum", ["x"], ["y"])], "outputs": {"y": (FLOAT, [1, 1])}},
            ModelUnknown, r"answers 2 rows with y in the shape \(1, 1\)", "one answer for each row",
        ),
    ],
)  # fmt: skip  # a table reads better than one value a line
def test_what_cannot_be_served_is_told(options: Any, kind: Any, words: str, hint: str, tmp_path: Path) -> None:
    path = made(tmp_path, **{"nodes": [IDENTITY], "outputs": Y2, **options})
    with pytest.raises(kind, match=words) as caught:
        packed(path, pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}))
    assert str(path) in str(caught.value)
    assert re.search(hint, caught.value.hint), caught.value.hint
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("place", ["/etc/hostname", "../secret", "secret"])
def test_weights_in_other_files_are_never_read(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T17 at this door: also what lies beside the file is refused, with the line that mends it."""
    (tmp_path / "secret").write_bytes(bytes(8))
    path = made(tmp_path, [helper.make_node("Add", ["x", "w"], ["y"])], Y2, None, {"w": np.zeros(2, np.float32)})
    graph = onnx.load(path)
    tensor = graph.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    path.write_bytes(graph.SerializeToString())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelUnsafe, match="weights in other files"):
        packed(path)


def test_a_file_that_is_cut_off(tmp_path: Path) -> None:
    path = made(tmp_path, [IDENTITY], Y2)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ModelUnsafe, match="ends too early"):
        packed(path)


def test_a_sample_of_another_width_is_told(tmp_path: Path) -> None:
    path = made(tmp_path, [IDENTITY], Y2)
    with pytest.raises(SampleUnfit, match="has 3 columns; the model was fitted on 2"):
        packed(path, pd.DataFrame({"a": [1.0], "b": [2.0], "c": [3.0]}))
    with pytest.raises(SampleUnfit, match="b is a text, not a number"):
        packed(path, pd.DataFrame({"a": [1.0], "b": ["x"]}))


def test_packed_inspected_and_served_by_the_command_line(
    wherry: Callable[..., Any], service: Callable[..., Any], tmp_path: Path
) -> None:
    fitted = KNeighborsClassifier(3).fit(X.to_numpy(), NAMES)
    path = converted(tmp_path / "iris.onnx", fitted, [("input", FloatTensorType([None, 4]))])
    told = wherry("inspect", path)
    assert "input: float [?, 4]" in told.stdout
    assert "there is no code in it" in told.stdout
    X.assign(species=NAMES).to_csv(tmp_path / "iris.csv", index=False)
    told = wherry("pack", path, "--data", "iris.csv", "--target", "species")
    assert told.returncode == 0, told.stderr
    assert "no --trust needed" in told.stderr
    running = service(tmp_path / "bundle", "--no-store", "--workers", "2")
    rows = json.loads(X[48:54].to_json(orient="records"))
    answered = running.ask("/predict?probabilities=true", rows).json
    assert answered["predictions"] == fitted.predict(X.to_numpy()[48:54]).tolist()
    np.testing.assert_allclose(answered["probabilities"], fitted.predict_proba(X.to_numpy()[48:54]), atol=1e-6)
    assert running.ask("/predict", {**rows[0], "a": "x"}).status == 422
    told = wherry("pack", made(tmp_path, [IDENTITY], {"y": (FLOAT, [1, 3, 8, 8])}, {"x": (FLOAT, [1, 3, 8, 8])}))
    assert told.returncode == 2
    assert "--labels FILE" in told.stderr
