"""What keeping predictions costs a service: requests a second with the store on against off, in the same run.

python bench/intake.py [SECONDS] [ROUNDS] [SUSTAINED]: 64 connections, the service on core 0, who asks on core 1, by wrk
where it is installed. First the writer has core 1 too (taking in alone: the spool may grow), then, for SUSTAINED
seconds, it shares core 0 with the service and must keep up.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from throughput import Figures, by_python, by_wrk, pack
from turns import SENDER_CORE, SERVER_CORE, Peer, free_port, settle, started

CONNECTIONS = 64
TAKING_IN, SUSTAINED = 0.7, 0.35  # of the rate with the store off


def service(folder: Path, bundle: Path, admin: int, *, keeps: bool) -> Peer:
    """A service over the bundle, with the store on or off."""
    port = free_port()
    environ = {
        "WHERRY_BUNDLE": str(bundle),
        "WHERRY_SERVE_PORT": str(port),
        "WHERRY_SERVE_ADMIN_PORT": str(admin),
        "WHERRY_STORE_ENABLED": str(keeps).lower(),
        "WHERRY_STORE_URL": f"sqlite:///{folder / 'predictions.db'}" if keeps else "",
        "WHERRY_STORE_SPOOL_LIMIT": str(1 << 32),
    }
    return Peer([sys.executable, "-m", "wherry.server"], port, environ)


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
    load = by_wrk if shutil.which("wrk") else by_python
    with tempfile.TemporaryDirectory(dir=".") as name, contextlib.ExitStack() as stack:
        folder = Path(name).absolute()
        stack.enter_context(contextlib.chdir(folder))  # where the service has its spool
        bundle = pack(folder, ("linear",))["linear"]
        admins = {"off": free_port(), "on": free_port()}
        peers = {kind: service(folder, bundle, admin, keeps=kind == "on") for kind, admin in admins.items()}
        pids = {kind: stack.enter_context(started(peer)) for kind, peer in peers.items()}
        settle(SENDER_CORE)

        def asked(kind: str, seconds: float) -> Figures:
            return load(peers[kind].port, folder, CONNECTIONS, seconds, pids[kind])

        writer = writer_of(pids["on"])
        os.sched_setaffinity(writer, {SENDER_CORE})
        found: dict[str, list[Figures]] = {"off": [], "on": []}
        for _ in range(rounds):
            for kind, runs in found.items():
                runs.append(asked(kind, seconds))
        off, on = (statistics.median(run.rate for run in found[kind]) for kind in ("off", "on"))
        own = statistics.median(a.micros / b.micros for a, b in zip(found["off"], found["on"], strict=True))
        print(f"taking in alone: {off:,.0f} requests/s with the store off, {on:,.0f} on: {on / off:.2f} of it")
        print(f"                 by the service's own processor time a request: {own:.2f} of it")
        while pending(admins["on"]):
            time.sleep(0.1)
        os.sched_setaffinity(writer, {SERVER_CORE})
        halves = [(asked("on", sustained / 2), pending(admins["on"])) for _ in range(2)]
        rate = statistics.mean(run.rate for run, _ in halves)
        grown = halves[1][1] - halves[0][1]
        print(f"sustained {sustained:.0f} s on one core: {rate:,.0f} requests/s, {rate / off:.2f} of the store off;")
        print(f"                 pending {halves[0][1]:,} after half of it, {halves[1][1]:,} at its end ({grown:+,})")
        print(f"                 median {halves[1][0].median:.1f} ms, p99 {halves[1][0].p99:.1f} ms")
    return int(on / off < TAKING_IN or rate / off < SUSTAINED or grown > rate)


if __name__ == "__main__":
    numbers = [float(text) for text in sys.argv[1:]] or [5.0, 3, 60.0]
    sys.exit(main(numbers[0], int(numbers[1]), numbers[2]))
