"""A site answered through somebody else's server: ASGI 3 in, the site's own exchanges out.

What the port does with sockets is that server's business here: framing, keep-alive, slow clients, TLS. What a request
may hold, how long it may take and what it is answered are the site's, as behind its own port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import quote

from wherry.errors import DeadlinePassed, FramingWrong, HeadersTooLarge, RequestRefused, TooLarge, TooSlow
from wherry.server.headers import again, check_encoding, too_long
from wherry.server.limits import Limits
from wherry.server.port import Port, Site
from wherry.server.protocol import Connection, Exchange

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

PLAIN = "/:@!$&'()*+,;=-._~"  # of a path, what need not be quoted
LOOK = 0.25  # seconds after which it is asked whether the client is still there; most replies are there by then
# The server's to say, in its own words.
SERVERS = frozenset({b"date", b"connection"})


class Arrival(Exchange, eq=False, kw_only=True):
    """A request that another server has read. Its reply waits in `answered`."""

    answered: asyncio.Future[bytes]
    root: str

    @property
    def below(self) -> str:
        return self.root

    def send(self, reply: bytes, now: float) -> None:
        self.reply = reply
        self.connection.port.in_flight -= 1
        if not self.answered.done():
            self.answered.set_result(reply)


class Mounted:
    """An ASGI application that has `site` answer; call it in the loop that the site was made for."""

    def __init__(self, site: Site, limits: Limits, loop: asyncio.AbstractEventLoop) -> None:
        self.site, self.limits, self.loop = site, limits, loop
        # It never listens: it is what the site knows of the place where it answers.
        self.port = Port(site, limits, loop)
        self.connection = Connection(self.port)
        self.port.sweep()

    def close(self) -> None:
        """Stop the clock."""
        self.port.abort()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        arrival = self.arrival(scope)
        refused = await self.read(arrival, scope, receive)
        self.port.in_flight += 1
        try:
            if refused is None:
                self.site.receive(arrival)
            else:
                self.site.refuse(arrival, refused)
            if await self.answered(arrival, receive):
                await reply(arrival, scope, send)
        finally:
            if arrival.reply is None:  # nobody waits for it any more
                arrival.reply = b""
                self.port.in_flight -= 1

    def arrival(self, scope: Message) -> Arrival:
        root, path = quote(scope.get("root_path", "").rstrip("/")), quote(scope["path"], safe=PLAIN)
        if root and (path == root or path.startswith(f"{root}/")):  # some servers leave it in, others take it out
            path = path[len(root) :]
        asked = scope.get("query_string", b"")
        return Arrival(
            connection=self.connection,
            started=self.port.now(),
            method=scope["method"].encode(),
            url=(path or "/").encode() + (b"?" + asked if asked else b""),
            answered=self.loop.create_future(),
            root=root,
        )

    async def read(self, arrival: Arrival, scope: Message, receive: Receive) -> RequestRefused | None:
        """Take header and body in, within the limits; what it is refused with that is over one."""
        limits = self.limits
        try:
            self.take_header(arrival, scope)
            async with asyncio.timeout(limits.request_seconds):
                arrival.body = await whole(receive, limits.body_bytes)
        except RequestRefused as refused:
            return refused
        except TimeoutError:
            return TooSlow(f"the body took longer than {limits.request_seconds:g} s")
        return None

    def take_header(self, arrival: Arrival, scope: Message) -> None:
        """Raises RequestRefused for what the port itself would not read."""
        limits, headers = self.limits, arrival.headers
        size = len(arrival.url)
        if size > limits.url_bytes:
            raise too_long(limits, arrival.url)
        pairs = list(scope["headers"])
        if len(pairs) > limits.header_count:
            raise HeadersTooLarge(f"more than {limits.header_count} headers")
        for raw, value in pairs:
            name = raw.lower()
            headers[name] = value if name not in headers else again(headers, name, value)
            size += len(name) + len(value) + 4
        if size > limits.header_bytes:
            raise too_long(limits, arrival.url)
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > limits.body_bytes:
            raise TooLarge(limits.body_bytes)
        check_encoding(headers)

    async def answered(self, arrival: Arrival, receive: Receive) -> bool:
        """Wait for the reply, as long as the request may take; whether somebody still waits for it."""
        limit, gone = self.limits.request_seconds, None
        try:
            while not arrival.answered.done():
                left = arrival.started + limit - self.port.now()
                if left <= 0:
                    self.site.refuse(arrival, DeadlinePassed(limit))
                    continue
                if gone is None and self.port.now() - arrival.started >= LOOK:
                    gone = asyncio.ensure_future(disconnected(receive))
                waited: set[asyncio.Future[Any]] = {arrival.answered} if gone is None else {arrival.answered, gone}
                await asyncio.wait(waited, timeout=min(left, LOOK), return_when=asyncio.FIRST_COMPLETED)
                if gone is not None and gone.done():
                    return False
            return True
        finally:
            if gone is not None:
                gone.cancel()


async def whole(receive: Receive, most: int) -> bytes:
    """The body. Raises TooLarge as soon as it is, FramingWrong when the client goes; it is not told any more."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise FramingWrong("the body ended before it was complete")
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise TooLarge(most)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def disconnected(receive: Receive) -> None:
    """Returns once the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def reply(arrival: Arrival, scope: Message, send: Send) -> None:
    """Hand the reply over in ASGI's terms."""
    head, _, body = (arrival.reply or b"").partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = []
    for line in lines:
        name, _, value = line.partition(b": ")
        lowered = name.lower()
        if lowered not in SERVERS:
            headers.append((lowered, value))
    if arrival.close and scope.get("http_version", "1.1").startswith("1"):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": int(status.split(b" ", 2)[1]), "headers": headers})
    await send({"type": "http.response.body", "body": body})
