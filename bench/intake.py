"""What keeping predictions costs a service: requests a second with the store on against off, in the same run.

python bench/intake.py [SECONDS] [ROUNDS] [SUSTAINED]: 64 connections, client on core 1. First the writer has core 1 too
(taking in alone: the spool may grow), then, for SUSTAINED seconds, it shares core 0 with the service and must keep up.
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
import urllib.request
from collections.abc import Iterator
from pathlib import Path

CONNECTIONS = 64


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


def writer_of(pid: int) -> int:
    """The process that stores what the service `pid` keeps."""
    for _ in range(1000):
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                    return int(path.parent.name)
        time.sleep(0.01)
    raise SystemExit("the service has no writer")


def pending(admin: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as reply:
        for line in reply.read().decode().splitlines():
            if line.startswith('wherry_store_rows{state="pending"}'):
                return int(float(line.split()[-1]))
    raise SystemExit("/metrics does not count pending rows")


def main(seconds: float, rounds: int, sustained: float) -> int:
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory(dir=".") as name, contextlib.ExitStack() as stack:
        body = pack(Path(name) / "bundle")
        head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        ports, pids, admins = {}, {}, {}
        for kind, enabled in (("off", "false"), ("on", "true")):
            ports[kind], admins[kind] = free_port(), free_port()
            environ = {
                "WHERRY_BUNDLE": str(Path(name) / "bundle"),
                "WHERRY_SERVE_PORT": str(ports[kind]),
                "WHERRY_SERVE_ADMIN_PORT": str(admins[kind]),
                "WHERRY_STORE_ENABLED": enabled,
                "WHERRY_STORE_URL": f"sqlite:///{Path(name).absolute() / 'predictions.db'}"
                if enabled == "true"
                else "",
                "WHERRY_STORE_SPOOL_LIMIT": str(1 << 32),
            }
            command = [sys.executable, "-m", "wherry.server"]
            pids[kind] = stack.enter_context(started(command, ports[kind], environ))
        writer = writer_of(pids["on"])
        os.sched_setaffinity(writer, {1})
        found: dict[str, list[tuple[float, float, float]]] = {"off": [], "on": []}
        for _ in range(rounds):
            for kind, runs in found.items():
                runs.append(load(ports[kind], request, CONNECTIONS, seconds, pids[kind]))
        off, on = (statistics.median(run[0] for run in found[kind]) for kind in ("off", "on"))
        own = statistics.median(a[1] / b[1] for a, b in zip(found["off"], found["on"], strict=True))
        print(f"taking in alone: {off:,.0f} requests/s with the store off, {on:,.0f} on: {on / off:.2f} of it")
        print(f"                 by the service's own processor time a request: {own:.2f} of it")
        while pending(admins["on"]):
            time.sleep(0.1)
        os.sched_setaffinity(writer, {0})
        halves = []
        for _ in range(2):
            halves.append(
                (load(ports["on"], request, CONNECTIONS, sustained / 2, pids["on"])[0], pending(admins["on"]))
            )
        rate = statistics.mean(half[0] for half in halves)
        grown = halves[1][1] - halves[0][1]
        print(f"sustained {sustained:.0f} s on one core: {rate:,.0f} requests/s, {rate / off:.2f} of the store off;")
        print(f"                 pending {halves[0][1]:,} after half of it, {halves[1][1]:,} at its end ({grown:+,})")
    return int(on / off < 0.7 or rate / off < 0.35 or grown > rate)


if __name__ == "__main__":
    numbers = [float(text) for text in sys.argv[1:]] or [5.0, 3, 60.0]
    sys.exit(main(numbers[0], int(numbers[1]), numbers[2]))
