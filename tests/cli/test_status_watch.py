"""What `wherry status --watch` shows, from looks that the room below hands up."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from wherry.cli import board, watching
from wherry.cli.console import Console
from wherry.cli.drawing import Drawing, fitted
from wherry.cli.main import run
from wherry.deploy.address import Address
from wherry.deploy.dashboard.seen import Change, Look, PodSeen, Point, Seen, Traffic
from wherry.deploy.status import Autoscaler, Status

STATUS = Status(
    name="breast",
    namespace="models",
    wanted=2,
    ready=1,
    updated=2,
    paused=False,
    image="localhost:5000/breast@sha256:aa",
    model="breast:1",
    version="1",
    digest="0123456789abcdef",
    address=Address("http://10.96.0.9", "here"),
    autoscaler=Autoscaler(1, 10, 2, 2, 60, 72),
    unmeasured=(),
    age_seconds=60.0,
    restarts=0,
    problems=("1 of 2 pods are ready",),
)
TRAFFIC = Traffic(10.0, 412.34, 1.5, 0.0, 1.25, 3.0, 1200.0, 4, {"B": 10.0}, {"B": 75.0, "M": 25.0})
PODS = (
    PodSeen("breast-a", "Running", True, True, 0, "", 180.0, 80_000_000, 412.0, 0.0, 8.0),
    PodSeen("breast-b", "Pending", False, False, 3, "its image cannot be pulled"),
)
SEEN = Seen(STATUS, PODS, 180.0, 500.0, 1000.0, 80_000_000, 256_000_000, TRAFFIC)
LOOK = Look(1_769_846_410.0, "minikube", "models", (SEEN,), (Change(1_769_846_400.0, "breast", "scaled from 1 to 2"),))
COURSE = [Point(1_769_846_400.0 + k, float(k), 0.0, 1.0, 2.0, 3.0, 100.0, 1, 1, 2) for k in range(60)]
COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_a_look_is_a_line_where_nothing_is_drawn() -> None:
    [line] = board.plain(LOOK)
    for text in (
        "breast not well: 1 of 2 pods ready",
        "CPU 180m of 500m requested, limit 1000m",
        "memory 80 MB of 256 MB",
        "1 to 10 pods, CPU 72 % of the request, aiming at 60 %",
        "412/s, 1.5/s failed",
        "p50 1.25 ms, p90 3 ms, p99 1.20 s",
        "B 75 %, M 25 %",
        "1 of 2 pods are ready",
    ):
        assert text in line
    assert "\x1b" not in line
    [gone] = board.plain(msgspec.structs.replace(LOOK, trouble="no cluster answers"))
    assert gone.endswith(" no cluster answers")
    assert "nothing" in next(board.plain(msgspec.structs.replace(LOOK, services=())))


def test_the_board_says_the_same_with_pods_and_pictures() -> None:
    lines = [COLOURS.sub("", line) for line in board.picture(LOOK, {"breast": COURSE})]
    shown = "\n".join(lines)
    for text in ("context minikube, namespace models", "Ctrl-C ends", "●○", "B 75 % ━", "█"):
        assert text in shown
    assert any(line.split()[:2] == ["breast-a", "ready"] for line in lines)
    assert any("its image cannot be pulled" in line for line in lines)
    assert lines[-1].endswith("breast scaled from 1 to 2")


def test_many_classes_are_counted_together() -> None:
    many = msgspec.structs.replace(TRAFFIC, classes_total={f"c{k}": float(10 - k) for k in range(10)})
    named = list(board.shares(many))
    assert len(named) == board.CLASSES + 1
    assert named[-1].startswith("4 more ")


class Terminal:
    """Remembers what was written on it."""

    def __init__(self) -> None:
        self.shown = ""

    def write(self, text: str) -> None:
        self.shown += text

    def flush(self) -> None: ...


@pytest.mark.parametrize("width", [20, 50, 200])
def test_a_drawing_is_never_wider_or_higher_than_the_terminal(width: int) -> None:
    for line in board.picture(LOOK, {"breast": COURSE}):
        assert len(COLOURS.sub("", fitted(line, width))) <= width
    terminal: Any = Terminal()
    drawing = Drawing(terminal)
    drawing.draw(board.picture(LOOK, {}), width, 8)
    assert terminal.shown.count("\n") == 7
    drawing.draw(["one"], width, 8)
    assert "\x1b[7A" in terminal.shown, "the next picture covers the whole of the one before"
    assert terminal.shown.endswith("\x1b[J")


class Watched:
    """Gives looks until somebody presses Ctrl-C."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def look(self) -> Look:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        return LOOK


def test_a_document_a_tick_and_an_end_without_a_word(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching.time, "sleep", lambda seconds: None)
    watching.repeat(Watched(3), Console(as_json=True).document)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["services"][0]["traffic"]["rate"] for line in lines] == [412.34] * 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--page"], "--page goes with --watch"),
        (["--watch", "--port", "1"], "--port goes with --page"),
        (["--watch", "--open"], "--open goes with --page"),
    ],
)
def test_flags_that_need_another_say_so(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", *words]) == 2
    assert said in capsys.readouterr().err
