"""`wherry gate`: what is let through, what is not, and what cannot be judged."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wherry.cli.gate import judged
from wherry.contract.manifest import Metric

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]


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
        (share(0.5), share(0.9), 0, ("it is no better than always the largest class",) * 1),
    ],
)
def test_what_is_let_through(mine: Metric, theirs: Metric | None, margin: float, reasons: tuple[str, ...]) -> None:
    found = judged(mine, theirs, margin).reasons
    assert found[: len(reasons)] == reasons
    assert bool(found) == bool(reasons)


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


def test_a_bundle_is_held_against_what_serves(wherry: Wherry, folder: Path, worse: Path, service: Any) -> None:
    running = service(folder / "bundle", "--no-store")
    passed = wherry("gate", "--live", running.url, cwd=folder)
    assert passed.returncode == 0, passed.stderr
    assert "let through" in passed.stderr
    refused = wherry("gate", str(worse), "--live", running.url, "--json", cwd=folder)
    assert refused.returncode == 4, refused.stderr
    told = json.loads(refused.stdout)
    assert not told["passed"]
    assert told["reasons"] == ["it is worse than the model that serves"]
    assert told["rows"] == 50
    assert told["baseline"] < told["bundle"] < told["live"]
    # the other way round it is an improvement, and without a comparison good enough
    assert wherry("gate", str(worse), "--no-live", cwd=folder).returncode == 0
    assert wherry("gate", str(worse), "--live", running.url, "--margin", "-0.5", cwd=folder).returncode == 0


def test_a_model_that_serves_and_takes_other_columns_is_said_to(
    wherry: Wherry, folder: Path, breast_cancer_bundle: Path, service: Any
) -> None:
    running = service(breast_cancer_bundle, "--no-store")
    done = wherry("gate", "--live", running.url, cwd=folder)
    assert done.returncode == 1, done.stdout
    assert "does not take the held-out rows" in done.stderr
    assert "wherry gate --no-live" in done.stderr


def test_what_cannot_be_judged_is_said_with_what_to_do(wherry: Wherry, folder: Path) -> None:
    table = (folder / "holdout.csv").read_text()
    (folder / "bare.csv").write_text("\n".join(line.rpartition(",")[0] for line in table.splitlines()))
    for words, said in [
        (("--data", "none.csv"), "no such file of held-out rows: none.csv"),
        (("--data", "bare.csv"), "bare.csv has no column target"),
        (("--live", "http://x", "--no-live"), "exclude one another"),
    ]:
        done = wherry("gate", *words, "--no-live", cwd=folder) if "--live" not in words else wherry("gate", *words)
        assert done.returncode == 2, done.stderr
        assert said in done.stderr
        assert "hint:" in done.stderr
    nobody = wherry("gate", "--live", "http://127.0.0.1:9", cwd=folder)
    assert nobody.returncode == 1
    assert "nothing listens there" in nobody.stderr


def test_pipeline_writes_again_only_what_it_wrote(wherry: Wherry, folder: Path) -> None:
    words = ("pipeline", "--image", "ghcr.io/owner/iris", "--context", "production", "-n", "models")
    dry = wherry(*words, "--dry-run", cwd=folder)
    assert dry.returncode == 0, dry.stderr
    assert not (folder / ".github").exists()
    first = wherry(*words, cwd=folder)
    assert first.returncode == 0, first.stderr
    workflow = folder / ".github" / "workflows" / "iris-pipeline.yaml"
    written = workflow.read_bytes()
    assert wherry(*words, cwd=folder).returncode == 0
    assert workflow.read_bytes() == written, "no clock, no chance"
    told = json.loads(wherry(*words, "--json", cwd=folder).stdout)
    assert [step["id"] for step in told["steps"]] == ["install", "train", "test", "gate", "build", "deploy"]
    assert set(told["files"]) == {".github/workflows/iris-pipeline.yaml", "pipeline/role.yaml"}
    role = folder / "pipeline" / "role.yaml"
    role.write_text("mine: true\n")
    workflow.write_text(workflow.read_text() + "# old\n")
    refused = wherry(*words, cwd=folder)
    assert refused.returncode == 2
    assert "role.yaml" in refused.stderr
    assert workflow.read_text().endswith("# old\n"), "all or nothing"
