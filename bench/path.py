"""The code that every request runs through, without sockets: wherry's own against a server that answers a constant.

python bench/path.py: 64 connections whose requests come in one turn of the loop, both servers in turns, processor time,
the best of many short rounds: what else the machine does can only add to a round. Ends with 1 when the ratio is over a
fifth worse than the recorded one.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httptools

from wherry.contract.project import Project
from wherry.server import threads

RECORDED = 0.95  # Python 3.11
WORSE = 1.2
CONNECTIONS, TURNS, ROUNDS = 64, 20, 200


class Sink:
    """A transport that takes everything."""

    def __init__(self) -> None:
        self.last = b""

    def write(self, data: bytes) -> None:
        self.last = data

    def is_closing(self) -> bool:
        return False


class Turn:
    """As much of an event loop as the path asks for."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def call_soon(self, call: Callable[..., object], *args: Any) -> None:
        self.waiting.append((call, args))

    def call_later(self, *_: Any) -> None: ...

    def run(self) -> None:
        while self.waiting:
            call, args = self.waiting.pop(0)
            call(*args)


class Constant:
    """A server that reads every request with json and answers a constant: no model, no checks, no ids, no metrics."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.headers: dict[bytes, bytes] = {}
        self.body = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_body(self, part: bytes) -> None:
        self.body = part

    def on_message_complete(self) -> None:
        body = json.dumps({"prediction": int(len(json.loads(self.body)) > 0)}).encode()
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        self.headers = {}


def service(bundle: Path, loop: Any) -> Callable[[], asyncio.Protocol]:
    """What makes wherry's connections, everything on but the store."""
    from wherry.server.journal import NoJournal
    from wherry.server.limits import Limits
    from wherry.server.loading import Loaded
    from wherry.server.metrics import Metrics
    from wherry.server.port import Port
    from wherry.server.protocol import Connection
    from wherry.server.service import Service

    loaded = Loaded(bundle)
    made = Service(loaded, loaded.prove(), Project(), NoJournal(), None, Metrics(), "", lambda event: None)
    made.life.stage = "ready"
    site, _ = made.compose(loop)
    port = Port(site, Limits(), loop)
    port.sweep()
    return lambda: Connection(port)


def connected(make: Callable[[], Any]) -> list[tuple[Any, Sink]]:
    found = []
    for _ in range(CONNECTIONS):
        connection, sink = make(), Sink()
        connection.connection_made(sink)
        found.append((connection, sink))
    return found


def microseconds(connections: list[tuple[Any, Sink]], requests: list[bytes], loop: Turn) -> float:
    """Processor time a request of one round."""
    start = time.process_time()
    for turn in range(TURNS):
        for place, (connection, _) in enumerate(connections):
            connection.data_received(requests[(turn * CONNECTIONS + place) % len(requests)])
        loop.run()
    took = time.process_time() - start
    if not all(sink.last.startswith(b"HTTP/1.1 200") for _, sink in connections):
        raise SystemExit(f"an answer was not 200: {connections[0][1].last!r}")
    return 1e6 * took / TURNS / CONNECTIONS


def main() -> int:
    from throughput import pack  # imports numpy, which reads the number of threads once

    loop = Turn()
    with tempfile.TemporaryDirectory() as name:
        bundle = pack(Path(name), ("linear",))["linear"]
        head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        bodies = (Path(name) / "rows.jsonl").read_text().splitlines()
        requests = [f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode() for body in bodies]
        ours, theirs = connected(service(bundle, loop)), connected(Constant)
    gc.collect()
    gc.freeze()
    best = {"constant": 1e9, "wherry": 1e9}
    for _ in range(ROUNDS):
        best["constant"] = min(best["constant"], microseconds(theirs, requests, loop))
        best["wherry"] = min(best["wherry"], microseconds(ours, requests, loop))
    ratio = best["wherry"] / best["constant"]
    for title, micros in best.items():
        print(f"{title:<10} {micros:>6.2f} us of processor time a request, without the kernel's part")
    print(f"ratio {ratio:.2f}, recorded {RECORDED:.2f}, at most {WORSE * RECORDED:.2f}")
    return int(ratio > WORSE * RECORDED)


if __name__ == "__main__":
    threads.limit()
    sys.exit(main())
