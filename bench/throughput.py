"""The serving path against the limit: a bare httptools server that answers a constant, on the same loop and machine.

python bench/throughput.py [SECONDS] [ROUNDS]: runs both in turns, one and 64 connections, and prints requests a
second, processor time a request and their ratios. Server on core 0, client on core 1. Ends with 1 when the processor
time a request is more than FLOOR times the limit's.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

FLOOR = 4.0
CONSTANT = """
import asyncio, sys, httptools, uvloop
REPLY = b'HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: 16\\r\\n\\r\\n{"prediction":1}'
class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)
    def data_received(self, data):
        self.parser.feed_data(data)
    def on_message_complete(self):
        self.transport.write(REPLY)
async def main():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()
uvloop.run(main())
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def pack(folder: Path) -> bytes:
    """A logistic regression over thirty columns; the body of a request."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import wherry

    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
    wherry.pack(model, X, y, to=str(folder), name="limit")
    return json.dumps(X.iloc[0].to_dict()).encode()


@contextlib.contextmanager
def started(command: list[str], port: int, environ: dict[str, str]) -> Iterator[int]:
    """A server on core 0, listening; its process id."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: os.sched_setaffinity(0, {0}),  # no thread runs in this process
    )
    try:
        for _ in range(3000):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.01)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def cpu(pid: int) -> float:
    """Processor seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(port: int, request: bytes, connections: int, seconds: float, pid: int) -> tuple[float, float, float]:
    """Requests a second, microseconds of the server's processor a request, median milliseconds a request."""
    selector = selectors.DefaultSelector()
    sent: dict[int, float] = {}
    for _ in range(connections):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(sock, selectors.EVENT_READ, sock)
        sock.send(request)
        sent[sock.fileno()] = time.perf_counter()
    count, waits = 0, []
    used, start = cpu(pid), time.perf_counter()
    end = start + seconds
    while (now := time.perf_counter()) < end:
        for key, _ in selector.select(1):
            if not key.data.recv(4096).startswith(b"HTTP/1.1 200"):
                raise SystemExit("an answer was not 200")
            waits.append(now - sent[key.fd])
            key.data.send(request)
            sent[key.fd] = now
            count += 1
    elapsed, used = time.perf_counter() - start, cpu(pid) - used
    for key in list(selector.get_map().values()):
        key.data.close()
    return count / elapsed, 1e6 * used / count, 1e3 * statistics.median(waits)


def main(seconds: float, rounds: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        body = pack(Path(name) / "bundle")
        if len(os.sched_getaffinity(0)) > 1:
            os.sched_setaffinity(0, {1})
        head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        constant, wherry = free_port(), free_port()
        environ = {
            "WHERRY_BUNDLE": str(Path(name) / "bundle"),
            "WHERRY_SERVE_PORT": str(wherry),
            "WHERRY_SERVE_ADMIN_PORT": str(free_port()),
            "WHERRY_STORE_ENABLED": "false",
        }
        ratios: list[float] = []
        with (
            started([sys.executable, "-c", CONSTANT, str(constant)], constant, {}) as limit_pid,
            started([sys.executable, "-m", "wherry.server"], wherry, environ) as wherry_pid,
        ):
            print(f"{'server':<10} {'connections':>11} {'requests/s':>11} {'CPU us':>8} {'median ms':>10}")
            for connections in (1, 64):
                found: dict[str, list[tuple[float, float, float]]] = {"constant": [], "wherry": []}
                for _ in range(rounds):
                    found["constant"].append(load(constant, request, connections, seconds, limit_pid))
                    found["wherry"].append(load(wherry, request, connections, seconds, wherry_pid))
                medians = {k: tuple(map(statistics.median, zip(*v, strict=True))) for k, v in found.items()}
                for title, (rate, micros, wait) in medians.items():
                    print(f"{title:<10} {connections:>11} {rate:>11,.0f} {micros:>8.1f} {wait:>10.3f}")
                each = [ours[1] / theirs[1] for ours, theirs in zip(found["wherry"], found["constant"], strict=True)]
                ratio = statistics.median(each)
                rate = medians["wherry"][0] / medians["constant"][0]
                print(f"{'ratio':<10} {connections:>11} {rate:>11.2f} {ratio:>8.2f}")
                ratios.append(ratio)
    return int(max(ratios) > FLOOR)


if __name__ == "__main__":
    sys.exit(
        main(*(float(a) for a in sys.argv[1:2]), *(int(a) for a in sys.argv[2:3]))
        if len(sys.argv) > 2
        else main(3.0, 3)
    )
