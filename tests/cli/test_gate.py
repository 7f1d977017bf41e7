"""`wherry gate`: what is let through, what is not, and what cannot be judged."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from wherry.cli.gate import judged
from wherry.cli.main import run
from wherry.contract.manifest import Metric


def error(value: float, baseline: float = 6.0) -> Metric:
    return Metric("mean absolute error", value, baseline, 100, "held-out", higher_is_better=False)


def share(value: float, baseline: float = 0.5) -> Metric:
    return Metric("accuracy", value, baseline, 100, "held-out")


@pytest.mark.parametrize(
    ("mine", "theirs", "margin", "reasons"),
    [
        (error(3.0), None, 0, ()),
        (error(3.0), error(3.5), 0, ()),
        (error(3.0), error(3.0), 0, ()),
        (error(3.0 + 1e-12), error(3.0), 0, ()),  # the arithmetic of another form
        (error(3.1), error(3.0), 0, ("it is worse than the model that serves",)),
        (error(3.1), error(3.0), -0.2, ()),
        (error(3.0), error(3.1), 0.2, ("it is not better by 0.2 than the model that serves",)),
        (error(2.8), error(3.0), 0.2, ()),
        (error(6.0), None, 0, ("it is no better than always the mean",)),
        (error(7.0), error(8.0), 0, ("it is no better than always the mean",)),
        (share(0.9), share(0.8), 0, ()),
        (share(0.8), share(0.9), 0, ("it is worse than the model that serves",)),
        (
            share(0.5),
            share(0.9),
            0,
            ("it is no better than always the largest class", "it is worse than the model that serves"),
        ),
    ],
)
def test_what_is_let_through(mine: Metric, theirs: Metric | None, margin: float, reasons: tuple[str, ...]) -> None:
    assert judged(mine, theirs, margin).reasons == reasons


@pytest.fixture
def folder(tmp_path: Path, linear_bundle: Path) -> Path:
    """A bundle, and rows with the right answers."""
    from sklearn.datasets import load_iris

    project = tmp_path / "project"
    project.mkdir()
    shutil.copytree(linear_bundle, project / "bundle")
    load_iris(as_frame=True).frame.iloc[::3].to_csv(project / "holdout.csv", index=False)
    return project


@pytest.fixture
def worse(tmp_path: Path) -> Path:
    """A bundle that knows two of the three kinds apart."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    from sklearn.datasets import load_iris
    from sklearn.tree import DecisionTreeClassifier

    import wherry

    X, y = load_iris(return_X_y=True, as_frame=True)
    wherry.pack(DecisionTreeClassifier(max_depth=1).fit(X, y), X, y, to=tmp_path / "worse", name="iris")
    return tmp_path / "worse"


Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def typed(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """The exit code and what was printed of a command in `folder`, run in this process: libraries are loaded once."""
    monkeypatch.chdir(folder)

    def type_in(*words: str) -> tuple[int, str, str]:
        code = run(list(words))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return type_in


def test_a_bundle_is_held_against_what_serves(typed: Typed, folder: Path, worse: Path, service: Any) -> None:
    running = service(folder / "bundle", "--no-store")
    code, _, said = typed("gate", "--live", running.url)
    assert (code, "let through" in said) == (0, True)
    code, printed, _ = typed("gate", str(worse), "--live", running.url, "--json")
    assert code == 4
    told = json.loads(printed)
    assert not told["passed"]
    assert told["reasons"] == ["it is worse than the model that serves"]
    assert told["rows"] == 50
    assert told["baseline"] < told["bundle"] < told["live"]
    # without a comparison it is good enough, and where as much is forgiven
    assert typed("gate", str(worse), "--no-live")[0] == 0
    assert typed("gate", str(worse), "--live", running.url, "--margin", "-0.5")[0] == 0


def test_a_model_that_serves_and_takes_other_columns_is_said_to(
    typed: Typed, breast_cancer_bundle: Path, service: Any
) -> None:
    running = service(breast_cancer_bundle, "--no-store")
    code, _, said = typed("gate", "--live", running.url)
    assert code == 1, said
    assert "does not take the held-out rows" in said
    assert "wherry gate --no-live" in said


def test_what_cannot_be_judged_is_said_with_what_to_do(typed: Typed, folder: Path) -> None:
    table = (folder / "holdout.csv").read_text()
    (folder / "bare.csv").write_text("\n".join(line.rpartition(",")[0] for line in table.splitlines()))
    for words, expected in [
        (("--data", "none.csv", "--no-live"), "no such file of held-out rows: none.csv"),
        (("--data", "bare.csv", "--no-live"), "bare.csv has no column target"),
        (("--live", "http://127.0.0.1:9", "--no-live"), "exclude one another"),
    ]:
        code, _, said = typed("gate", *words)
        assert code == 2, said
        assert expected in said
        assert "hint:" in said
    code, _, said = typed("gate", "--live", "http://127.0.0.1:9")
    assert (code, "nothing listens there" in said) == (1, True)


def test_pipeline_writes_again_only_what_it_wrote(typed: Typed, folder: Path) -> None:
    words = ("pipeline", "--image", "ghcr.io/owner/iris:7", "--context", "production", "-n", "models")
    code, printed, said = typed(*words, "--dry-run")
    assert code == 0, said
    assert "wherry deploy --image ghcr.io/owner/iris --context production -n models" in printed, (
        "no tag: each has its own"
    )
    assert not (folder / ".github").exists()
    assert typed(*words)[0] == 0
    workflow = folder / ".github" / "workflows" / "iris-pipeline.yaml"
    written = workflow.read_bytes()
    assert typed(*words)[0] == 0
    assert workflow.read_bytes() == written, "no clock, no chance"
    told = json.loads(typed(*words, "--json")[1])
    assert [step["id"] for step in told["steps"]] == ["install", "train", "test", "gate", "build", "deploy"]
    assert set(told["files"]) == {".github/workflows/iris-pipeline.yaml", "pipeline/role.yaml"}
    role = folder / "pipeline" / "role.yaml"
    role.write_text("mine: true\n")
    workflow.write_text(workflow.read_text() + "# old\n")
    code, _, said = typed(*words)
    assert (code, "role.yaml" in said) == (2, True)
    assert workflow.read_text().endswith("# old\n"), "all or nothing"


def test_a_pipeline_for_a_bundle_without_golden_rows_asks_its_example(typed: Typed, folder: Path) -> None:
    """`wherry predict --check` would end each run, for there is nothing to compare; that is said, with the way out."""
    from wherry.model import bundle

    path = folder / "bundle"
    manifest = bundle.verify(path)
    files = {name: (path / name).read_bytes() for name in manifest.files}
    files["golden.json"] = b'{"columns": [], "rows": [], "predictions": []}'
    golden = msgspec.structs.replace(manifest.golden, rows=0)
    bundle.write(path, msgspec.structs.replace(manifest, golden=golden), files)
    code, printed, said = typed("pipeline", "--image", "ghcr.io/owner/iris", "--dry-run")
    assert code == 0, said
    assert "wherry predict --check" not in printed
    assert "wherry predict bundle/example.json" in printed
    assert "bundle holds no golden rows: the test step asks its example alone" in said
    assert "wherry pack --data FILE" in said
    assert typed("predict", "bundle/example.json")[0] == 0
