"""From ready to gone: what probes are told, and how a service stops without losing a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from wherry.contract.events import Note, Tell
from wherry.server.port import Port

LOOK = 0.02  # seconds between looks at what is still in flight


class Life:
    """Where the service stands; `ready` is what readiness probes ask."""

    def __init__(self) -> None:
        self.stage: Literal["starting", "ready", "draining"] = "starting"
        self.full: Callable[[], bool] = lambda: False  # whether predictions are refused, as none can be kept

    @property
    def ready(self) -> bool:
        return self.stage == "ready" and not self.full()

    def said(self) -> bytes:
        """The body of a readiness probe's answer."""
        stage = "full" if self.stage == "ready" and self.full() else self.stage
        return b'{"status":"%b"}' % stage.encode()


class Drain:
    """Stops the service: at once when told twice, else politely."""

    def __init__(self, port: Port, life: Life, idle: Callable[[], bool], tell: Tell, *, lame: float) -> None:
        self.port, self.life, self.idle, self.tell = port, life, idle, tell
        self.lame = lame  # seconds of answering new requests while not ready
        self.shared = False  # whether other processes accept connections on the port's socket, and may go on
        self.begun = asyncio.Event()
        self.hurried = asyncio.Event()  # told twice
        self.seconds = 0.0

    def terminate(self) -> None:
        """SIGTERM: not ready from now on, and still answering: load balancers learn late that this pod goes."""
        self.begin(self.lame, "SIGTERM")

    def interrupt(self) -> None:
        """Ctrl-C: stop listening and finish what is in flight; the second time, stop at once."""
        if self.begun.is_set():
            self.hurried.set()
        else:
            self.begin(0.0, "Ctrl-C")

    def begin(self, seconds: float, cause: str) -> None:
        if self.begun.is_set():
            return
        self.seconds = seconds
        self.life.stage = "draining"
        self.port.closing = True
        self.begun.set()  # before it is told: whoever read what is told may be gone, and the end comes all the same
        more = f", answering new requests for {seconds:g} s" if seconds else ""
        self.tell(Note(f"stopping ({cause}): finishing what is in flight{more}"))

    async def run(self) -> bool:
        """Wait for the signal, then drain; False when the second Ctrl-C cut it short."""
        await self.begun.wait()
        finish = asyncio.ensure_future(self.finish())
        hurry = asyncio.ensure_future(self.hurried.wait())
        await asyncio.wait((finish, hurry), return_when=asyncio.FIRST_COMPLETED)
        for task in (finish, hurry):
            task.cancel()
        return finish.done() and not finish.cancelled()

    async def finish(self) -> None:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if not self.shared:
            self.port.deafen()
        await asyncio.sleep(LOOK)  # for the connections that are being made
        await self.port.stop_politely()
        # A request that is on its way already was accepted before the listening ended: it is still answered.
        await asyncio.sleep(LOOK)
        limits = self.port.limits
        last = self.port.now() + limits.request_seconds + limits.linger_seconds
        self.port.close_idle()
        while (self.port.connections or not self.idle()) and self.port.now() < last:
            await asyncio.sleep(LOOK)
            self.port.close_idle()
