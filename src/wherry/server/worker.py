"""Threads that do what they are given; a call in one of them that hangs does not keep the process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Worker:
    """Daemon threads, started with the first work. One, unless more are asked for: it keeps the order."""

    def __init__(self, name: str, threads: int = 1) -> None:
        self.name, self.threads = name, threads
        self.waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.started = False

    def do(self, work: Callable[[], None]) -> None:
        """Have `work` done; it must not raise."""
        if not self.started:
            self.started = True
            for _ in range(self.threads):
                threading.Thread(target=self.run, name=self.name, daemon=True).start()
        self.waiting.put(work)

    def run(self) -> None:
        while (work := self.waiting.get()) is not None:
            work()

    def close(self) -> None:
        """End after what is waiting; not waited for."""
        for _ in range(self.threads):
            self.waiting.put(None)
