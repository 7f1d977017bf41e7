"""One thread that does what it is given, in order; a call in it that hangs does not keep the process from ending."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue


class Worker:
    """A daemon thread, started with the first work."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.thread: threading.Thread | None = None

    def do(self, work: Callable[[], None]) -> None:
        """Have `work` done; it must not raise."""
        if self.thread is None:
            self.thread = threading.Thread(target=self.run, name=self.name, daemon=True)
            self.thread.start()
        self.waiting.put(work)

    def run(self) -> None:
        while (work := self.waiting.get()) is not None:
            work()

    def close(self) -> None:
        """End after what is waiting; not waited for."""
        self.waiting.put(None)
