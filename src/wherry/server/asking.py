"""Asks the store for what it holds, in a process of its own: the service itself never loads a database's driver."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time

import msgspec

from wherry.errors import StoreUnreachable
from wherry.server.destination import public
from wherry.server.history import Query

PATIENCE_SECONDS = 30.0
ANSWERER = (sys.executable, "-P", "-m", "wherry.server.answering")
CHUNK = 1 << 20


class Asker:
    """Puts questions to a process that is started with the first one. Used from one thread.

    `shown` is what may be shown of the url, which may hold a password: it is never an argument of the process.
    """

    def __init__(self, url: str, shown: str) -> None:
        self.url, self.shown = url, shown
        self.process: subprocess.Popen[bytes] | None = None

    def ask(self, query: Query) -> bytes:
        """The records that `query` means, as a JSON array. Raises StoreUnreachable."""
        for last in (False, True):
            try:
                return self.answer(self.running(), query)
            except (BrokenPipeError, EOFError) as error:  # it ended meanwhile: idle for long, or killed
                self.end()
                if last:
                    raise StoreUnreachable(
                        self.shown, "the process that reads predictions ends again and again"
                    ) from error
        raise AssertionError("unreachable")

    def answer(self, process: subprocess.Popen[bytes], query: Query) -> bytes:
        assert process.stdin is not None  # asked for when it was started
        process.stdin.write(msgspec.json.encode(query) + b"\n")
        process.stdin.flush()
        line = self.line(process)
        if line.startswith(b"-"):
            raise StoreUnreachable(self.shown, line[1:].decode(errors="replace").strip())
        return line[1:]

    def line(self, process: subprocess.Popen[bytes]) -> bytes:
        """One line of the process's output. Raises EOFError, StoreUnreachable."""
        assert process.stdout is not None
        deadline, parts = time.monotonic() + PATIENCE_SECONDS, []
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                self.end()
                raise StoreUnreachable(self.shown, f"no answer within {PATIENCE_SECONDS:.0f} s")
            part = os.read(process.stdout.fileno(), CHUNK)
            if not part:
                raise EOFError
            parts.append(part)
            if part.endswith(b"\n"):
                return b"".join(parts)

    def running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            self.process = subprocess.Popen(
                ANSWERER,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=public(os.environ),
                start_new_session=True,
            )
            assert self.process.stdin is not None
            self.process.stdin.write(msgspec.json.encode(self.url) + b"\n")
        return self.process

    def end(self) -> None:
        """End the process; the next question starts another. From any thread."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError, ValueError):
                    if stream is not None:
                        stream.close()
