"""pack: a bundle that answers like the model it came from, or nothing at all."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest
import skops.io
from model_parts import breast_cancer, walkthrough_model
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import wherry
from wherry.contract.events import Event, Note, Step
from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import Manifest
from wherry.errors import (
    DiskFull,
    GoldenDiffers,
    ModelNotFitted,
    ModelUnknown,
    ModelUnsafe,
    NotStorable,
    SampleUnfit,
    UsageRefused,
    VersionDrift,
)
from wherry.model import bundle, golden
from wherry.model.pack import naming, pack_file
from wherry.model.pack.baseline import Baseline

RNG = np.random.default_rng(1)
FRAME = pd.DataFrame({"a": RNG.normal(size=80), "b": RNG.integers(0, 9, 80), "city": RNG.choice(["x", "y"], 80)})
NUMBERS = FRAME[["a", "b"]]
LABELS = np.where(FRAME["a"] > 0, "up", "down")


def simple() -> LogisticRegression:
    return LogisticRegression().fit(NUMBERS, LABELS)


@pytest.fixture(scope="module")
def walkthrough(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, Manifest]:
    """The breast-cancer walkthrough: gzip joblib and CSV, packed by the command line's function."""
    folder = tmp_path_factory.mktemp("walkthrough")
    X, y = breast_cancer()
    model = walkthrough_model().fit(X, y)
    joblib.dump(model, folder / "model_binary.dat.gz", compress=("gzip", 3))
    X.assign(diagnosis=y).to_csv(folder / "train.csv", index=False)
    manifest = pack_file(
        folder / "model_binary.dat.gz", data=folder / "train.csv", target="diagnosis", to=folder / "bundle", trust=True
    )
    return folder, model, manifest


def test_the_walkthrough_answers_as_its_model(walkthrough: tuple[Path, Any, Manifest]) -> None:
    folder, model, manifest = walkthrough
    X, _ = breast_cancer()
    packed = wherry.load(folder / "bundle")
    assert packed.predict(X) == model.predict(X).tolist()
    record = {
        "concavity_mean": 0.3001,
        "concave_points_mean": 0.1471,
        "perimeter_se": 8.589,
        "area_se": 153.4,
        "texture_worst": 17.33,
        "area_worst": 2019.0,
    }
    assert packed.predict(record) == [1]
    assert packed.predict(dict(reversed(record.items()))) == [1]
    assert manifest.name == "model_binary"
    assert manifest.signature.names == tuple(record)
    assert not manifest.signature.output.probabilities


def test_the_manifest_says_where_it_came_from(walkthrough: tuple[Path, Any, Manifest]) -> None:
    import hashlib

    folder, _, manifest = walkthrough
    assert manifest.origin.estimator == "sklearn.pipeline.Pipeline"
    assert manifest.origin.file == "model_binary.dat.gz"
    assert manifest.origin.sha256 == hashlib.sha256((folder / "model_binary.dat.gz").read_bytes()).hexdigest()
    assert bundle.verify(folder / "bundle") == manifest
    assert set(manifest.files) == {manifest.model, "golden.json", "baseline.json", "example.json"}
    assert manifest.measured.load_seconds > 0
    assert 20_000_000 < manifest.measured.peak_bytes < 4_000_000_000


def test_golden_rows_cover_classes_and_come_from_the_original(walkthrough: tuple[Path, Any, Manifest]) -> None:
    folder, model, manifest = walkthrough
    rows = bundle.golden(folder / "bundle", manifest)
    assert len(rows.rows) == manifest.golden.rows >= 32
    assert set(rows.predictions) == {0, 1}
    frame = pd.DataFrame(rows.rows, columns=list(rows.columns)).astype(float)
    assert list(rows.predictions) == model.predict(frame).tolist()


