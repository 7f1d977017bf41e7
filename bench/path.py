"""The code that every request runs through, without sockets: wherry's own against a server that answers a constant.

python bench/path.py [--slower SHARE] [--time] [--connections 1] [--long]

64 connections whose requests come in one turn of the loop. Where valgrind is installed it counts the instructions a
request, which nothing else that the machine does can move: the difference of two runs, one longer than the other. Ends
with 1 when the ratio is over a twentieth worse than the recorded one. --slower 0.3 has wherry do 30 % more, to show
that. --connections 1 counts a request that is alone in its turn of the loop; no ratio of it is recorded. --long has
nothing answered as it is read (wherry.server.quick): the way of all that is kept, noted or no mere sum. --time, or no
valgrind: processor time, both servers in turns, the best of many short rounds; there a fifth goes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httptools

from wherry.contract.project import Project
from wherry.server import quick, threads
from wherry.server.doors import native

# The ratios, Python 3.11, by what compiled code does; and how much worse they may get.
COUNTED, MORE = {"answers": 0.101, "reads": 0.343, "": 0.437}, 1.05  # of instructions
RECORDED, WORSE = {"answers": 0.10, "reads": 0.34, "": 0.55}, 1.2  # of processor time
CONNECTIONS, TURNS, ROUNDS = 64, 20, 200
SHORT, LONG = 6, 16  # turns of the two runs whose instructions are counted


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
    from wherry.server.predictor import Cost
    from wherry.server.protocol import Connection
    from wherry.server.service import Service

    loaded = Loaded(bundle)
    proof = loaded.prove(Cost(1e-6, 1e-7))  # under valgrind a measured one would have the model run in a thread
    made = Service(loaded, proof, Project(), NoJournal(), None, Metrics(), "", lambda event: None)
    made.life.stage = "ready"
    site, _ = made.compose(loop)
    port = Port(site, Limits(), loop)
    port.sweep()
    return lambda: Connection(port)


def connected(make: Callable[[], Any], many: int) -> list[tuple[Any, Sink]]:
    found = []
    for _ in range(many):
        connection, sink = make(), Sink()
        connection.connection_made(sink)
        found.append((connection, sink))
    return found


def ask(connections: list[tuple[Any, Sink]], requests: list[bytes], loop: Turn, turns: int) -> None:
    """Have every connection ask once a turn."""
    for turn in range(turns):
        for place, (connection, _) in enumerate(connections):
            connection.data_received(requests[(turn * len(connections) + place) % len(requests)])
        loop.run()
    if not all(sink.last.startswith(b"HTTP/1.1 200") for _, sink in connections):
        raise SystemExit(f"an answer was not 200: {connections[0][1].last!r}")


def slowed(connections: list[tuple[Any, Sink]], slower: float) -> list[tuple[Any, Sink]]:
    """The same, some of them asking twice a turn, which counts once."""
    return connections + connections[: round(slower * len(connections))]


def prepared(
    folder: Path, which: str, loop: Turn, many: int = CONNECTIONS
) -> tuple[list[tuple[Any, Sink]], list[bytes]]:
    """The connections of one of the servers, and requests for it."""
    head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    bodies = (folder / "rows.jsonl").read_text().splitlines()
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode() for body in bodies]
    return connected(Constant if which == "constant" else service(folder / "linear", loop), many), requests


def compiled() -> str:
    """What compiled code does with a request."""
    return "answers" if quick._quick is not None else "reads" if native._flat is not None else ""


def timed(folder: Path, slower: float) -> int:
    loop = Turn()
    theirs, requests = prepared(folder, "constant", loop)
    ours = slowed(prepared(folder, "wherry", loop)[0], slower)
    gc.collect()
    gc.freeze()
    best = {"constant": 1e9, "wherry": 1e9}
    for _ in range(ROUNDS):
        for which, connections in (("constant", theirs), ("wherry", ours)):
            start = time.process_time()
            ask(connections, requests, loop, TURNS)
            best[which] = min(best[which], 1e6 * (time.process_time() - start) / TURNS / CONNECTIONS)
    ratio, recorded = best["wherry"] / best["constant"], RECORDED[compiled()]
    for title, micros in best.items():
        print(f"{title:<10} {micros:>6.2f} us of processor time a request, without the kernel's part")
    print(f"ratio {ratio:.2f}, recorded {recorded:.2f}, at most {WORSE * recorded:.2f}")
    return int(ratio > WORSE * recorded)


def instructions(folder: Path, which: str, slower: float, many: int = CONNECTIONS) -> float:
    """Instructions a request, start-up and imports left out: what the longer of two runs has more than the other."""
    environ = {**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    valgrind = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", sys.executable, __file__)
    way = ("--long",) if quick._quick is None else ()

    def run(turns: int) -> int:
        asked = ("--asked", str(folder), which, str(turns))
        command = [*valgrind, *way, f"--slower={slower}", f"--connections={many}", *asked]
        done = subprocess.run(command, env=environ, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr)
        return int(done.stderr.rpartition("Collected : ")[2].split()[0])

    with ThreadPoolExecutor(2) as pool:
        short, long = pool.map(run, (SHORT * CONNECTIONS // many, LONG * CONNECTIONS // many))
    return (long - short) / (LONG - SHORT) / CONNECTIONS


def counted(folder: Path, slower: float, many: int) -> int:
    found = {
        "constant": instructions(folder, "constant", 0.0, many),
        "wherry": instructions(folder, "wherry", slower, many),
    }
    ratio, recorded = found["wherry"] / found["constant"], COUNTED[compiled()]
    for title, count in found.items():
        print(f"{title:<10} {count:>9,.0f} instructions a request, without the kernel's part")
    print(f"ratio {ratio:.3f}, recorded {recorded:.3f}, at most {MORE * recorded:.3f}, of {CONNECTIONS} connections")
    return int(ratio > MORE * recorded and many == CONNECTIONS)


def resident() -> int:
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def growth(folder: Path, many: int, leaves: int) -> float:
    """Memory after `many` requests by that after 10,000, less 1; each leaves so many bytes behind, to show a leak.

    In a process of its own: one that has held more before has freed memory, in which a leak would not show.
    """
    command = [sys.executable, __file__, "--grown", str(folder), str(many), str(leaves)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout)


def grown(folder: Path, many: int, leaves: int) -> float:
    loop = Turn()
    connections, requests = prepared(folder, "wherry", loop)
    bad = requests[0].replace(b'"area_se"', b'"area_xx"')
    left: list[bytes] = []
    before = 0
    for turn in range(many // CONNECTIONS):
        if turn == 10_000 // CONNECTIONS:
            gc.collect()
            before = resident()
        ask(connections, requests[turn % 7 :] + requests[: turn % 7], loop, 1)
        if leaves:
            left += [b"x" * leaves + bytes([k]) for k in range(CONNECTIONS)]
        if turn % 10 == 0:  # refusals keep nothing either
            connections[0][0].data_received(bad)
    gc.collect()
    return resident() / before - 1


def main(asked: argparse.Namespace) -> int:
    if asked.long:
        quick._quick = None
    if asked.grown:
        folder, many, leaves = asked.grown
        print(grown(Path(folder), int(many), int(leaves)))
        return 0
    if asked.asked:
        quick.LEASE = 1e9  # seconds of a clock would be counted, not of work, and that clock runs on while others work
        folder, which, turns = asked.asked
        loop = Turn()
        connections, requests = prepared(Path(folder), which, loop, asked.connections)
        gc.collect()
        gc.freeze()
        gc.disable()  # a collection in one of the runs and not in the other would count
        ask(slowed(connections, asked.slower), requests, loop, int(turns))
        return 0
    from models import pack  # imports numpy, which reads the number of threads once

    with tempfile.TemporaryDirectory() as name:
        pack(Path(name), ("linear",))
        if asked.time or not shutil.which("valgrind"):
            return timed(Path(name), asked.slower)
        return counted(Path(name), asked.slower, asked.connections)


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slower", type=float, default=0.0, metavar="SHARE")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, metavar="N")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--asked", nargs=3, help=argparse.SUPPRESS)  # in the process whose instructions are counted
    parser.add_argument("--grown", nargs=3, help=argparse.SUPPRESS)  # in the process whose memory is measured
    return parser.parse_args(given)


if __name__ == "__main__":
    threads.limit()
    sys.exit(main(arguments()))
