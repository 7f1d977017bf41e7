"""One listening port: its connections, their clocks, and the site that answers."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from wherry.errors import DeadlinePassed, RequestRefused, TooSlow
from wherry.server.heads import Head, Way
from wherry.server.limits import Limits
from wherry.server.ports import BACKLOG, deafen, unread, waiting
from wherry.server.protocol import BODY, GONE, HEAD, IDLE, LINGER, Connection, Exchange
from wherry.server.tls import Certificate, Secured

if TYPE_CHECKING:
    from wherry.server._quick import Quick

FRESH = 0.5  # seconds for the first request of a connection that was accepted just before the end
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TICK = 0.25  # seconds between looks at the clocks
SOONEST = 0.01  # the same, where a request's time ends before
TOGETHER = 32  # connections that are looked at while everything else waits


class Site(Protocol):
    """What answers the requests of a port. Neither call may raise; each exchange is answered once, now or later."""

    def receive(self, exchange: Exchange) -> None:
        """Answer a complete request."""

    def refuse(self, exchange: Exchange, error: RequestRefused) -> None:
        """Answer a request that cannot be read; its connection ends with the reply."""

    def way(self, exchange: Exchange) -> Way:
        """What does the same as `receive` for every request whose header is, byte for byte, that of `exchange`."""


class Port:
    """Accepts connections for `site` within `limits`."""

    def __init__(
        self, site: Site, limits: Limits, loop: asyncio.AbstractEventLoop, certificate: Certificate | None = None
    ) -> None:
        self.site, self.limits, self.loop, self.certificate = site, limits, loop, certificate
        self.now = time.monotonic  # uvloop's own clock stands still within a turn
        self.connections: set[Connection] = set()
        self.in_flight = 0  # requests read and not yet answered
        self.ending = False
        self.date = b""
        self.heads: dict[bytes, Head] = {}  # header blocks that were read before, by their bytes
        self.ways: dict[bytes, tuple[Quick, int]] = {}  # those of them whose requests compiled code may answer
        self.ticked = time.monotonic()  # when the loop last looked at the clocks
        self.due = 0.0  # when it looks again
        self.sock: socket.socket | None = None
        self.server: asyncio.Server | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.aborted = False

    @property
    def closing(self) -> bool:
        """Whether every reply ends its connection."""
        return self.ending

    @closing.setter
    def closing(self, closing: bool) -> None:
        self.ending = closing
        self.ways.clear()  # none of which says so

    async def open(self, sock: socket.socket) -> None:
        """Listen on a bound socket."""
        self.sock = sock
        self.server = await self.loop.create_server(self.connection, sock=sock, backlog=BACKLOG)
        self.sweep()

    def connection(self) -> asyncio.Protocol:
        """What a new socket talks to."""
        if self.certificate is None:
            return Connection(self)
        return Secured(Connection(self), self.certificate)

    def stop_listening(self) -> None:
        """Accept nobody any more; connections stay."""
        if self.server is not None:
            self.server.close()

    def deafen(self) -> None:
        """Let no further connection begin, for any process that has this socket."""
        if self.sock is not None:
            deafen(self.sock)

    async def stop_politely(self) -> None:
        """Stop listening; whoever is connected as far as the kernel knows is taken in, where a close would reset it."""
        last = list(waiting(self.sock)) if self.sock is not None else []
        self.stop_listening()
        for sock in last:
            sock.setblocking(False)
            await self.loop.connect_accepted_socket(self.connection, sock)

    def close_idle(self) -> None:
        """End every connection that is owed nothing and has sent nothing that is still to be read.

        A new one may have a request on its way, and gets a moment.
        """
        now = self.now()
        for connection in list(self.connections):
            idle = connection.state == IDLE and not (connection.owed or connection.backlog)
            on_its_way = connection.fresh and now - connection.since < FRESH
            if idle and not on_its_way and not unread(connection.transport):
                connection.transport.close()

    def abort(self) -> None:
        """End every connection, and the clock."""
        self.aborted = True
        if self.timer is not None:
            self.timer.cancel()
        for connection in list(self.connections):
            connection.transport.abort()

    def admit(self, connection: Connection) -> bool:
        """Take a new connection in; at the cap the oldest without a request goes, a half-sent header first."""
        if len(self.connections) >= self.limits.connections:
            spare = [c for c in self.connections if c.state in (IDLE, HEAD, LINGER) and not c.owed]
            if not spare:
                self.connections.add(connection)
                return False
            oldest = min(spare, key=lambda c: (c.state == IDLE and not c.fresh, c.since))
            self.forget(oldest)
            oldest.transport.abort()
        self.connections.add(connection)
        return True

    def forget(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def sweep(self) -> None:
        """Look at every clock: four times a second, and when a request's time ends."""
        self.ticked = self.now()
        self.date = date_line(time.gmtime())
        self.due = self.ticked + TICK
        self.look(list(self.connections), 0)

    def look(self, connections: Sequence[Connection], place: int) -> None:
        """At TOGETHER of them, and at the next ones after what came meanwhile: the time of many may end at once."""
        now = self.now()
        for connection in connections[place : place + TOGETHER]:
            self.check(connection, now)
        if place + TOGETHER < len(connections):
            self.loop.call_soon(self.look, connections, place + TOGETHER)
        elif not self.aborted:
            self.timer = self.loop.call_later(max(self.due - now, SOONEST), self.sweep)

    def check(self, connection: Connection, now: float) -> None:
        limits, waited = self.limits, now - connection.since
        if connection.state == GONE:
            return
        if connection.stalled and now - connection.stalled > limits.stall_seconds:
            connection.transport.abort()
            return
        if connection.owed:
            first = connection.owed[0]
            end = first.started + limits.request_seconds
            if first.reply is None and now >= end:
                self.site.refuse(first, DeadlinePassed(limits.request_seconds))
                return
            if first.reply is None and end < self.due:
                self.due = end
        if connection.state == HEAD and waited > limits.header_seconds:
            connection.refuse(TooSlow(f"the header took longer than {limits.header_seconds:g} s"))
        elif connection.state == BODY and too_slow(limits, waited, connection.received):
            connection.refuse(TooSlow(f"the body comes at under {limits.body_rate:,} bytes a second"))
        elif connection.state == IDLE and not connection.owed:
            if waited > (limits.header_seconds if connection.fresh else limits.idle_seconds):
                connection.transport.close()
        elif connection.state == LINGER and not connection.owed and waited > limits.linger_seconds:
            connection.transport.abort()


def date_line(now: time.struct_time) -> bytes:
    """The Date header, as RFC 9110 (5.6.7) writes it, whatever the locale."""
    day, month = DAYS[now.tm_wday], MONTHS[now.tm_mon - 1]
    clock = f"{now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02}"
    return f"Date: {day}, {now.tm_mday:02} {month} {now.tm_year} {clock} GMT\r\n".encode()


def too_slow(limits: Limits, waited: float, received: int) -> bool:
    if waited > limits.request_seconds:
        return True
    return waited > limits.body_grace and received < limits.body_rate * (waited - limits.body_grace)
