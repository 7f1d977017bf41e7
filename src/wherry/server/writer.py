"""Moves rows from the spool into the database, in a process of its own, whatever ends it and whenever.

Rows and the place up to which the spool was read are committed in one transaction, and a row's id is unique: however
often it is killed and started again, every row ends up in the database once. It ends when its input does and the spool
is empty.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import time
from pathlib import Path

import msgspec

from wherry.server import segments
from wherry.server.keeper import FLUSH_SECONDS, Report, Task
from wherry.server.mover import Mover
from wherry.server.sinks import Sink, SinkAway

IDLE_SECONDS = 0.05  # how long a row that was committed may go unnoticed
RETRY_SECONDS = (0.1, 5.0)


class Writer:
    """The loop: move what is there, else wait; report; end with the service."""

    def __init__(self, task: Task) -> None:
        self._folder = Path(task.folder)
        self._sink = Sink(task.url)
        self._mover: Mover | None = None
        self._deadline: float | None = None
        self._reported: Report | None = None
        self._troubled = ""

    def run(self) -> None:
        wait = RETRY_SECONDS[0]
        while True:
            try:
                moved = self._move()
            except SinkAway as error:
                self._say(Report(trouble=str(error)))
                if self._out_of_time():
                    return
                self._idle(wait)
                wait = min(wait * 2, RETRY_SECONDS[1])
                continue
            wait = RETRY_SECONDS[0]
            if not moved:
                if self._deadline is not None:
                    return
                self._idle(IDLE_SECONDS)
            elif self._out_of_time():
                return

    def _move(self) -> bool:
        """Move one stretch of rows; whether there was any."""
        if self._mover is None:
            self._sink.migrate()
            self._mover = Mover(self._folder, self._sink)
            self._report(self._mover)
        moved = self._mover.step()
        self._report(self._mover)
        return moved

    def _report(self, mover: Mover) -> None:
        at = mover.progress
        self._troubled = ""
        self._say(Report(at.sequence, at.poison, at.duplicates))

    def _say(self, report: Report) -> None:
        if report.trouble:
            if report.trouble == self._troubled:
                return
            self._troubled = report.trouble
        elif report == self._reported:
            return
        else:
            self._reported = report
        try:
            os.write(1, msgspec.json.encode(report) + b"\n")
        except OSError:  # nobody listens any more
            self._end_soon()

    def _idle(self, seconds: float) -> None:
        """Wait; when the service is gone, notice."""
        if self._deadline is not None:
            time.sleep(min(seconds, 0.2))
        elif select.select([0], [], [], seconds)[0] and not os.read(0, 1024):
            self._end_soon()

    def _end_soon(self) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + FLUSH_SECONDS

    def _out_of_time(self) -> bool:
        if self._deadline is None and select.select([0], [], [], 0)[0] and not os.read(0, 1024):
            self._end_soon()
        return self._deadline is not None and time.monotonic() > self._deadline


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    os.nice(5)  # every millisecond on this machine is a caller's first
    task = msgspec.json.decode(read_line(), type=Task)
    lock = os.open(Path(task.folder) / segments.WRITER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # the writer of a service that was killed may still be at it, for ten seconds
    Writer(task).run()
    return 0


def read_line() -> bytes:
    """The first line of the input, and not a byte more: what follows is waited for with select."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1)
        if not more:
            raise SystemExit(2)
        line += more
    return line


if __name__ == "__main__":
    sys.exit(main())
