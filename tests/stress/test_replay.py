"""Load as it was once: traces in their forms, and the requests that a service's own store kept."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Wherry = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def target(stand_in: Any, good: Any) -> Any:
    return stand_in(good)


TRACES = {
    "t.csv": "seconds,rate\n0,40\n1,0\n1.5,20\n2,0\n",
    "t.json": "[[0, 40], [1, 0], [1.5, 20], [2, 0]]",
    "dates.csv": "time,rate\n2026-01-31T08:00:00,40\n2026-01-31T08:00:01,0\n2026-01-31T08:00:01.5,20\n"
    "2026-01-31T08:00:02,0\n",
}


@pytest.mark.parametrize("name", list(TRACES))
def test_a_trace_is_replayed(wherry: Wherry, target: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TRACES[name])
    done = wherry("stress", target.url, "--replay", name, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["sent"] == target.requests == 50
    assert found["shape"] == f"trace:{name}"


def test_a_replay_is_sped_up_and_spread_by_chance(wherry: Wherry, target: Any, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("0,20\n10,20\n")
    flags = ("--replay", "t.csv", "--speed", "20", "--arrivals", "poisson", "--json")
    done = wherry("stress", target.url, *flags)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["seconds"] == pytest.approx(1.0, abs=0.5)  # twenty seconds of trace
    assert 300 < found["sent"] < 500  # 400, give or take five times its root
    assert found["shape"] == "trace:t.csv, 20 times as fast, poisson"


def test_the_stores_own_history_is_replayed_with_its_inputs_and_moments(
    service: Callable[..., Any], linear_bundle: Path, wherry: Wherry, stand_in: Any, good: Any, tmp_path: Path
) -> None:
    running = service(linear_bundle, cwd=tmp_path)
    row = dict(
        zip(json.loads((linear_bundle / "golden.json").read_bytes())["columns"], (5.1, 3.5, 1.4, 0.2), strict=True)
    )
    for wait in (0.0, 1.0):
        time.sleep(wait)  # the gap is what is measured
        assert running.ask("/predict", row).status == 200
    assert running.ask("/predict", [row, row]).status == 200
    assert running.stop() == 0  # which writes what waits for the database
    replayed = stand_in(good)
    done = wherry("stress", replayed.url, "--replay", "history", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sent"] == replayed.requests == 3
    lengths = [int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]) for head in replayed.heads]
    assert lengths[0] == lengths[1] < lengths[2] == 2 * lengths[0] + 3
    again = stand_in(good)
    done = wherry("stress", again.url, "--replay", "history", "--speed", "10", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["seconds"] < 1.0
    for words, code in ((["/models/boats"], 1), (["/models/iris"], 0), (["", "--model", "boats"], 1)):
        done = wherry("stress", again.url + words[0], "--replay", "history", "--speed", "10", *words[1:], cwd=tmp_path)
        assert done.returncode == code, "the history of the model that the address names: " + done.stderr
        assert ("it holds no prediction of a model boats to send again" in done.stderr) == bool(code)
    (store,) = tmp_path.rglob("*.db")
    with contextlib.closing(sqlite3.connect(store)) as there, there:
        there.execute("UPDATE predictions SET model_name = 'boats' WHERE id = (SELECT min(id) FROM predictions)")
    asked = again.requests
    done = wherry("stress", again.url, "--replay", "history", cwd=tmp_path)
    assert (done.returncode, again.requests) == (2, asked)
    assert "of several models: boats, iris" in done.stderr and "--model" in done.stderr


def test_a_history_that_is_not_there_is_said(wherry: Wherry, target: Any) -> None:
    done = wherry("stress", target.url, "--replay", "history")
    assert done.returncode == 2, done.stderr
    assert "no such store of predictions" in done.stderr
    assert target.requests == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,1\n1,x\n", "line 2"),
        ("0,1\n0,2\n", "not later"),
        ("0,-1\n", "0 or more"),
        ("", "it is empty"),
        ("time,rate\n0,10\n86400,10\n", "--speed 4"),
    ],
)
def test_a_trace_that_cannot_be_replayed_is_said(
    wherry: Wherry, target: Any, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "t.csv").write_text(text)
    done = wherry("stress", target.url, "--replay", "t.csv")
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert target.requests == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--replay", "t.csv", "--rate", "5"), "leave one out"),
        (("--replay", "none.csv"), "no such trace"),
        (("--since", "1h"), "--replay history"),
        (("--replay", "history", "--no-store"), "a service keeps what it kept as any client's"),
        (("--data", "t.csv", "--no-store"), "a service keeps the rows of --data as any client's"),
        (("--record", "run.json"), "--record keeps the run of a deployment"),
    ],
)
def test_flags_that_do_not_go_together_are_said(
    wherry: Wherry, target: Any, tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    (tmp_path / "t.csv").write_text("0,1\n")
    done = wherry("stress", target.url, *flags)
    assert done.returncode == 2
    assert words in done.stderr
    assert target.requests == 0


def test_a_name_without_a_cluster_is_said(wherry: Wherry, tmp_path: Path) -> None:
    done = wherry("stress", "breast", "--kubeconfig", tmp_path / "none")
    assert done.returncode == 1
    assert "no cluster is known" in done.stderr


def test_prove_must_know_the_rate(wherry: Wherry) -> None:
    done = wherry("prove")
    assert done.returncode == 2
    assert "nothing says which rate the settings are meant for" in done.stderr and "--peak" in done.stderr


def test_prove_takes_one_load(wherry: Wherry) -> None:
    done = wherry("prove", "--peak", "5", "--shape", "ramp:1-2")
    assert done.returncode == 2
    assert "leave one out" in done.stderr
