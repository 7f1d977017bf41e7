"""The admin port: liveness, readiness and metrics, on a thread and loop of its own: work cannot silence it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from wherry.contract.wire import LIVEZ, METRICS, PROBLEM_JSON, READYZ
from wherry.errors import MethodWrong, PathUnknown
from wherry.server.drain import Life
from wherry.server.heads import Way
from wherry.server.limits import Limits
from wherry.server.port import Port
from wherry.server.problems import fields_of, problem_of
from wherry.server.protocol import Exchange

HUNG = 30.0  # seconds without a tick after which the serving loop counts as hung
PLAIN = b"text/plain; version=0.0.4; charset=utf-8"
JSON = b"application/json"


class Watched(Protocol):
    """What the admin port tells about: status and body of the probes' answers, and the text of /metrics."""

    def livez(self) -> tuple[int, bytes]: ...

    def readyz(self) -> tuple[int, bytes]: ...

    def metrics(self) -> str: ...


class Alone:
    """A service that is one process, watched from a thread of it. `serving` is the port that is watched."""

    def __init__(self, serving: Port, life: Life, metrics: Callable[[], str]) -> None:
        self.serving, self.life, self.metrics = serving, life, metrics

    def livez(self) -> tuple[int, bytes]:
        """503 once the serving loop has not come round for half a minute: only a restart helps then."""
        if time.monotonic() - self.serving.ticked > HUNG:
            return 503, b'{"status":"hung"}'
        return 200, b'{"status":"alive"}'

    def readyz(self) -> tuple[int, bytes]:
        return (200 if self.life.ready else 503), self.life.said()


class AdminSite:
    """Answers the admin port."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched

    def receive(self, exchange: Exchange) -> None:
        path = exchange.url.partition(b"?")[0].decode("latin-1")
        try:
            self.dispatch(exchange, path)
        except Exception as error:  # noqa: BLE001  # whatever it is, the scraper gets an answer
            self.refuse(exchange, error)

    def way(self, exchange: Exchange) -> Way:
        return Way(self.receive)

    def dispatch(self, exchange: Exchange, path: str) -> None:
        answers = {
            LIVEZ: self.watched.livez,
            "/v2/health/live": self.watched.livez,
            READYZ: self.watched.readyz,
            "/v2/health/ready": self.watched.readyz,
        }
        if path not in answers and path != METRICS:
            raise PathUnknown(f"there is no {path[:200]} here", hint=f"the paths are {LIVEZ}, {READYZ}, {METRICS}")
        if exchange.method not in (b"GET", b"HEAD"):
            raise MethodWrong(exchange.method.decode("latin-1"), path, ("GET", "HEAD"))
        if path == METRICS:
            exchange.answer(200, b"Content-Type: %b\r\n" % PLAIN, self.watched.metrics().encode())
        else:
            status, said = answers[path]()
            exchange.answer(status, b"Content-Type: %b\r\nCache-Control: no-store\r\n" % JSON, said)

    def refuse(self, exchange: Exchange, error: Exception) -> None:
        problem = problem_of(error, "")
        fields = b"Content-Type: %b\r\n%b" % (PROBLEM_JSON.encode(), fields_of(error))
        exchange.answer(problem.status, fields, msgspec.json.encode(problem), close=problem.status not in (404, 405))


class Admin:
    """The thread that answers the admin port on a bound socket."""

    def __init__(self, sock: socket.socket, site: AdminSite) -> None:
        self.sock, self.site = sock, site
        self.loop = asyncio.new_event_loop()
        self.port = Port(site, Limits(body_bytes=1024, connections=100), self.loop)
        self.thread = threading.Thread(target=self.run, name="wherry-admin", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def run(self) -> None:
        self.loop.run_until_complete(self.port.open(self.sock))
        self.loop.run_forever()
        self.port.stop_listening()
        self.port.abort()
        # A turn of the loop for the transports to close in.
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    def stop(self) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self.thread.join(5)
