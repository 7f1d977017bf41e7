"""What the writer does for the database now and then: the project's views made, and what is old removed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from wherry.server.keeper import Task
from wherry.server.sinks import RowsRefused, Sink, SinkAway, SinkDenied, SinkUnclear
from wherry.server.sinks import views as showing
from wherry.server.sinks.retention import Retention

EVERY_SECONDS = 900.0
AGAIN_SECONDS = 10.0  # after the database was away
PRUNE = (
    "old predictions are not removed, as this account may not: `wherry history prune` with the owner's account does it"
)


class Upkeep:
    """Done in small steps between those of the mover, and never at its cost: what fails is told once, and left."""

    def __init__(self, task: Task, sink: Sink, tell: Callable[[str], None]) -> None:
        self._task, self._sink, self._tell = task, sink, tell
        self._steps: Iterator[None] | None = None
        self._due = 0.0
        self._told: set[str] = set()

    def step(self) -> bool:
        """Do a little of what is due; whether there is more."""
        if self._steps is None:
            if time.monotonic() < self._due:
                return False
            self._due = time.monotonic() + EVERY_SECONDS
            self._steps = self._all()
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None
        except SinkDenied:
            self._say(PRUNE)
            self._steps = None
        except (SinkUnclear, RowsRefused) as error:
            self._say(f"old predictions are not removed: {error}")
            self._steps = None
        except SinkAway:  # the mover finds it away, too, and says so
            self._steps, self._due = None, time.monotonic() + AGAIN_SECONDS
        return self._steps is not None

    def _all(self) -> Iterator[None]:
        for name, why in showing.missing(self._sink, self._task.views):
            self._say(f"the view {name} is not made: {why}")
        yield
        if self._task.keep:
            retention = Retention(self._sink)
            before = retention.bound(self._task.keep)
            yield
            if before:
                for _ in retention.prune(before):
                    yield

    def _say(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)
