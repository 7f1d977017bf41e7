"""What keeping predictions costs a service: requests a second with the store on against off, in the same run.

python bench/intake.py [SECONDS] [ROUNDS] [SUSTAINED]: 64 connections, the service on core 0, who asks on core 1, by wrk
where it is installed. First the writer has what that leaves of core 1 (taking in alone: the spool may grow; run as
root, so that who asks goes before it). Then, for SUSTAINED seconds, it shares core 0 with the service, which is asked
at 0.4 of its rate without the store, and must keep up: nothing more may wait at the end than after half of it.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import uvloop
from models import pack
from overload import Sender, good, p99
from throughput import Asked, Figures, by_wrk
from turns import SENDER_CORE, SERVER_CORE, Peer, free_port, serving, settle, started, tree

CONNECTIONS = 64
TAKING_IN, SUSTAINED, ASKED = 0.7, 0.35, 0.4  # of the rate with the store off
LAST = "19"  # nice, for a whole session


def service(folder: Path, bundle: Path, admin: int, *, keeps: bool) -> Peer:
    """A service over the bundle, with the store on or off."""
    store = {
        "WHERRY_STORE_ENABLED": str(keeps).lower(),
        "WHERRY_STORE_URL": f"sqlite:///{folder / 'predictions.db'}" if keeps else "",
        "WHERRY_STORE_SPOOL_LIMIT": str(1 << 32),
    }
    return serving(bundle, WHERRY_SERVE_ADMIN_PORT=str(admin), **store)


def writer_of(pid: int) -> int:
    """The process that stores what the service `pid` keeps."""
    for _ in range(1000):
        if children := tree(pid)[1:]:
            return children[0]
        time.sleep(0.01)
    raise SystemExit("the service has no writer")


def pending(admin: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin}/metrics") as reply:
        for line in reply.read().decode().splitlines():
            if line.startswith('wherry_store_rows{state="pending"}'):
                return int(float(line.split()[-1]))
    raise SystemExit("/metrics does not count pending rows")


def main(seconds: float, rounds: int, sustained: float) -> int:
    with tempfile.TemporaryDirectory(dir=".") as name, contextlib.ExitStack() as stack:
        folder = Path(name).absolute()
        stack.enter_context(contextlib.chdir(folder))  # where the service has its spool
        bundle = pack(folder, ("linear",))["linear"]
        admins = {"off": free_port(), "on": free_port()}
        peers = {kind: service(folder, bundle, admin, keeps=kind == "on") for kind, admin in admins.items()}
        pids = {kind: stack.enter_context(started(peer)) for kind, peer in peers.items()}
        settle(SENDER_CORE)

        def asked(kind: str, seconds: float) -> Figures:
            return by_wrk(Asked(peers[kind], folder / "rows.jsonl"), folder, CONNECTIONS, seconds, [pids[kind]])

        writer = writer_of(pids["on"])
        os.sched_setaffinity(writer, {SENDER_CORE})
        behind(writer, LAST)
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
        behind(writer, "0")
        bodies, rate, halves = (folder / "rows.jsonl").read_text().splitlines(), ASKED * off, []
        for _ in range(2):
            answers = uvloop.run(Sender(peers["on"].port, bodies).run(rate, sustained / 2, rest=0.0))
            halves.append((2 * len(good(answers)) / sustained, p99(answers), pending(admins["on"])))
        (_, _, half), (held, slowest, left) = halves
        held = min(held, halves[0][0])
        print(f"sustained {sustained:.0f} s on one core: {held:,.0f} requests/s, {held / off:.2f} of the store off;")
        print(f"                 pending {half:,} after half of it, {left:,} at its end; p99 {slowest:,.0f} ms")
    return int(on / off < TAKING_IN or held / off < SUSTAINED or left - half > held)


def behind(pid: int, nice: str) -> None:
    """Have a process go after others on its core; where that is not ours to say, nothing changes."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(nice)


if __name__ == "__main__":
    numbers = [float(text) for text in sys.argv[1:]] or [5.0, 3, 60.0]
    sys.exit(main(numbers[0], int(numbers[1]), numbers[2]))
