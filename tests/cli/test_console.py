"""How events are shown: drawn on a terminal, a line each elsewhere, not at all for -q."""

from __future__ import annotations

import io
import json
import sys

import pytest

from wherry.cli.console import Console
from wherry.contract.events import Note, Output, PodView, Progress, RolloutView, Step
from wherry.errors import NotConfirmed

EVENTS = [
    Step("reading the sample"),
    Progress("proving", 10, 32, "rows"),
    Step("reading the sample", 1.25),
    Note("569 rows", hint="wherry inspect"),
    Note("no target", warn=True),
    Output("docker", "Step 1/4"),
    RolloutView(
        "breast",
        2,
        1,
        (
            PodView("breast-1", "Running", True, True),
            PodView("breast-2", "Pending", False, True, 0, "ImagePullBackOff"),
        ),
        3.0,
    ),
]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_every_fact_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console:
        for event in [*EVENTS, EVENTS[-1]]:
            console.tell(event)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "reading the sample ... 1.2 s",
        "569 rows",
        "  wherry inspect",
        "warning: no target",
        "breast: 1 of 2 ready, breast-2: ImagePullBackOff",
    ]


def test_verbose_shows_what_other_programs_print(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(verbose=1) as console:
        for event in EVENTS:
            console.tell(event)
    assert "  docker: Step 1/4\n" in capsys.readouterr().err


def test_a_terminal_is_drawn_on(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    with Console() as console:
        for event in EVENTS:
            console.tell(event)
    shown = terminal.getvalue()
    assert "\x1b[" in shown
    assert "✓" in shown and "breast-2" in shown and "ImagePullBackOff" in shown


def test_no_color_means_plain_lines_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    with Console() as console:
        for event in EVENTS:
            console.tell(event)
    assert "\x1b" not in terminal.getvalue()


def test_a_step_without_an_end_keeps_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console:
        console.tell(Step("first"))
        console.tell(Step("second"))
        console.tell(Note("a fact"))
        console.tell(Step("second", 2.0))
        console.tell(Step("third"))
    assert capsys.readouterr().err == "first ...\nsecond ...\na fact\nsecond: 2.0 s\nthird ...\n"


def test_a_fact_is_not_told_again_as_a_step(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console:
        console.note("context here")
        console.tell(Step("rolling out"))
        console.tell(Step("context here"))
    assert capsys.readouterr().err == "context here\nrolling out ...\n"


def test_quiet_shows_nothing_and_json_warnings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for event in EVENTS:
        Console(quiet=True).tell(event)
    assert capsys.readouterr().err == ""
    for event in EVENTS:
        Console(as_json=True).tell(event)
    assert capsys.readouterr().err == "warning: no target\n"


def test_a_document_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    Console(as_json=True).document({"a": [1, 2], "b": EVENTS[0]})
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1
    assert json.loads(shown) == {"a": [1, 2], "b": {"type": "Step", "text": "reading the sample", "seconds": None}}


def test_nobody_there_is_no_yes() -> None:
    with pytest.raises(NotConfirmed) as refused:
        Console().confirm("Delete 8 objects?", flag="--yes")
    assert refused.value.hint == "say it with --yes"
