"""What batching costs a request that comes alone: from its bytes to its reply, over a pair of sockets in one loop.

python bench/lone.py: M1 folded to arrays, by three services in turns: as it is; one that calls the model as soon as the
request was read, and so batches nothing; and, as the control, one that waits a millisecond for company. Medians; ends
with 1 when the first takes more than the second by a tenth of what the control takes more. What compiled code answers
as it is read (wherry.server.quick) waits for no batch, and is left out here.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import uvloop
from path import service

from wherry.server import predictions, quick, threads
from wherry.server.batching import Batcher

ROUNDS, TOGETHER = 100, 50  # requests of one service until the next has its turn
MOST = 0.1  # of what the control adds, that batching may add: what else the machine does slows all three
COMPANY = 0.001  # seconds that the control waits


class AtOnce(Batcher):
    """Scores each job as it comes."""

    def schedule(self) -> None:
        if not self.scheduled and not self.busy:
            self.flush()


class Waiting(Batcher):
    """Waits for others to come."""

    def schedule(self) -> None:
        if not self.scheduled and not self.busy:
            self.scheduled = True
            self.loop.call_later(COMPANY, self.flush)


KINDS: dict[str, type[Batcher]] = {"as it is": Batcher, "no batching": AtOnce, "waits for company": Waiting}


def made(bundle: Path, loop: Any, kind: type[Batcher]) -> Any:
    """A connection of a service whose predictions go through such a batcher."""
    with mock.patch.object(predictions, "Batcher", kind):
        return service(bundle, loop)()


async def asked(sock: socket.socket, requests: list[bytes]) -> list[float]:
    """Microseconds until each was answered, one after the other."""
    loop, took = asyncio.get_running_loop(), []
    for request in requests:
        answered = loop.create_future()
        loop.add_reader(sock, lambda done=answered: done.set_result(time.perf_counter()))
        begun = time.perf_counter()
        sock.send(request)
        took.append(1e6 * (await answered - begun))
        loop.remove_reader(sock)
        if not (reply := sock.recv(65536)).startswith(b"HTTP/1.1 200"):
            raise SystemExit(f"an answer was not 200: {reply!r}")
    return took


async def measured(folder: Path, rounds: int, together: int = TOGETHER) -> dict[str, float]:
    """The median of each service in microseconds."""
    loop = asyncio.get_running_loop()
    head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    bodies = (folder / "rows.jsonl").read_text().splitlines()
    requests = [f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode() for body in bodies[:1] * together]
    sockets = {}
    for title, kind in KINDS.items():
        ours, sockets[title] = socket.socketpair()
        ours.setblocking(False)
        sockets[title].setblocking(False)
        await loop.connect_accepted_socket(lambda kind=kind: made(folder / "linear", loop, kind), ours)
    took: dict[str, list[float]] = {title: [] for title in KINDS}
    for number in range(rounds + 1):
        for title, sock in sockets.items():
            if number:  # the first is to learn
                took[title] += await asked(sock, requests)
            else:
                await asked(sock, requests)
    for sock in sockets.values():
        sock.close()
    return {title: statistics.median(every) for title, every in took.items()}


def main() -> int:
    from models import pack  # imports numpy, which reads the number of threads once

    with tempfile.TemporaryDirectory() as name:
        pack(Path(name), ("linear",))
        found = uvloop.run(measured(Path(name), ROUNDS))
    least = found["no batching"]
    for title, micros in found.items():
        print(f"{title:<20} {micros:>8.1f} us from a lone request to its reply, {micros - least:+8.1f}")
    return int(found["as it is"] - least > MOST * (found["waits for company"] - least))


if __name__ == "__main__":
    threads.limit()
    quick._quick = None  # type: ignore[assignment]  # a module, or none
    sys.exit(main())
