"""One connection to the service: writes a request, reads the reply, says how it ended. HTTP/1.1 by httptools."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import httptools

from wherry.stress.outcomes import NO_HTTP, RESET, RESET_BODY


class Pool(Protocol):
    """Who uses connections."""

    keep_body: bool

    def opened(self, line: Line) -> None: ...

    def answered(self, line: Line, status: int, body: bytes, head: bytes, keep: bool) -> None: ...

    def broken(self, line: Line, kind: str, remark: str) -> None: ...

    def lost(self, line: Line) -> None: ...


class Line(asyncio.Protocol):
    """A connection. `ask` is the number of the request under way, -1 when it is idle; `due` when that was due."""

    __slots__ = ("ask", "body", "due", "head", "keep_body", "parser", "pool", "transport")

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.keep_body = pool.keep_body
        self.ask = -1
        self.due = 0.0
        self.head = b""  # what has come of the reply until it is whole
        self.body = b""
        self.parser = httptools.HttpResponseParser(self)
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.pool.opened(self)

    def send(self, wire: bytes, ask: int, due: float) -> None:
        self.ask, self.due = ask, due
        self.transport.write(wire)

    def data_received(self, data: bytes) -> None:
        if self.ask < 0:  # a reply that nobody asked for
            self.transport.abort()
            return
        self.head = self.head + data if self.head else data
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.fail(NO_HTTP, str(error))

    def on_body(self, part: bytes) -> None:
        if self.keep_body:
            self.body += part

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        if status < 200:  # an interim reply: the real one follows
            self.head = self.body = b""
            return
        head, body, self.head, self.body = self.head, self.body, b"", b""
        self.pool.answered(self, status, body, head, self.parser.should_keep_alive())

    def fail(self, kind: str, remark: str) -> None:
        """End the connection; the request under way failed."""
        self.pool.broken(self, kind, remark)
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        if self.ask >= 0:
            if not self.head:
                self.pool.broken(self, RESET, str(error or "the service closed the connection"))
            elif error is None and ends_with_connection(self.head):
                head, self.head = self.head, b""
                self.pool.answered(self, self.parser.get_status_code(), self.body, head, False)
            else:
                self.pool.broken(self, RESET_BODY, str(error or "the service closed the connection"))
        self.pool.lost(self)


def ends_with_connection(head: bytes) -> bool:
    """Whether a reply is whole when its connection ends, as one without a length is."""
    fields, mark, _ = head.lower().partition(b"\r\n\r\n")
    return bool(mark) and b"\r\ncontent-length:" not in fields and b"chunked" not in fields
