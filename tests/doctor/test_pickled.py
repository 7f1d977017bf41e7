"""Pickles of old libraries, made by rewriting versions and module paths in the stream: no such Python is at hand."""

from __future__ import annotations

import gzip
import io
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from wherry.doctor import pickled
from wherry.doctor.examine import examine

pytest.importorskip("sklearn", reason="needs scikit-learn")
import sklearn
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

ROWS = [[float(n), float(n % 3)] for n in range(12)]
ANSWERS = [n % 2 for n in range(12)]


def text_opcodes(content: bytes, old: str, new: str) -> bytes:
    """The stream with the text `old` as `new`, lengths and all: SHORT_BINUNICODE and BINUNICODE."""
    changed = content
    for head, size in ((b"\x8c", 1), (b"X", 4)):
        was = head + len(old).to_bytes(size, "little") + old.encode()
        changed = changed.replace(was, head + len(new).to_bytes(size, "little") + new.encode())
    assert changed != content, old
    return changed


def made_by(estimator: object, version: str, *, module: tuple[str, str] | None = None) -> bytes:
    """A pickle of `estimator` as scikit-learn `version` would have left it, as far as names and versions go."""
    held = io.BytesIO()
    pickler = pickle._Pickler(held, 3)  # protocol 3 has no frames, whose sizes would be off
    pickler.dump(estimator)
    content = text_opcodes(held.getvalue(), sklearn.__version__, version)
    if module:
        old, new = (f"c{name}\n".encode() for name in module)
        assert old in content
        content = content.replace(old, new)
    return content


@pytest.mark.parametrize("version", ["0.22", "0.22.1", "0.23.2", "0.24.2", "1.0", "1.0.2"])
@pytest.mark.parametrize("compress", [False, True])
def test_an_old_pickle_gets_the_clear_answer(version: str, compress: bool, tmp_path: Path) -> None:
    content = made_by(make_pipeline(MinMaxScaler(), SVC()).fit(ROWS, ANSWERS), version)
    (tmp_path / "ml-model").write_bytes(gzip.compress(content) if compress else content)
    found = examine(tmp_path)
    assert [(each.rule, each.file) for each in found.findings] == [("old-pickle", "ml-model")]
    (model,) = found.models
    assert (model.version, model.estimator) == (version, "Pipeline")
    assert f"scikit-learn {version} made it, and here is {sklearn.__version__}" in model.reason
    assert "no wheel before 1.1.3 exists for Python 3.11" in model.reason


def test_the_modules_of_0_21_are_only_names(tmp_path: Path) -> None:
    content = made_by(
        LinearRegression().fit(ROWS, ANSWERS),
        "0.22.1",
        module=("sklearn.linear_model._base", "sklearn.linear_model.base"),
    )
    (tmp_path / "ml-model.pkl").write_bytes(content)
    assert [model.version for model in examine(tmp_path).models] == ["0.22.1"]


def test_a_pickle_of_today_is_no_finding(tmp_path: Path) -> None:
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(LinearRegression().fit(ROWS, ANSWERS)))
    (tmp_path / "cut.pickle").write_bytes(pickle.dumps(LinearRegression().fit(ROWS, ANSWERS))[:100])
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"\0" * (1 << 20))[:50])
    found = examine(tmp_path)
    assert found.findings == () and found.models == ()


@pytest.mark.parametrize(
    ("version", "old"), [("0.22", True), ("1.0.2", True), ("1.1.2", True), ("1.1.3", False), ("1.5.2", False)]
)
def test_which_versions_are_too_old(version: str, old: bool) -> None:
    assert pickled.is_old(version) is old


def test_the_exporter_is_python_of_3_6_and_needs_nothing_new() -> None:
    text = pickled.exporter()
    compile(text, "export_model.py", "exec", dont_inherit=True)
    import ast

    tree = ast.parse(text, feature_version=(3, 6))
    imported = {
        name.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    assert imported <= {"csv", "gzip", "pickle", "sys", "numpy", "sklearn", "joblib"}
    assert not re.search(r"\bf\"|:=|match ", text)
    assert f'TARGET = "{sklearn.__version__}"' in text


@pytest.mark.parametrize(
    "model",
    [LinearRegression(), SVC(kernel="linear"), make_pipeline(MinMaxScaler(), DecisionTreeClassifier(random_state=0))],
    ids=["linear", "svc", "tree"],
)
def test_what_the_exporter_writes_is_packed_and_answers_alike(model: object, tmp_path: Path) -> None:
    """Run where the model was made: here, with the same script, as no older scikit-learn is at hand."""
    import csv

    from wherry.model.pack import pack_file

    model.fit(ROWS, ANSWERS)
    (tmp_path / "export_model.py").write_text(pickled.exporter())
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(model))
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["a", "b"], *ROWS])
    ran = subprocess.run(
        [sys.executable, "export_model.py", "model.pkl", "rows.csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "wrote model.pkl.exported" in ran.stdout
    manifest = pack_file(
        tmp_path / "model.pkl.exported",
        data=tmp_path / "model.pkl.answered.csv",
        target="prediction",
        to=tmp_path / "bundle",
        name="old",
        version="1",
        trust=False,
        allow_pickle=False,
        float_columns=(),
    )
    assert [metric.value for metric in manifest.metrics if metric.name in ("accuracy", "R2")] == [pytest.approx(1)]


def test_the_exporter_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    (tmp_path / "export_model.py").write_text(pickled.exporter())
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(KNeighborsClassifier().fit(ROWS, ANSWERS)))
    ran = subprocess.run(
        [sys.executable, "export_model.py", "model.pkl"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "not exported: nobody tried this with KNeighborsClassifier" in ran.stderr
    assert not (tmp_path / "model.pkl.exported").exists()