def test_metrics_stand_beside_a_baseline(walkthrough: tuple[Path, Any, Manifest]) -> None:
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

    _, model, manifest = walkthrough
    X, y = breast_cancer()
    found = {metric.name: metric for metric in manifest.metrics}
    answers = model.predict(X)
    assert found["accuracy"].value == pytest.approx(accuracy_score(y, answers), abs=1e-6)
    assert found["accuracy"].baseline == pytest.approx(max(y.mean(), 1 - y.mean()), abs=1e-6)
    assert found["balanced accuracy"].value == pytest.approx(balanced_accuracy_score(y, answers), abs=1e-6)
    assert found["balanced accuracy"].baseline == 0.5
    assert found["F1 (macro)"].value == pytest.approx(f1_score(y, answers, average="macro"), abs=1e-6)
    assert "log loss" not in found  # hard voting has no probabilities
    assert found["accuracy"].rows == len(y)
    assert found["accuracy"].on == "the sample given to pack"


def test_the_example_is_a_request(walkthrough: tuple[Path, Any, Manifest]) -> None:
    folder, _, manifest = walkthrough
    record = json.loads((folder / "bundle" / "example.json").read_bytes())
    assert tuple(record) == manifest.signature.names
    assert wherry.load(folder / "bundle").predict(record) in ([0], [1])


def test_the_baseline_counts_every_row(walkthrough: tuple[Path, Any, Manifest]) -> None:
    folder, model, manifest = walkthrough
    X, _ = breast_cancer()
    found = msgspec.json.decode((folder / "bundle" / manifest.baseline).read_bytes(), type=Baseline)
    assert found.rows == len(X)
    for name, spread in found.columns.items():
        assert sum(spread.counts) == len(X)
        assert (spread.edges[0], spread.edges[-1]) == (X[name].min(), X[name].max())
    assert dict(found.predictions.categories) == pd.Series(model.predict(X)).value_counts().to_dict()


@pytest.mark.parametrize("name", ["shuffled columns", "an extra column", "parquet", "json lines"])
def test_the_sample_may_come_otherwise(name: str, tmp_path: Path) -> None:
    joblib.dump(simple(), tmp_path / "m")
    sample = FRAME.assign(target=LABELS)[["city", "target", "b", "a"]]
    path = tmp_path / "sample"
    if name == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow")
        sample.to_parquet(path)
    elif name == "json lines":
        sample.to_json(path, orient="records", lines=True)
    else:
        sample.to_csv(path, index=False)
    manifest = pack_file(tmp_path / "m", data=path, target="target", to=tmp_path / "bundle")
    assert manifest.signature.names == ("a", "b")
    assert manifest.signature.unused == ("city",)
    accuracy = manifest.metrics[0]
    assert accuracy.value == pytest.approx((simple().predict(NUMBERS) == LABELS).mean(), abs=1e-6)


@pytest.mark.parametrize("writer", ["joblib", "pickle", "skops"])
def test_every_format_and_any_name(writer: str, tmp_path: Path) -> None:
    path = tmp_path / "DryBeanSVM"
    if writer == "joblib":
        joblib.dump(simple(), path)
    elif writer == "pickle":
        path.write_bytes(pickle.dumps(simple()))
    else:
        skops.io.dump(simple(), path)
    FRAME.to_csv(tmp_path / "s.csv", index=False)
    manifest = pack_file(path, data=tmp_path / "s.csv", target=None, to=tmp_path / "bundle")
    assert manifest.name == "DryBeanSVM"
    assert wherry.load(tmp_path / "bundle").predict(NUMBERS) == simple().predict(NUMBERS).tolist()


def test_mixed_columns_with_missing_values(tmp_path: Path) -> None:
    frame = FRAME.copy()
    frame.loc[[2, 9], "a"] = np.nan
    frame.loc[4, "city"] = np.nan
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["a", "b"]),
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["city"]),
    )
    model = make_pipeline(columns, LogisticRegression()).fit(frame, LABELS)
    manifest = wherry.pack(model, frame, LABELS, to=tmp_path / "bundle")
    packed = wherry.load(tmp_path / "bundle")
    assert packed.predict(frame) == model.predict(frame).tolist()
    rows = packed.golden.rows
    assert any(row[0] is None for row in rows)
    assert any(row[2] is None for row in rows)
    city = manifest.signature.columns[2]
    assert (city.categories, city.unknown_ok, city.nullable) == (("x", "y"), False, True)


