"""One worker's place, as the supervisor sees it: the process that fills it now, and what it has shown."""

from __future__ import annotations

import os
import signal
import time

import msgspec

from wherry.server.board import Board
from wherry.server.crew import GAUGE, TICK, Report

HEALTHY = 1.0  # seconds of being ready after which a worker that dies is replaced at once
BACKOFF = (0.1, 5.0)  # seconds before a worker that was not ready for so long is started again: first, and most
FRESH = 5.0  # seconds without a tick after which a worker does not count as ready
STARTING = 120.0  # seconds for a worker to prove itself


class Slot:
    """The place of worker `lane`."""

    def __init__(self, lane: int) -> None:
        self.lane = lane
        self.board = Board()
        self.tick = self.board.place(TICK)
        self.pid = 0  # 0: nobody fills it
        self.pipe = -1
        self.buffer = b""
        self.ready_since = 0.0  # 0: not ready
        self.due = 0.0  # when the next worker may be started
        self.wait = 0.0
        self.hung = False
        self.memory = 0

    def filled(self, pid: int, pipe: int) -> None:
        """A worker was just started."""
        self.pid, self.pipe, self.buffer = pid, pipe, b""
        self.ready_since, self.hung = 0.0, False

    def emptied(self) -> None:
        """The worker has ended; its counts stay, what it had at the moment is gone."""
        now = time.monotonic()
        lived = self.ready_since and now - self.ready_since
        self.wait = 0.0 if lived > HEALTHY else min(max(2 * self.wait, BACKOFF[0]), BACKOFF[1])
        self.due = now + self.wait
        self.pid, self.ready_since = 0, 0.0
        for name in self.board.read():
            if name.startswith(GAUGE):
                self.board.cells[self.board.place(name)] = 0.0

    def ready(self, now: float) -> bool:
        """Whether the worker answers: it said so, and was seen since."""
        return bool(self.pid and self.ready_since) and now - self.board.cells[self.tick] < FRESH

    def stuck(self, now: float, budget: float) -> bool:
        """Whether the worker has done nothing for longer than it may."""
        if not self.pid:
            return False
        return now - self.board.cells[self.tick] > (budget if self.ready_since else max(budget, STARTING))

    def started(self) -> None:
        """Before the fork: the clock of the worker begins."""
        self.board.cells[self.tick] = time.monotonic()

    def send(self, number: int) -> None:
        if self.pid:
            os.kill(self.pid, number)  # not reaped yet, so the process is there

    def kill(self) -> None:
        self.hung = True
        self.send(signal.SIGKILL)

    def read(self) -> list[Report]:
        """What the worker has reported since."""
        while True:
            try:
                part = os.read(self.pipe, 65536)
            except BlockingIOError:
                break
            if not part:
                break
            self.buffer += part
        *lines, self.buffer = self.buffer.split(b"\n")
        return [msgspec.json.decode(line, type=Report) for line in lines]
