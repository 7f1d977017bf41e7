"""HTTP/1.1 on httptools (llhttp): bytes of one connection in, whole requests out, replies in the order of the requests.

Strict: what could be read in two ways is refused with 400 and the connection closed. Every limit is in `Limits`; the
clocks of all connections are looked at together, by `Port.sweep`. A header block that is, byte for byte, one that was
read before means what it meant then: it is looked up, not parsed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools
import msgspec

from wherry.errors import FramingWrong, HeadersTooLarge, Overloaded, RequestRefused, TooLarge
from wherry.server.headers import again, check_encoding, too_long
from wherry.server.heads import remember
from wherry.server.line import Line

if TYPE_CHECKING:
    from wherry.server.port import Port

END = b"\r\n\r\n"  # of a header block
TOGETHER = 4  # requests that one connection may have answered while all others wait
SLICE = 4096  # bytes given to the parser at a time, so that limits and back-pressure act within that many bytes
STATUS_LINES = {s.value: b"HTTP/1.1 %d %s\r\n" % (s.value, s.phrase.encode()) for s in HTTPStatus}
IDLE, HEAD, BODY, LINGER, GONE = range(5)  # what a connection is waiting for


class Exchange(msgspec.Struct, eq=False):
    """One request and, once `answer` was called, its reply. Header names are in lower case.

    A struct, because one is made for every request: that takes a third of the time that a class takes.
    """

    connection: Connection
    started: float  # when the header was complete, by the port's clock
    method: bytes = b""
    url: bytes = b""
    headers: dict[bytes, bytes] = {}  # msgspec gives each its own
    body: bytes = b""
    reply: bytes | None = None  # None: somebody still waits for it
    request_id: str = ""  # the site's to set
    http10: bool = False
    close: bool = False  # whether the connection ends with this reply

    @property
    def below(self) -> str:
        """The path that the site is mounted below; empty where it has a port of its own."""
        return ""

    def answer(self, status: int, fields: bytes, body: bytes, close: bool = False) -> None:
        """Send the reply when its turn comes; `fields` are complete header lines. Only the first answer counts."""
        if self.reply is not None:
            return
        port = self.connection.port
        if close or port.closing:
            self.close = True
        if self.close:
            fields += b"Connection: close\r\n"
        elif self.http10:
            fields += b"Connection: keep-alive\r\n"
        size = len(body)
        if self.method == b"HEAD":
            body = b""
        self.send(
            b"%b%b%bContent-Length: %d\r\n\r\n%b" % (STATUS_LINES[status], port.date, fields, size, body), port.now()
        )

    def send(self, reply: bytes, now: float) -> None:
        """The same with a whole reply, of which none was given yet."""
        self.reply = reply
        connection = self.connection
        connection.port.in_flight -= 1
        owed = connection.owed
        if len(owed) == 1 and connection.state == IDLE and not self.close and not connection.held:
            # What nearly every reply is: the only one owed, on a connection that goes on.
            owed.clear()
            connection.write(reply)
            connection.since = now
        else:
            connection.send()


class Connection(Line, asyncio.Protocol):
    """One connection of `port`."""

    transport: asyncio.Transport
    exchange: Exchange  # the request that is being read, or was last

    def __init__(self, port: Port) -> None:
        self.port = port
        self.limits = port.limits
        self.most_owed = port.limits.owed
        self.state = GONE
        self.since = 0.0  # when the state began
        self.fresh = True  # no request has been read yet
        self.owed: deque[Exchange] = deque()  # requests whose replies have not been sent, in order
        self.backlog = b""  # read from the socket, not yet given to the parser
        self.held = False  # nothing is read from the socket until the backlog is done
        self.resuming = False  # whether `resume` is on its way
        self.writable = True
        self.deaf = False  # the client sends nothing more
        self.stalled = 0.0  # since when the client has not taken what was written; 0: it has
        self.ways = port.ways  # for what is compiled, as `write`
        self.reset()

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not say so
        self.write = self.transport.write
        self.state, self.since = IDLE, self.port.now()
        if not self.port.admit(self):
            self.refuse(Overloaded("all connections of this service are in use"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = GONE
        self.port.forget(self)
        self.give_up()
        # Each holds this connection too: their memory would wait for the collector.
        del self.parser, self.exchange, self.write

    def eof_received(self) -> bool:
        """A client may close its side and still wait for what it is owed."""
        self.deaf = True
        if self.backlog:
            return True  # what came before the end is read first
        if not self.owed:
            return False
        if self.state != LINGER:
            self.owed[-1].close = True
            self.linger()
        return True

    def pause_writing(self) -> None:
        self.writable, self.stalled = False, self.port.now()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.writable, self.stalled = True, 0.0
        self.go_on()

    def read(self, data: bytes) -> None:
        begins = self.state == IDLE
        head = None
        before, ended, body = data.partition(b"\r\n\r\n")  # written out: every request comes by here
        if begins and self.writable and not self.backlog and len(self.owed) < self.most_owed:
            # A request begins: it is looked up when all of it is here and its header is known.
            port = self.port
            head = port.heads.get(before)
            if head is not None and len(body) == head.length and ended:
                exchange = self.exchange = Exchange(self, port.now(), head.method, head.url, head.headers, body)
                self.fresh = False
                self.owed.append(exchange)
                port.in_flight += 1
                head.receive(exchange)
                return
        if self.state >= LINGER:
            return
        # More than it takes at a time, or more than one request, it seems.
        if self.backlog or len(data) > SLICE or not self.readable or END in body:
            self.backlog += data
            self.drain()
            return
        self.feed(data)
        if begins and head is None and self.state == IDLE:
            remember(self.port, self.exchange, before, body)

    if not hasattr(Line, "data_received"):
        data_received = read  # what was compiled calls that itself

    def go_on(self) -> None:
        """Have what was held back read in the next turn of the loop."""
        if not self.resuming:
            self.resuming = True
            self.port.loop.call_soon(self.resume)

    def resume(self) -> None:
        self.resuming = False
        if self.state < GONE and self.readable:
            self.drain()
            if self.readable and not self.backlog and not self.transport.is_closing():
                self.held = False
                self.transport.resume_reading()

    @property
    def readable(self) -> bool:
        return self.writable and len(self.owed) < self.most_owed

    def drain(self) -> None:
        """Give the backlog to the parser, a few requests in each turn, as long as the client takes its replies."""
        view, place, begun = memoryview(self.backlog), 0, 0
        while place < len(view) and self.readable and self.state < LINGER:
            if self.state == IDLE and begun == TOGETHER:
                self.go_on()
                break
            begun += self.state == IDLE
            if self.state == BODY:
                # Within a body of known length nothing can be hidden, so a large one may be fed in large slices.
                size = min(self.remaining, 1 << 16) if self.remaining > 0 else SLICE
            else:
                end = self.backlog.find(END, place, place + SLICE)
                size = end + len(END) - place if end >= 0 else SLICE
            self.feed(bytes(view[place : place + size]))
            place += size
        self.backlog = b"" if self.state >= LINGER else bytes(view[place:])
        if self.backlog:
            self.held = True
            self.transport.pause_reading()
        elif self.deaf and not self.eof_received():
            self.transport.close()

    # The parser's side

    def reset(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.exchange = Exchange(self, 0.0)
        self.parts: list[bytes] = []
        self.head_bytes = 0  # url and headers that are complete
        self.head_fed = 0  # bytes fed since the request began, in whole slices
        self.head_count = 0
        self.received = 0  # body bytes
        self.remaining = 0
        self.body_fed = 0  # wire bytes since the header ended: a chunked body's framing may not outgrow it

    def feed(self, data: bytes) -> None:
        if self.state == IDLE:
            self.state = HEAD
            if not self.fresh:
                self.since = self.port.now()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self.go_on_without_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, RequestRefused):
                raise
            self.refuse(cause)
            return
        except httptools.HttpParserError as error:
            if self.state < LINGER:  # else: bytes after the last request, which nobody will answer
                self.refuse(FramingWrong(f"this is not a clear HTTP/1.1 request: {error}"))
            return
        if self.state == HEAD:
            self.head_fed += len(data)
            if self.head_fed > self.port.limits.header_bytes + SLICE:
                self.refuse(too_long(self.limits, self.exchange.url))
        elif self.state == BODY:
            self.body_fed += len(data)
            if self.body_fed > 2 * self.received + 16 * SLICE:
                self.refuse(FramingWrong("the body's chunks are too small"))

    def go_on_without_upgrade(self, rest: bytes) -> None:
        """Read the request again as if it had not offered to change the protocol, as RFC 9110 allows (7.8)."""
        offered = self.exchange
        if offered.method == b"CONNECT":
            self.refuse(FramingWrong("this is a service, not a proxy"))
            return
        since = self.since
        self.reset()
        self.state, self.since = HEAD, since
        dropped = (b"connection", b"upgrade", b"http2-settings")
        lines = [b"%b: %b\r\n" % pair for pair in offered.headers.items() if pair[0] not in dropped]
        self.feed(b"%b %b HTTP/1.1\r\n%b\r\n" % (offered.method, offered.url, b"".join(lines)) + rest)

    def on_message_begin(self) -> None:
        self.exchange = Exchange(self, 0.0)
        self.head_bytes = self.head_fed = self.head_count = self.received = self.body_fed = 0
        self.state = HEAD

    def on_url(self, part: bytes) -> None:
        exchange = self.exchange
        exchange.url = exchange.url + part if exchange.url else part
        self.head_bytes += len(part)
        if self.head_bytes > self.limits.url_bytes:
            raise too_long(self.limits, self.exchange.url)

    def on_header(self, name: bytes, value: bytes) -> None:
        limits = self.limits
        self.head_bytes += len(name) + len(value) + 4
        self.head_count += 1
        if self.head_bytes > limits.header_bytes:
            raise too_long(self.limits, self.exchange.url)
        if self.head_count > limits.header_count:
            raise HeadersTooLarge(f"more than {limits.header_count} headers")
        if self.state == BODY:
            return  # a trailer: counted, and left aside
        name = name.lower()
        headers = self.exchange.headers
        headers[name] = value if name not in headers else again(headers, name, value)

    def on_headers_complete(self) -> None:
        exchange, parser, port = self.exchange, self.parser, self.port
        headers = exchange.headers
        exchange.method = parser.get_method()
        exchange.started = self.since = port.now()
        exchange.http10 = parser.get_http_version() == "1.0"
        exchange.close = not parser.should_keep_alive()
        self.state = BODY
        if b"host" not in headers and not exchange.http10:
            raise FramingWrong("HTTP/1.1 asks for a Host header, and none came")
        self.remaining = 0
        if b"transfer-encoding" in headers:
            if exchange.http10 or headers[b"transfer-encoding"].lower() != b"chunked":
                raise FramingWrong("the only Transfer-Encoding read here is chunked, in HTTP/1.1")
        elif b"content-length" in headers:
            self.remaining = int(headers[b"content-length"])
            if self.remaining > port.limits.body_bytes:
                raise TooLarge(port.limits.body_bytes)
        if b"content-encoding" in headers:
            check_encoding(headers)
        if b"expect" in headers:
            if headers[b"expect"].lower() != b"100-continue":
                raise FramingWrong("the only Expect read here is 100-continue")
            # With replies still owed the client sends the body unasked a little later: an early 100 would be misread.
            if not self.owed and not exchange.http10:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        self.received += len(part)
        self.remaining -= len(part)
        if self.received > self.port.limits.body_bytes:
            raise TooLarge(self.port.limits.body_bytes)
        self.parts.append(part)

    def on_message_complete(self) -> None:
        exchange, parts = self.exchange, self.parts
        if self.parser.should_upgrade():
            return  # feed goes on
        if parts:
            exchange.body = parts[0] if len(parts) == 1 else b"".join(parts)
            self.parts = []
        self.fresh = False
        self.state, self.since = IDLE, exchange.started
        self.owed.append(exchange)
        self.port.in_flight += 1
        if exchange.close:
            self.linger()
        self.port.site.receive(exchange)

    # Replies

    def send(self) -> None:
        """Write every reply whose turn has come."""
        owed = self.owed
        while owed and owed[0].reply is not None:
            exchange = owed.popleft()
            self.transport.write(exchange.reply or b"")
            if exchange.close:
                self.finish()
                return
        if not owed and self.state == IDLE:
            self.since = self.port.now()
        if self.held:
            self.go_on()

    def refuse(self, error: RequestRefused) -> None:
        """Answer what cannot be read any further, after the replies that are owed, and end the connection."""
        exchange = self.exchange
        if exchange.method == b"" or exchange.reply is not None or exchange in self.owed:
            exchange = Exchange(self, self.port.now())
        exchange.started = exchange.started or self.port.now()
        exchange.close = True
        self.port.in_flight += 1
        self.owed.append(exchange)
        self.linger()
        self.port.site.refuse(exchange, error)

    def give_up(self) -> None:
        """Nobody waits for what is still owed."""
        for exchange in self.owed:
            if exchange.reply is None:
                exchange.reply = b""
                self.port.in_flight -= 1
        self.owed.clear()

    def linger(self) -> None:
        """Read no further request; what still comes is forgotten."""
        self.state, self.since, self.parts, self.backlog = LINGER, self.port.now(), [], b""

    def finish(self) -> None:
        """End the connection once what is written has left. Half-closed first: a reset could overtake the reply."""
        self.give_up()
        if self.state != LINGER:
            self.linger()
        self.since = self.port.now()
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof() and not self.deaf:
            self.transport.write_eof()
            if self.writable:
                self.transport.resume_reading()
        else:
            self.transport.close()
