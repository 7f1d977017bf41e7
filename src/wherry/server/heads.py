"""Header blocks that were read before. The same bytes mean the same again, so they are looked up, not parsed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from wherry.server._quick import Quick
    from wherry.server.port import Port
    from wherry.server.protocol import Exchange

MOST = 512  # header blocks that are remembered
LONGEST = 2048  # bytes of one
QUICK_BYTES = 1 << 16  # of a body that is read at once, while all others wait
# Requests with one of these are not remembered: they change how the request is read, or differ in each request.
UNREMEMBERED = frozenset({b"expect", b"transfer-encoding", b"upgrade", b"x-request-id", b"traceparent"})
KEPT = b"keep-alive"  # many clients say so each time, though in HTTP/1.1 it says nothing


class Head(msgspec.Struct, frozen=True):
    """What a header block says, the length of the body that follows it, and what the site does with such requests."""

    method: bytes
    url: bytes
    headers: dict[bytes, bytes]  # shared by its requests: nobody may change it
    length: int
    receive: Callable[[Exchange], None]


class Way(msgspec.Struct, frozen=True):
    """How requests of one header are answered. quick: what may do it before `receive` is asked, None for nothing."""

    receive: Callable[[Exchange], None]
    quick: Quick | None = None


def remember(port: Port, exchange: Exchange, before: bytes, body: bytes) -> None:
    """Keep `before`, a header without the empty line that ends it, if it and `body` were exactly one ordinary request.

    body: what came behind that line. Call it when the parser has just completed `exchange`, which began with `before`.
    """
    headers, length = exchange.headers, len(exchange.body)
    if (
        len(before) <= LONGEST
        and length == len(body)
        and int(headers.get(b"content-length", b"0")) == length
        and not exchange.http10
        and not exchange.close
        and exchange.url.startswith(b"/")
        and headers.get(b"connection", KEPT).lower() == KEPT
        and UNREMEMBERED.isdisjoint(headers)
    ):
        if len(port.heads) >= MOST:
            port.heads.clear()
            port.ways.clear()
        way = port.site.way(exchange)
        port.heads[before] = Head(exchange.method, exchange.url, headers, length, way.receive)
        if way.quick is not None and length <= QUICK_BYTES and not port.closing:
            port.ways[before] = way.quick, length
