"""On a terminal: the question that a file which can run code takes, and what is drawn."""

from __future__ import annotations

import contextlib
import os
import pickle
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE = 60.0


class Seat:
    """A command on a terminal of its own, and somebody who reads and types."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.near, far = pty.openpty()
        environ = {k: v for k, v in os.environ.items() if not k.startswith("WHERRY_") and k != "NO_COLOR"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "wherry", *words],
            cwd=folder,
            env={**environ, "TERM": "xterm-256color"},
            stdin=far,
            stdout=far,
            stderr=far,
            start_new_session=True,
        )
        os.close(far)
        self.shown = ""

    def read_until(self, text: str) -> None:
        until = time.monotonic() + PATIENCE
        while text not in self.shown:
            assert time.monotonic() < until, f"{text!r} was never shown, but: {self.shown}"
            self.take()

    def take(self) -> bool:
        """Take up what is shown within a tenth of a second; False at the end."""
        if not select.select([self.near], [], [], 0.1)[0]:
            return True
        try:
            found = os.read(self.near, 65536)
        except OSError:
            return False
        self.shown += found.decode()
        return bool(found)

    def type(self, text: str) -> None:
        os.write(self.near, text.encode())

    def end(self) -> int:
        """The exit code, once the command has ended."""
        until = time.monotonic() + PATIENCE
        while self.take() and (self.process.poll() is None or select.select([self.near], [], [], 0)[0]):
            assert time.monotonic() < until, f"it never ended, but showed: {self.shown}"
        return self.process.wait(PATIENCE)


@pytest.fixture
def seat(tmp_path: Path) -> Iterator[Callable[..., Seat]]:
    taken: list[Seat] = []

    def sit(*words: str) -> Seat:
        taken.append(Seat(tmp_path, *words))
        return taken[-1]

    yield sit
    for each in taken:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()
        os.close(each.near)


class Bomb:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch exploded",)


@pytest.fixture
def bomb(tmp_path: Path, breast_cancer: Path) -> Path:
    (tmp_path / "train.csv").write_bytes((breast_cancer / "train.csv").read_bytes())
    (tmp_path / "model.joblib").write_bytes(pickle.dumps(Bomb()))
    return tmp_path


PACK = ("pack", "model.joblib", "--data", "train.csv", "--target", "diagnosis")


def test_the_question_says_why_and_shows_the_digest_and_no_means_no(seat: Callable[..., Seat], bomb: Path) -> None:
    import hashlib

    desk = seat(*PACK)
    desk.read_until("[y/N]")
    assert hashlib.sha256((bomb / "model.joblib").read_bytes()).hexdigest() in desk.shown
    assert "can run code" in desk.shown and "system" in desk.shown
    desk.type("n\n")
    assert desk.end() == 2
    assert "error:" in desk.shown
    assert not (bomb / "exploded").exists()


def test_yes_loads_this_very_file(seat: Callable[..., Seat], bomb: Path) -> None:
    desk = seat(*PACK)
    desk.read_until("[y/N]")
    desk.type("y\n")
    assert desk.end() == 1  # it is no model, but it was loaded
    assert (bomb / "exploded").exists()


def test_steps_are_drawn_and_ticked_off(seat: Callable[..., Seat], bomb: Path) -> None:
    desk = seat(*PACK)
    desk.read_until("[y/N]")
    assert "✓ \x1b[0mreading train.csv" in desk.shown
    # A signal that comes just before the wait for input would be seen only when the input ends: so, once more.
    until = time.monotonic() + PATIENCE
    while desk.process.poll() is None and time.monotonic() < until:
        desk.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            desk.process.wait(5)
    assert desk.end() in (130, -signal.SIGINT)  # the second found Python ending already