def test_live_objects_of_every_shape(tmp_path: Path) -> None:
    model = LogisticRegression().fit(NUMBERS.to_numpy(), LABELS)
    for X in (NUMBERS.to_numpy(), NUMBERS.to_numpy().tolist()):
        manifest = wherry.pack(model, X, LABELS, to=tmp_path / "bundle")
        assert manifest.signature.names == ("x0", "x1")
        assert not manifest.signature.named
    target = pd.Series(LABELS, name="direction")
    manifest = wherry.pack(simple(), NUMBERS, target, to=str(tmp_path / "bundle"), version="2.1")
    assert (manifest.signature.target, manifest.version) == ("direction", "2.1")
    assert manifest.name == "logistic-regression"
    assert manifest.origin.file == ""


def test_regressors_have_metrics_of_numbers(tmp_path: Path) -> None:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    y = FRAME["a"] * 2 + FRAME["b"]
    model = GradientBoostingRegressor(n_estimators=5).fit(NUMBERS, y)
    manifest = wherry.pack(model, NUMBERS, y, to=tmp_path / "bundle")
    answers = model.predict(NUMBERS)
    found = {metric.name: metric for metric in manifest.metrics}
    assert found["R2"].value == pytest.approx(r2_score(y, answers), rel=1e-4)
    assert found["MAE"].value == pytest.approx(mean_absolute_error(y, answers), rel=1e-4)
    assert found["RMSE"].value == pytest.approx(root_mean_squared_error(y, answers), rel=1e-4)
    assert found["R2"].baseline == 0
    assert found["RMSE"].baseline == pytest.approx(y.std(ddof=0), rel=1e-4)
    assert not found["RMSE"].higher_is_better


def test_log_loss_needs_probabilities(tmp_path: Path) -> None:
    from sklearn.metrics import log_loss

    manifest = wherry.pack(simple(), NUMBERS, LABELS, to=tmp_path / "bundle")
    found = {metric.name: metric for metric in manifest.metrics}
    assert found["log loss"].value == pytest.approx(log_loss(LABELS, simple().predict_proba(NUMBERS)), rel=1e-3)
    assert found["log loss"].value < found["log loss"].baseline


def test_a_target_of_other_values_is_told_not_scored(tmp_path: Path) -> None:
    told: list[Event] = []
    manifest = wherry.pack(simple(), NUMBERS, FRAME["b"] + 100, to=tmp_path / "bundle", tell=told.append)
    assert manifest.metrics == ()
    notes = [event for event in told if isinstance(event, Note) and event.warn]
    assert any("none of the model's classes (down, up)" in note.text for note in notes)


def test_without_a_sample_there_are_no_golden_rows(tmp_path: Path, own_process: None) -> None:
    joblib.dump(LogisticRegression().fit(NUMBERS.to_numpy(), LABELS), tmp_path / "model.joblib")
    manifest = pack_file(tmp_path / "model.joblib", data=None, target=None, to=tmp_path / "bundle")
    assert manifest.golden.rows == 0
    assert manifest.signature.names == ("x0", "x1")
    packed = wherry.load(tmp_path / "bundle")
    packed.replay()
    assert packed.predict(json.loads((tmp_path / "bundle" / "example.json").read_bytes()))[0] in ("down", "up")


def test_golden_numbers_are_held_as_closely_as_their_form_can(tmp_path: Path) -> None:
    """A graph in float32 gives other last digits on another processor; one in float64, or sums, do not."""
    rows = RNG.normal(size=(300, 4))
    answers = 1000 * rows[:, 0] + 300 * rows[:, 1] ** 2
    single = wherry.pack(GradientBoostingRegressor(n_estimators=20).fit(rows, answers), rows, to=tmp_path / "single")
    double = wherry.pack(LinearRegression().fit(rows, answers), rows, to=tmp_path / "double")
    assert (single.conversion.form, double.conversion.form) == ("onnx", "linear")
    assert (single.golden.rtol, single.golden.atol) == (1e-5, 1e-6)
    assert (double.golden.rtol, double.golden.atol) == (1e-6, 1e-9)
    packed = wherry.load(tmp_path / "single")
    first, *others = packed.golden.predictions
    rounded = GoldenRows(packed.golden.columns, packed.golden.rows, (first * (1 + 5e-6), *others))
    golden.replay(packed, rounded, single.golden)
    with pytest.raises(GoldenDiffers):
        golden.replay(packed, rounded, double.golden)


