"""A few requests a second through the Service while a rollout runs: what its users would have seen of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType

import msgspec

from wherry.deploy.cluster import Answer
from wherry.deploy.probe import from_api_server
from wherry.errors import ClusterFailed, NoCluster

PER_SECOND = 10.0
WINDOW_SECONDS = 5.0


class Seen(msgspec.Struct, frozen=True):
    """failed: no answer, or one of status 500 and more. p99_ms: of the worst few seconds."""

    requests: int = 0
    failed: int = 0
    p99_ms: float = 0.0


class Steady:
    """Asks from entering to leaving; `seen` is what came of it so far. What may not be asked is left alone."""

    def __init__(self, ask: Callable[[], Answer] | None) -> None:
        self._ask = ask
        self._stop = threading.Event()
        self._asked: list[tuple[float, float]] = []  # when, and how long it took, in seconds
        self._failed = 0
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Steady:
        if self._ask is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._ask is not None:
            self._thread.join()

    @property
    def seen(self) -> Seen:
        return Seen(len(self._asked), self._failed, round(1000 * worst_p99(self._asked), 1))

    def _run(self) -> None:
        assert self._ask is not None
        while not self._stop.wait(1 / PER_SECOND):
            began = time.monotonic()
            try:
                answer = self._ask()
            except NoCluster:
                continue  # the way to the cluster is ours, not the service's
            except ClusterFailed:
                return  # not permitted: nothing can be said
            self._asked.append((began, time.monotonic() - began))
            self._failed += answer.status >= 500 or from_api_server(answer)


def worst_p99(asked: list[tuple[float, float]]) -> float:
    """The highest 99th percentile of any few seconds."""
    windows: dict[int, list[float]] = {}
    for when, took in asked:
        windows.setdefault(int(when / WINDOW_SECONDS), []).append(took)
    return max((sorted(each)[len(each) * 99 // 100] for each in windows.values()), default=0.0)
