"""A service in a thread that misbehaves as it is told; load goes to 127.0.0.1 alone."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest

from wherry.stress.plan import Target

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


class StandIn:
    """Reads a request's head and body, then lets `behave` answer; counts requests and connections."""

    def __init__(self, behave: Behave) -> None:
        self.behave, self.requests, self.connections = behave, 0, 0
        self.loop = asyncio.new_event_loop()
        self.writers: set[asyncio.StreamWriter] = set()
        self.heads: list[bytes] = []
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.ready.wait(10)

    @property
    def target(self) -> Target:
        return Target("127.0.0.1", self.port, "/predict", address="127.0.0.1")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self) -> None:
        self.loop.run_until_complete(self.serve())
        self.loop.close()

    async def serve(self) -> None:
        self.stopped = asyncio.Event()
        server = await asyncio.start_server(self.connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await self.stopped.wait()
        server.close()
        for writer in list(self.writers):
            writer.transport.abort()
        pending = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if length:
                    await reader.readexactly(int(length[0].split(b":")[1]))
                self.requests += 1
                await self.behave(reader, writer, self.requests)
                if b"connection: close" in head.lower():
                    break
        self.writers.discard(writer)
        writer.close()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.stopped.set)
            self.thread.join(10)


@pytest.fixture
def stand_in() -> Iterator[Callable[[Behave], StandIn]]:
    started: list[StandIn] = []

    def start(behave: Behave) -> StandIn:
        started.append(StandIn(behave))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def reply(status: str = "200 OK", body: bytes = b'{"prediction":1}', fields: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{fields}\r\n".encode() + body


@pytest.fixture
def good() -> Behave:
    """Answers at once, every time."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        writer.write(reply())

    return behave
