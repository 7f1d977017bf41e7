"""Moves rows from the spool into the database, in a process of its own, whatever ends it and whenever.

Rows and the place up to which the spool was read are committed in one transaction, and a row's id is unique: however
often it is killed and started again, every row ends up in the database once. It ends when it is told to and the spool
is empty, and at once when the service is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from wherry.server import segments
from wherry.server.keeper import FLUSH_SECONDS, Report, Task
from wherry.server.mover import Mover
from wherry.server.sinks import Sink, SinkAway, SinkUnclear
from wherry.server.upkeep import Upkeep

IDLE_SECONDS = 0.05  # how long a row that was committed may go unnoticed
RETRY_SECONDS = (0.1, 5.0)
CAREFUL_AFTER = 5  # tries that the database refuses for a reason unknown to us: then rows go one by one


class Writer:
    """The loop: move what is there, else wait; report; end with the service."""

    def __init__(self, task: Task, service: Service) -> None:
        self._folder = Path(task.folder)
        self._service = service
        self._sink = Sink(task.url)
        self._mover: Mover | None = None
        self._upkeep = Upkeep(task, self._sink, lambda text: self._say(Report(note=text)))
        self._unclear = 0
        self._reported: Report | None = None
        self._troubled = ""

    def run(self) -> None:
        wait = RETRY_SECONDS[0]
        while True:
            try:
                moved = self._move()
            except SinkAway as error:
                # What the database has is asked again, and its schema looked at: anything may have happened to it.
                self._mover = None
                self._unclear = self._unclear + 1 if isinstance(error, SinkUnclear) else 0
                self._say(Report(trouble=str(error)))
                if self._service.out_of_time():
                    return
                self._service.wait(wait * random.uniform(0.5, 1))  # not all pods at once
                wait = min(wait * 2, RETRY_SECONDS[1])
                continue
            wait = RETRY_SECONDS[0]
            busy = not self._service.closing and self._upkeep.step()
            if not moved:
                self._unclear = 0
                if self._service.closing:
                    return
                if not busy:
                    self._service.wait(IDLE_SECONDS)
            elif self._service.out_of_time():
                return

    def _move(self) -> bool:
        """Move one stretch of rows; whether there was any."""
        if self._mover is None:
            self._sink.migrate()
            careful = self._unclear >= CAREFUL_AFTER
            self._mover = Mover(self._folder, self._sink, batch_rows=self._sink.backend.batch_rows, careful=careful)
            self._report(self._mover)
        moved = self._mover.step()
        self._report(self._mover)
        return moved

    def _report(self, mover: Mover) -> None:
        at = mover.progress
        self._troubled = ""
        self._say(Report(at.sequence, at.poison, at.duplicates))

    def _say(self, report: Report) -> None:
        if report.note:
            pass  # said once
        elif report.trouble:
            if report.trouble == self._troubled:
                return
            self._troubled = report.trouble
        elif report == self._reported:
            return
        else:
            self._reported = report
        with contextlib.suppress(OSError):  # nobody listens any more; `Service` knows
            os.write(1, msgspec.json.encode(report) + b"\n")


class Service:
    """What the service wants of its writer, heard on the writer's input by a thread of its own.

    A word there: take what is there, and end. Its end: the service is gone, and whoever comes next waits for this
    process to be gone too; as nothing is lost by ending it in the middle of a transaction, it ends there and then.
    """

    def __init__(self) -> None:
        self._closing = threading.Event()
        self._deadline = float("inf")
        threading.Thread(target=self._listen, name="wherry-listen", daemon=True).start()

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    def out_of_time(self) -> bool:
        return time.monotonic() > self._deadline

    def wait(self, seconds: float) -> None:
        """Wait; less when the service is about to end."""
        if self.closing:
            time.sleep(min(seconds, 0.2))
        else:
            self._closing.wait(seconds)

    def _listen(self) -> None:
        while os.read(0, 64):
            self._deadline = time.monotonic() + FLUSH_SECONDS
            self._closing.set()
        os._exit(0)


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    os.nice(5)  # every millisecond on this machine is a caller's first
    task = msgspec.json.decode(read_line(), type=Task)
    service = Service()
    lock = os.open(Path(task.folder) / segments.WRITER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # the writer of a service that was killed ends as soon as it notices
    Writer(task, service).run()
    return 0


def read_line() -> bytes:
    """The first line of the input, and not a byte more: what follows is for `Service`."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1)
        if not more:
            raise SystemExit(2)
        line += more
    return line


if __name__ == "__main__":
    sys.exit(main())