def test_few_rows_make_few_golden_rows(tmp_path: Path) -> None:
    assert wherry.pack(simple(), NUMBERS.head(5), to=tmp_path / "bundle").golden.rows == 5


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[Event] = []
    wherry.pack(simple(), NUMBERS, LABELS, to=tmp_path / "bundle", tell=told.append)
    begun = [event.text for event in told if isinstance(event, Step) and event.seconds is None]
    ended = [event.text for event in told if isinstance(event, Step) and event.seconds is not None]
    assert set(ended) <= set(begun)
    assert {"inferring the signature", "choosing the form that answers alike"} <= set(ended)
    assert begun[-1] == ended[-1] == "loading it in a process of its own"


@pytest.mark.parametrize(
    ("extra", "target", "told"),
    [({"kind": LABELS}, None, True), ({"kind": LABELS}, "kind", False), ({"kind": "else"}, None, False)],
)
def test_what_looks_like_the_target_is_told(extra: Any, target: str | None, told: bool, tmp_path: Path) -> None:
    joblib.dump(simple(), tmp_path / "m.joblib")
    NUMBERS.assign(**extra).to_csv(tmp_path / "rows.csv", index=False)
    events: list[Event] = []
    pack_file(tmp_path / "m.joblib", data=tmp_path / "rows.csv", target=target, to=tmp_path / "b", tell=events.append)
    note = Note("kind looks like the right answers", hint="--target kind gives metrics")
    assert (note in events) is told


def test_the_same_model_makes_the_same_files(tmp_path: Path) -> None:
    one = wherry.pack(simple(), NUMBERS, LABELS, to=tmp_path / "one")
    two = wherry.pack(simple(), NUMBERS, LABELS, to=tmp_path / "two")
    assert one.files == two.files


class HomeMade(LogisticRegression):
    """A class that a user wrote in a file of their own."""


def test_pickle_stays_out_unless_permitted(tmp_path: Path, own_process: None) -> None:
    """What only pickle holds is refused; what even pickle cannot load elsewhere is never sealed."""
    model = HomeMade().fit(NUMBERS, LABELS)
    with pytest.raises(NotStorable):
        wherry.pack(model, NUMBERS, LABELS, to=tmp_path / "bundle")
    with pytest.raises(ModelUnsafe, match="does not load again in a process of its own") as unsafe:
        wherry.pack(model, NUMBERS, LABELS, to=tmp_path / "bundle", allow_pickle=True)
    assert "module that can be imported" in unsafe.value.hint
    assert list(tmp_path.iterdir()) == []


