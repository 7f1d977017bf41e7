"""Which requests came: a line of JSON for a share of them, and the trace that each belongs to."""

from __future__ import annotations

import random
import re
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

if TYPE_CHECKING:
    from wherry.server.protocol import Exchange

# W3C Trace Context, version 00: trace, parent, flags. All zeros are no ids.
TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traced(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The trace context that a request brought; None where it has none, or none that can be read."""
    sent = headers.get(b"traceparent")
    return sent if sent is not None and TRACEPARENT.fullmatch(sent) else None


class Noting(Protocol):
    """Takes note of each reply before it leaves; may neither wait nor raise."""

    def note(self, exchange: Exchange, request_id: str, status: int, seconds: float, door: str) -> None:
        """door: empty where predictions are answered, which are noted with their call of the model."""


class Both:
    """Has two take note."""

    def __init__(self, first: Noting, second: Noting) -> None:
        self.first, self.second = first, second

    def note(self, exchange: Exchange, request_id: str, status: int, seconds: float, door: str) -> None:
        self.first.note(exchange, request_id, status, seconds, door)
        self.second.note(exchange, request_id, status, seconds, door)


class AccessLog:
    """Lines on standard output: of `share` of the requests, and of each that was not answered well."""

    def __init__(self, share: float) -> None:
        self.share = share

    def note(self, exchange: Exchange, request_id: str, status: int, seconds: float, door: str) -> None:
        if status < 400 and self.share < 1.0 and random.random() >= self.share:
            return
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "request_id": request_id,
            "method": exchange.method.decode("latin-1"),
            "path": exchange.url.partition(b"?")[0].decode("latin-1"),  # a query may hold a record
            "status": status,
            "ms": round(1000 * seconds, 3),
        }
        if (trace := traced(exchange.headers)) is not None:
            line["trace_id"] = trace[3:35].decode()
        sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
        sys.stdout.buffer.flush()
