"""A span a request for OpenTelemetry, off the path: what was answered is put aside, and a thread makes spans of it."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from wherry.contract.events import Note, Tell
from wherry.contract.wire import Gathered, Outputs, Row
from wherry.server.collector import Collector, Sending, Signal

if TYPE_CHECKING:
    from wherry.server.batching import Job, Settle
    from wherry.server.predictor import Predictor
    from wherry.server.protocol import Exchange

MOST = 8192  # requests that wait to become spans; what comes beyond is counted, and left out
EVERY = 0.2  # seconds between looks at them


class Scored(msgspec.Struct, frozen=True):
    """One call of the model, as a request sees it. batch: rows of all requests that were scored together."""

    door: str
    rows: int
    batch: int
    seconds: float


class Seen(msgspec.Struct, frozen=True):
    """One request that was answered, at `end` (nanoseconds since 1970)."""

    method: str
    path: str
    door: str
    status: int
    request_id: str
    end: int
    seconds: float
    context: tuple[str, str]  # traceparent and tracestate, as they came
    scored: Scored | None = None


class Exporter(Protocol):
    """What makes spans, and sends them in a thread of its own."""

    def record(self, seen: Seen) -> None: ...

    def close(self) -> None: ...


def traces(collector: Collector, tell: Tell) -> Traces | None:
    """What the collector asks for; None where it asks for nothing."""
    otlp = collector.sdk("traces", tell)
    return None if otlp is None else Traces(lambda: otlp.Spans(collector), tell)


class Traces(Sending[Exporter]):
    """Takes note of every reply, as the access log does, and has an exporter make spans of them in a thread."""

    signal: Signal = "traces"

    def __init__(self, open_exporter: Callable[[], Exporter], tell: Tell, every: float = EVERY) -> None:
        self.waiting: deque[Seen] = deque()
        self.room, self.lost, self.told = MOST, 0, 0
        self.calls: dict[int, Scored] = {}
        super().__init__(open_exporter, every, tell)

    def note(self, exchange: Exchange, request_id: str, status: int, seconds: float, door: str) -> None:
        """Put a request aside. Never waits and never fails."""
        if len(self.waiting) >= self.room:
            self.lost += 1
            return
        headers, scored = exchange.headers, self.calls.get(id(exchange))
        context = (headers.get(b"traceparent", b""), headers.get(b"tracestate", b""))
        self.waiting.append(
            Seen(
                method=exchange.method.decode("latin-1"),
                path=exchange.url.partition(b"?")[0].decode("latin-1"),  # a query may hold a record
                door=scored.door if scored is not None else door,
                status=status,
                request_id=request_id,
                end=time.time_ns(),
                seconds=seconds,
                context=(context[0].decode("latin-1"), context[1].decode("latin-1")),
                scored=scored,
            )
        )

    def settling(self, settle: Settle, timed: Timed) -> Settle:
        """The same, where each request's reply is known to come from this call of the model."""

        def known(jobs: Sequence[Job], rows: Gathered) -> None:
            seconds, timed.seconds = timed.seconds, 0.0
            for job in jobs:
                exchange, door = job.exchange, job.door  # type: ignore[attr-defined]  # all are questions
                self.calls[id(exchange)] = Scored(door, len(job.rows), len(rows), seconds)
            try:
                settle(jobs, rows)
            finally:
                self.calls.clear()

        return known

    def unable(self) -> None:
        self.room = 0

    def give(self, exporter: Exporter) -> None:
        """In the thread: have spans made of what was put aside."""
        with contextlib.suppress(IndexError):
            while True:
                exporter.record(self.waiting.popleft())
        if self.lost > self.told:
            self.told = self.lost
            self.tell(Note(f"{self.told:,} requests left no span: more came than could be made", warn=True))


class Timed:
    """The same predictor. seconds: what it took since its last call was settled, added up."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.seconds = predictor, 0.0

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        start = time.perf_counter()
        try:
            return self.predictor.score(rows, probabilities)
        finally:
            self.seconds += time.perf_counter() - start
