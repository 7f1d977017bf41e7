"""A run as it is shown: drawn in place on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import io
import sys

import msgspec
import pytest

from wherry.cli.console import Console
from wherry.cli.stress_view import Screen, plain
from wherry.contract.events import ClusterView, StressView


def views(count: int) -> list[StressView]:
    """One each half second."""
    return [
        StressView(k / 2, 20.0, 100.0, 99.0, 0.001, 0.002, 0.05 if k % 5 else None, 50 * k, k // 10, 1, 0.0001)
        for k in range(1, count + 1)
    ]


def test_without_a_terminal_a_line_every_five_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    with Console() as console:
        for view in views(24):
            console.tell(view)
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 3
    assert shown[0] == "0 of 20 s: 100/s offered, 99/s answered, p50 1 ms, p99 50 ms, 0 of 50 failed"


def test_a_terminal_is_drawn_on_in_place_and_left_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    with Console() as console:
        for view in views(3):
            console.tell(view)
        assert "offered       100/s" in terminal.getvalue() and "█" in terminal.getvalue()
        assert terminal.getvalue().count("\x1b[4A") == 2  # each picture but the first goes over the one before
    assert terminal.getvalue().endswith("\x1b[4A\x1b[J")


def test_quiet_and_json_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    for console in (Console(quiet=True), Console(as_json=True)):
        for view in views(20):
            console.tell(view)
    assert capsys.readouterr().err == ""


def test_a_deployment_is_shown_beside_its_load() -> None:
    view = msgspec.structs.replace(views(1)[0], cluster=ClusterView("m", 3, 2, 10, 180, 72, 60))
    words = "2 of 3 pods ready (at most 10), CPU 180m, 72 % of the request, aiming at 60 %"
    assert plain(view).endswith(f"; {words}")
    shown = Screen(io.StringIO(), 120).lines(view)[-1]
    assert words in shown and "●●\x1b[0m\x1b[33m○" in shown
    unknown = msgspec.structs.replace(view, cluster=ClusterView("m", 1, 1))
    assert plain(unknown).endswith("; 1 of 1 pods ready")
