"""What /metrics shows, sent to a collector: the same figures, by one process of a service, over all its workers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

from wherry.contract.events import Note, Tell
from wherry.contract.wire import METRICS
from wherry.server.collector import Collector, Sending, Signal

EVERY = "OTEL_METRIC_EXPORT_INTERVAL"
USUAL = "60000"  # milliseconds, as OpenTelemetry has it
PATIENCE = 5.0  # seconds for the admin port


class Points(Protocol):
    """What makes data points of the text of /metrics, and sends them."""

    def send(self, text: str) -> None: ...

    def close(self) -> None: ...


class Meter(Sending[Points]):
    """Sends what `read` says, the text of /metrics."""

    signal: Signal = "metrics"

    def __init__(self, open_exporter: Callable[[], Points], read: Callable[[], str], every: float, tell: Tell) -> None:
        self.read = read
        super().__init__(open_exporter, every, tell)

    def give(self, exporter: Points) -> None:
        with contextlib.suppress(OSError):  # the next reading holds all of this one
            exporter.send(self.read())


def meter(collector: Collector, read: Callable[[], str], begun: int, tell: Tell) -> Meter | None:
    """What the collector asks for; None where it asks for nothing. begun: since when is counted (ns since 1970)."""
    otlp = collector.sdk("metrics", tell)
    if otlp is None:
        return None
    text = collector.environ.get(EVERY) or USUAL
    if not text.isdecimal() or int(text) == 0:
        tell(Note(f"no metrics are sent: {EVERY} is {text!r}", warn=True, hint="it is a number of milliseconds"))
        return None
    return Meter(lambda: otlp.Points(collector, begun), read, int(text) / 1000, tell)


def fetch(address: str) -> str:
    """The text of /metrics, from the admin port of this service. Raises OSError."""
    import http.client  # here: it takes 15 ms, which no start need wait for

    try:
        with contextlib.closing(http.client.HTTPConnection(address, timeout=PATIENCE)) as connection:
            connection.request("GET", METRICS)
            return connection.getresponse().read().decode()
    except http.client.HTTPException as error:
        raise ConnectionError(str(error)) from error
