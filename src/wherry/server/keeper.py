"""Keeps the writer alive: the process of its own that moves rows from the spool into the database."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from wherry.contract.events import Note, Tell
from wherry.contract.views import View
from wherry.server.destination import public
from wherry.server.history import Keep

FLUSH_SECONDS = 10.0  # what a stopping service waits for the database
BACKOFF_SECONDS = (0.1, 5.0)  # before a writer that died is started again: first, and most
HEALTHY_SECONDS = 10.0  # a writer that lived so long is started again at once
WRITER = (sys.executable, "-P", "-m", "wherry.server.writer")


class Task(msgspec.Struct, frozen=True):
    """What the writer is told, in the first line it reads. The url may hold a password: it is never an argument."""

    folder: str
    url: str
    keep: Keep = Keep()
    views: dict[str, View] = {}


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line the writer prints. done: every row numbered below it is in the database, or is one of `poison`."""

    done: int = 0
    poison: int = 0
    duplicates: int = 0
    trouble: str = ""  # why nothing moves now; empty when things move
    note: str = ""  # something else that people should know


class Keeper:
    """Starts the writer, starts it again whenever it ends, and knows what it reported last."""

    def __init__(
        self,
        task: Task,
        tell: Tell,
        command: Sequence[str] = WRITER,
        backoff: tuple[float, float] = BACKOFF_SECONDS,
    ) -> None:
        self.begin: Report | None = None  # what was done before this service's writer first moved anything
        self.latest: Report | None = None
        self.pid = 0
        self._task = task
        self._tell = tell
        self._command = command
        self._backoff = backoff
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = threading.Event()
        self._over = False  # no writer is to run any more
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="wherry-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, *, waiting: bool = True) -> None:
        """Let the writer take what is there, for at most ten seconds; then it is ended.

        Where nothing is `waiting`, one that is still on its way to the database is ended at once.
        """
        if not self._thread.is_alive():
            return
        with self._lock:
            self._over = not waiting and self.begin is None
            self._closing.set()
            if self._process is not None and self._over:
                self._process.kill()
            elif self._process is not None:
                self._dismiss(self._process)
        self._thread.join(FLUSH_SECONDS + 2)
        with self._lock:
            self._over = True
            if self._process is not None:
                self._process.kill()
        self._thread.join()

    def _run(self) -> None:
        wait, most = self._backoff
        while True:
            last = self._closing.is_set()
            began = time.monotonic()
            code = self._watch()
            if self._closing.is_set() and (last or code == 0 or self._over):
                return
            if time.monotonic() - began > HEALTHY_SECONDS:
                wait = self._backoff[0]
            elif wait == most:
                self._tell(Note(f"the process that stores predictions ends with status {code} again and again", True))
            self._closing.wait(wait)
            wait = min(wait * 2, most)

    def _watch(self) -> int:
        """Run the writer once, to its end."""
        with self._lock:
            if self._over:
                return 0
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=public(os.environ),
                start_new_session=True,  # a Ctrl-C at the terminal is for the service, which then lets the writer end
            )
            assert process.stdin is not None and process.stdout is not None  # asked for just above
            self._process, self.pid = process, process.pid
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(msgspec.json.encode(self._task) + b"\n")
                process.stdin.flush()
            if self._closing.is_set():
                self._dismiss(process)
        with process.stdout:
            for line in process.stdout:
                with contextlib.suppress(msgspec.DecodeError):
                    self._take(msgspec.json.decode(line, type=Report))
        code = process.wait()
        with self._lock:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            self._process = None
        return code

    def _dismiss(self, process: subprocess.Popen[bytes]) -> None:
        """Tell the writer to take what is there, and end. The end of its input would tell it that we are gone."""
        if process.stdin is not None and not process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(b"end\n")
                process.stdin.flush()

    def _take(self, report: Report) -> None:
        if report.note:
            self._tell(Note(report.note, True))
            return
        if report.trouble:
            where = Path(self._task.folder)
            self._tell(Note(f"predictions wait in {where}: {report.trouble}", True))
            return
        if self.begin is None:
            self.begin = report
        self.latest = report
