"""Folders as MLflow 3.17 writes them: the file inside is packed, with the example that it was saved with."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pytest
import xgboost
import yaml
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

import wherry
from wherry.errors import ModelUnknown, NotVouched
from wherry.model.pack import pack_file

try:
    import lightgbm
except OSError:
    pytest.skip("needs libgomp: apt-get install libgomp1", allow_module_level=True)

X, Y = load_iris(return_X_y=True, as_frame=True)
X = X.set_axis(["a", "b", "c", "d"], axis=1)
SIGNATURE = json.dumps([{"type": "double", "name": name, "required": True} for name in X.columns])


def folder_of(tmp_path: Path, flavors: dict[str, Any], *, example: Any = None, **more: Any) -> Path:
    """MLmodel, and beside it the input example; its values, as MLflow has them."""
    described: dict[str, Any] = {"flavors": flavors, "mlflow_version": "3.17.2", "model_uuid": "0" * 32}
    folder = tmp_path / "iris"
    folder.mkdir(exist_ok=True)
    if example is not None:
        text = json.dumps({"columns": list(example.columns), "data": example.to_numpy().tolist()})
        (folder / "input_example.json").write_text(text)
        described["saved_input_example_info"] = {
            "artifact_path": "input_example.json",
            "pandas_orient": "split",
            "type": "dataframe",
        }
        described["signature"] = {"inputs": SIGNATURE, "outputs": None, "params": None}
    (folder / "MLmodel").write_text(yaml.safe_dump({**described, **more}))
    return folder


def sklearn_folder(tmp_path: Path, **more: Any) -> Path:
    folder = folder_of(
        tmp_path,
        {
            "python_function": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "predict_fn": "predict"},
            "sklearn": {"code": None, "pickled_model": "model.pkl", "serialization_format": "cloudpickle"},
        },
        **more,
    )
    joblib.dump(LogisticRegression(max_iter=500).fit(X, Y), folder / "model.pkl")
    return folder


def packed(folder: Path, **options: Any) -> Any:
    given = {"data": None, "target": None, "to": folder.parent / "bundle"}
    return pack_file(folder, **{**given, **options})


def test_a_scikit_learn_model_is_packed_with_its_example(tmp_path: Path) -> None:
    manifest = packed(sklearn_folder(tmp_path, example=X[:30].round(0)))
    assert (manifest.name, manifest.conversion.form) == ("iris", "linear")
    assert manifest.golden.rows == 30
    assert {column.type for column in manifest.signature.columns} == {"number"}  # as the signature states
    assert manifest.origin.file == "model.pkl"
    wanted = LogisticRegression(max_iter=500).fit(X, Y).predict(X).tolist()
    assert wherry.load(tmp_path / "bundle").predict(X) == wanted


def test_a_sample_wins_over_the_example(tmp_path: Path) -> None:
    X.assign(species=Y).to_csv(tmp_path / "rows.csv", index=False)
    manifest = packed(sklearn_folder(tmp_path, example=X[:3]), data=tmp_path / "rows.csv", target="species")
    assert manifest.golden.rows >= 32
    assert manifest.metrics[0].rows == 150


def test_without_an_example_the_model_says_what_it_knows(tmp_path: Path) -> None:
    manifest = packed(sklearn_folder(tmp_path))
    assert manifest.golden.rows == 0
    assert manifest.signature.names == tuple(X.columns)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_a_booster_is_packed(library: str, tmp_path: Path) -> None:
    name = {"xgboost": "model.ubj", "lightgbm": "model.lgb"}[library]
    flavors = {library: {"code": None, "data": name}, "python_function": {"data": name}}
    folder = folder_of(tmp_path, flavors, example=X[:20])
    fitted: Any
    if library == "xgboost":
        fitted = xgboost.XGBClassifier(n_estimators=4).fit(X, Y)
        fitted.save_model(folder / name)
    else:
        fitted = lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(X, Y)
        fitted.booster_.save_model(folder / name)
    assert packed(folder).flavor == library
    assert wherry.load(tmp_path / "bundle").predict(X) == fitted.predict(X).tolist()


def test_a_pickle_in_it_goes_through_the_same_gate(tmp_path: Path) -> None:
    class Guilty:
        def __reduce__(self) -> Any:
            return open, (str(tmp_path / "ran"), "w")

    folder = sklearn_folder(tmp_path)
    joblib.dump(Guilty(), folder / "model.pkl")
    with pytest.raises(NotVouched):
        packed(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("flavors: [", "is no YAML"),
        ("just a text", "no mapping"),
        ("mlflow_version: 3.0", "names no flavors"),
        ("flavors: {python_function: {loader_module: mlflow.pyfunc.model}}", "flavor python_function is not packed"),
        ("flavors: {sklearn: {pickled_model: ../secret.pkl}}", "no file in it"),
        ("flavors: {sklearn: {pickled_model: /etc/passwd}}", "no file in it"),
        ("flavors: {sklearn: {pickled_model: link.pkl}}", "which is not in it"),
        ("flavors: {sklearn: {pickled_model: gone.pkl}}", "which is not in it"),
        ("flavors: {sklearn: {}}", "no file in it"),
        ("!!python/object/apply:os.system ['true']", "is no YAML"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str, tmp_path: Path) -> None:
    folder = sklearn_folder(tmp_path)
    (tmp_path / "secret.pkl").write_bytes((folder / "model.pkl").read_bytes())
    (folder / "link.pkl").symlink_to(tmp_path / "secret.pkl")
    (folder / "MLmodel").write_text(text)
    with pytest.raises(ModelUnknown, match=words):
        packed(folder)


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")  # MLflow's own
def test_what_mlflow_itself_saves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow-skinny")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    signature = mlflow.models.infer_signature(X, Y)
    fitted = {
        "sklearn": LogisticRegression(max_iter=500).fit(X, Y),
        "xgboost": xgboost.XGBClassifier(n_estimators=4).fit(X, Y),
        "lightgbm": lightgbm.LGBMClassifier(n_estimators=4, verbose=-1).fit(X, Y),
    }
    for flavor, model in fitted.items():
        folder = tmp_path / flavor
        importlib.import_module(f"mlflow.{flavor}").save_model(model, folder, signature=signature, input_example=X[:20])
        manifest = packed(folder, trust=flavor == "lightgbm")  # in skops, with types that are on no list
        assert manifest.golden.rows == 20
        assert wherry.load(tmp_path / "bundle").predict(X) == model.predict(X).tolist()
        theirs = mlflow.pyfunc.load_model(str(folder)).predict(X)
        assert pd.Series(theirs).tolist() == model.predict(X).tolist()


@pytest.mark.heavy
@pytest.mark.filterwarnings("ignore")  # MLflow's own, PyTorch's and Keras'
def test_what_mlflow_saves_of_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each folder holds a file that is packed as if it had been named: gates, proofs and graphs are the same."""
    torch = pytest.importorskip("torch", reason="needs torch: scripts/heavy-env")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras, mlflow = (
        pytest.importorskip("keras", reason="needs keras"),
        pytest.importorskip("mlflow", reason="needs mlflow"),
    )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    rows = X.to_numpy().astype("float32")[:20]
    pd.DataFrame(rows, columns=["x0", "x1", "x2", "x3"]).to_csv(tmp_path / "rows.csv", index=False)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3)).eval()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    shape = {"input": {0: torch.export.Dim.DYNAMIC}}
    graph = torch.onnx.export(net, (torch.zeros(2, 4),), dynamo=True, verbose=False, dynamic_shapes=shape)
    tensors = mlflow.models.infer_signature(rows, net(torch.from_numpy(rows)).detach().numpy())
    for flavor, saved in {"pytorch": net, "keras": model, "onnx": graph.model_proto}.items():
        folder = tmp_path / flavor
        module = importlib.import_module(f"mlflow.{flavor}")
        example = {} if flavor == "keras" else {"input_example": rows}  # which its own save_model stumbles over
        module.save_model(saved, str(folder), signature=tensors, **example)
        if flavor != "onnx":
            with pytest.raises(NotVouched):
                packed(folder)
        given = {} if example else {"data": tmp_path / "rows.csv"}
        manifest = packed(folder, trust=flavor != "onnx", **given)
        assert (manifest.flavor, manifest.golden.rows) == ("onnx", 20)
        wanted = model.predict(rows, verbose=0) if flavor == "keras" else net(torch.from_numpy(rows)).detach().numpy()
        found = wherry.load(tmp_path / "bundle").predict(rows.tolist())
        assert found == [pytest.approx(row, rel=1e-4, abs=1e-5) for row in wanted.tolist()]