def test_an_importable_class_is_kept_as_pickle_where_permitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_process: None
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "homemade_models.py").write_text(
        "from sklearn.linear_model import LogisticRegression\nclass Own(LogisticRegression):\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(code))
    import homemade_models

    model = homemade_models.Own().fit(NUMBERS, LABELS)
    with pytest.raises(NotStorable, match="homemade_models"):
        wherry.pack(model, NUMBERS, LABELS, to=tmp_path / "bundle")
    manifest = wherry.pack(model, NUMBERS, LABELS, to=tmp_path / "bundle", allow_pickle=True)
    assert (manifest.conversion.form, manifest.allow_pickle) == ("pickle", True)
    assert wherry.load(tmp_path / "bundle").predict(NUMBERS) == model.predict(NUMBERS).tolist()


def test_allow_pickle_is_recorded_only_where_it_was_needed(tmp_path: Path) -> None:
    manifest = wherry.pack(simple(), NUMBERS, LABELS, to=tmp_path / "bundle", allow_pickle=True)
    assert not manifest.allow_pickle


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model": LogisticRegression()}, ModelNotFitted),
        ({"model": {"weights": [1, 2]}}, ModelUnknown),
        ({"X": NUMBERS[["a"]]}, SampleUnfit),
        ({"X": NUMBERS.assign(a="text")}, SampleUnfit),
        ({"y": LABELS[:3]}, SampleUnfit),
        ({"name": "a/b"}, UsageRefused),
        ({"name": ""}, UsageRefused),
        ({"version": "1 beta"}, UsageRefused),
        ({"float_columns": ["nope"]}, SampleUnfit),
    ],
)
def test_a_failed_pack_leaves_everything_as_it_was(change: dict[str, Any], error: type, tmp_path: Path) -> None:
    wherry.pack(simple(), NUMBERS, LABELS, to=tmp_path / "bundle")
    before = {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()}
    asked: dict[str, Any] = {"model": simple(), "X": NUMBERS, "y": LABELS, **change}
    with pytest.raises(error) as wrong:
        wherry.pack(asked.pop("model"), asked.pop("X"), asked.pop("y"), to=tmp_path / "bundle", **asked)
    assert str(wrong.value)
    assert {path.name: path.read_bytes() for path in (tmp_path / "bundle").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("writer", ["joblib", "pickle", "skops"])
def test_another_scikit_learn_is_named_with_both_versions(writer: str, tmp_path: Path) -> None:
    """T53: a file written by another version is refused, or loaded when that is asked for."""
    import sklearn

    path = tmp_path / "model"
    model = simple()
    state = model.__getstate__() | {"_sklearn_version": "1.2.3"}

    class Other(LogisticRegression):
        def __getstate__(self) -> dict[str, Any]:
            return state

        def __reduce__(self) -> Any:
            return LogisticRegression, (), state

    other = Other.__new__(Other)
    if writer == "skops":
        import io
        import zipfile

        source = zipfile.ZipFile(io.BytesIO(skops.io.dumps(model)))
        with zipfile.ZipFile(path, "w") as out:
            for name in source.namelist():
                out.writestr(name, source.read(name).replace(sklearn.__version__.encode(), b"1.2.3"))
    elif writer == "pickle":
        path.write_bytes(pickle.dumps(other))
    else:
        joblib.dump(other, path)
    for trust in (False, True):
        with pytest.raises(VersionDrift) as drift:
            pack_file(path, data=None, target=None, to=tmp_path / "bundle", trust=trust)
        assert (drift.value.wanted, drift.value.found) == ("1.2.3", sklearn.__version__)
        assert "1.2.3" in str(drift.value)
        assert sklearn.__version__ in str(drift.value)
    pack_file(path, data=None, target=None, to=tmp_path / "bundle", allow_drift=True)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/model.pickle", "a"),
        ("a/ml-model.pkl", "ml-model"),
        ("a/DryBeanSVM", "DryBeanSVM"),
        ("a/model_binary.dat.gz", "model_binary"),
        ("a/model.joblib.gz", "a"),
        ("my project/model.joblib", "my-project"),
        ("a/clf v2.1", "clf-v2.1"),
        ("a/größe.pkl", "gr-e"),
    ],
)
def test_names_come_from_files(path: str, name: str, tmp_path: Path) -> None:
    assert naming.of_file(tmp_path / path) == name


def test_names_come_from_classes() -> None:
    steps = make_pipeline(StandardScaler(), RandomForestClassifier())
    assert naming.of_estimator(steps, Path("bundle")) == "random-forest-classifier"
    assert naming.of_estimator(LinearRegression(), Path("bundle")) == "linear-regression"


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    """A file system of its own, just large enough for the first bundle."""
    if os.geteuid() != 0:
        pytest.skip("needs root: to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        wherry.pack(simple(), NUMBERS.head(3), to=small / "bundle")
        before = {path.name: path.read_bytes() for path in (small / "bundle").iterdir()}
        (small / "filler").write_bytes(os.urandom(40_000))
        wide = pd.DataFrame(RNG.normal(size=(400, 60)), columns=[f"column_{n}" for n in range(60)])
        model = LogisticRegression().fit(wide, wide["column_0"] > 0)
        with pytest.raises(DiskFull) as full:
            wherry.pack(model, wide, to=small / "bundle")
        assert full.value.path == str(small)
        assert {path.name: path.read_bytes() for path in (small / "bundle").iterdir()} == before
        assert sorted(path.name for path in small.iterdir()) == ["bundle", "filler"]
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_importing_pack_loads_no_heavy_library() -> None:
    code = (
        "import sys, wherry.model.pack, wherry.model.inspect\n"
        "heavy = {'sklearn', 'pandas', 'joblib', 'skops', 'onnx', 'onnxruntime', 'scipy'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
