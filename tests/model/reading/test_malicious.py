"""T11: files that run code when they are loaded never do so here, and honest ones are let through."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="needs scikit-learn")

from honest import MODELS
from malicious import TRICKS, Evil

from wherry.errors import NotVouched
from wherry.model import inspect
from wherry.model.reading import vouch
from wherry.model.reading.pickles import read

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every trick, opened in a child process under an audit hook in the three ways there are."""
    folder = tmp_path_factory.mktemp("malicious")
    for trick in TRICKS:
        (folder / f"{trick.name}.model").write_bytes(trick.write(folder / f"{trick.name}.canary"))
    (folder / "sample.csv").write_text("x0\n1.0\n2.0\n")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(HERE / "watched.py"), str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    found["folder"] = folder
    return found


def test_no_trick_runs_anything(watched: dict[str, Any]) -> None:
    opened = sum(len(ways) for ways in watched["said"].values())
    print(f"\nT11: {len(TRICKS)} malicious files opened {opened} times: {len(watched['canaries'])} executed, ", end="")
    print(f"{len(watched['events'])} forbidden events")
    assert opened == 3 * len(TRICKS)
    assert watched["canaries"] == []
    assert watched["events"] == []


def test_every_trick_is_refused_with_an_error_of_ours(watched: dict[str, Any]) -> None:
    for name, ways in watched["said"].items():
        for way in ("pack", "serve"):
            assert ways[way] in ("NotVouched", "ModelUnknown", "ModelUnsafe"), (name, way, ways[way])


def test_no_trick_is_called_known(watched: dict[str, Any]) -> None:
    clean = [name for name, ways in watched["said"].items() if "only known types" in ways["inspect"]]
    print(f"\nT11: {len(clean)} of {len(TRICKS)} malicious files called 'only known types'")
    assert clean == []
    crashed = {name: ways["inspect"] for name, ways in watched["said"].items() if ways["inspect"].startswith("!")}
    assert crashed == {}


def test_the_tricks_work_on_joblib(watched: dict[str, Any]) -> None:
    """A trick that runs nowhere would prove nothing."""
    folder: Path = watched["folder"]
    working = [trick.name for trick in TRICKS if trick.runs]
    script = (
        "import sys, joblib\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        joblib.load(path)\n"
        "    except BaseException as error:\n        print(error, file=sys.stderr)\n"
    )
    paths = [str(folder / f"{name}.model") for name in working]
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, *paths], capture_output=True, timeout=120, check=True)
    missing = {name for name in working if not (folder / f"{name}.canary").exists()}
    deadline = time.monotonic() + 10
    while missing and time.monotonic() < deadline:  # a started process may still be on its way
        missing = {name for name in missing if not (folder / f"{name}.canary").exists()}
    for name in working:
        (folder / f"{name}.canary").unlink(missing_ok=True)
    print(f"\nT11: joblib.load falls for {len(working) - len(missing)} of {len(working)}")
    assert missing == set()


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Path, Any]]:
    folder = tmp_path_factory.mktemp("honest")
    written = []
    for place, (name, make) in enumerate(MODELS.items()):
        model = make()
        path = folder / name
        if place % 2:
            path.write_bytes(pickle.dumps(model, protocol=2 + place % 4))
        else:
            import joblib

            joblib.dump(model, path, compress=("gzip", 3) if place % 4 else 0)
        written.append((name, path, model))
    return written


def test_honest_models_are_let_through(honest: list[tuple[str, Path, Any]]) -> None:
    refused = {}
    for name, path, _ in honest:
        found = inspect.inspect(path)
        if not found.loads_unasked:
            refused[name] = found.verdict
    print(f"\nT11: {len(refused)} of {len(honest)} honest models refused: {refused}")
    assert len(honest) >= 30
    assert len(refused) <= 1
    for name, path, model in honest:
        if name not in refused:
            assert type(vouch.open_model(path).estimator) is type(model)


def test_every_refusal_can_be_overridden(tmp_path: Path) -> None:
    from honest import LocalClassifier

    path = tmp_path / "own"
    path.write_bytes(pickle.dumps(LocalClassifier().fit([[0.0], [1.0]], [0, 1])))
    with pytest.raises(NotVouched) as refused:
        vouch.open_model(path)
    assert refused.value.digest in str(refused.value.hint)
    assert "LocalClassifier" in str(refused.value)
    for trust in (True, f"sha256:{refused.value.digest}"):
        assert vouch.open_model(path, trust=trust).estimator.predict([[0.0]]) == [0]
    with pytest.raises(NotVouched, match="vouched for"):
        vouch.open_model(path, trust="sha256:" + "0" * 64)


def test_a_wrong_digest_is_refused_even_for_known_types(honest: list[tuple[str, Path, Any]]) -> None:
    with pytest.raises(NotVouched, match="vouched for"):
        vouch.open_model(honest[0][1], trust="sha256:" + "0" * 64)


def test_the_verdict_names_what_is_unknown(tmp_path: Path) -> None:
    contents = read(pickle.dumps(Evil(tmp_path / "canary")))
    assert contents.verdict == "code"
    assert contents.unknown == ("posix.system",)
    assert "malicious" not in contents.sentence()
