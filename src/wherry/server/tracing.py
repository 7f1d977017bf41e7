"""A span a request for OpenTelemetry, off the path: what was answered is put aside, and a thread makes spans of it.

Configured by the standard OTEL_ variables alone. Without an endpoint nothing of this is there: no import, no thread,
and no step on a request's way.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from wherry.contract.events import Note, Tell
from wherry.contract.manifest import Manifest
from wherry.contract.wire import Outputs, Row, Rows
from wherry.errors import ExtraMissing

if TYPE_CHECKING:
    from wherry.server.batching import Job, Settle
    from wherry.server.predictor import Predictor
    from wherry.server.protocol import Exchange

MOST = 8192  # requests that wait to become spans; what comes beyond is counted, and left out
EVERY = 0.2  # seconds between looks at them
PATIENCE = 3.0  # seconds for the last ones at the end
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


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


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether spans are to be sent: an endpoint is named, or the exporter, and nothing switches them off."""
    exporter = environ.get("OTEL_TRACES_EXPORTER", "")
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none":
        return False
    return exporter == "otlp" or any(environ.get(name) for name in ENDPOINTS)


def traces(manifest: Manifest, tell: Tell, environ: Mapping[str, str] = os.environ) -> Traces | None:
    """What `environ` asks for; None where it asks for nothing. What cannot be had is told: the service goes on."""
    if not wanted(environ):
        return None
    protocol = next((environ[name] for name in PROTOCOLS if environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        tell(Note(f"no traces are sent: {protocol} is not spoken here", warn=True, hint="http/protobuf is"))
        return None
    try:
        from wherry.server.otlp import Sdk
    except ImportError:
        missing = ExtraMissing("opentelemetry-sdk", "otel", "sending traces")
        tell(Note(f"no traces are sent: {missing}", warn=True, hint=missing.hint))
        return None
    return Traces(lambda: Sdk(manifest, environ), tell)


class Traces:
    """Takes note of every reply, as the access log does, and has an exporter make spans of them in a thread."""

    def __init__(self, open_exporter: Callable[[], Exporter], tell: Tell) -> None:
        self.open_exporter, self.tell = open_exporter, tell
        self.waiting: deque[Seen] = deque()
        self.room, self.lost = MOST, 0
        self.calls: dict[int, Scored] = {}
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, name="wherry-traces", daemon=True)
        self.thread.start()

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

        def known(jobs: Sequence[Job], rows: Rows) -> None:
            seconds, timed.seconds = timed.seconds, 0.0
            for job in jobs:
                exchange, door = job.exchange, job.door  # type: ignore[attr-defined]  # all are questions
                self.calls[id(exchange)] = Scored(door, len(job.rows), len(rows), seconds)
            try:
                settle(jobs, rows)
            finally:
                self.calls.clear()

        return known

    def run(self) -> None:
        """In the thread: make spans of what was put aside."""
        try:
            exporter = self.open_exporter()
        except Exception as error:  # noqa: BLE001  # a variable that the SDK cannot read: requests go on without spans
            self.room = 0
            self.tell(Note(f"no traces are sent: {error}", warn=True))
            return
        lost = 0
        while True:
            ended = self.ending.wait(EVERY)
            with contextlib.suppress(IndexError):
                while True:
                    exporter.record(self.waiting.popleft())
            if self.lost > lost:
                lost = self.lost
                self.tell(Note(f"{lost:,} requests left no span: more came than could be made", warn=True))
            if ended:
                exporter.close()
                return

    def close(self) -> None:
        """Send what is left, for as long as PATIENCE; a collector that does not answer keeps nobody longer."""
        self.ending.set()
        self.thread.join(PATIENCE)


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
