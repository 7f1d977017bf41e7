"""The generator against wrk, one core each, on the same server; and how exactly it keeps 10,000 requests a second.

python bench/stress.py [SECONDS] [ROUNDS]: a constant-answer server on core 0; wrk (one thread) and our generator in
turns on core 1, as fast as they can; then 10,000 a second. Ends with 1 when the generator sends less than half of what
wrk sends, is more than 1 % off 10,000 a second, or is more than 2 ms late there at p99. With
--first the processes go before everything else on the machine (needs root), as on a machine that is otherwise idle.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import statistics
import subprocess
import sys

from turns import SENDER_CORE, constant, settle, started

SHARE = 0.5
RATE = 10_000
OFF = 0.01
LATE_MS = 2.0
CONNECTIONS = 64
# What the verb does, with the generator's own processor time beside it.
GENERATOR = """
import json, resource, sys, time
from wherry.contract.events import silent
from wherry.stress import shape
from wherry.stress.load import run
from wherry.stress.plan import Plan, Target, asks_of
from wherry.stress.report import document, report_of
port, rate, seconds, connections = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
target = Target("127.0.0.1", port, "/predict", address="127.0.0.1")
plan = Plan(target, asks_of(target, [b'{"a":1.5,"b":2}'], {}), shape.constant(rate, seconds), 10**7,
            timeout=60, connections=connections)
begun, used = time.perf_counter(), time.process_time()
tally = run(plan, silent)
wall, used = time.perf_counter() - begun, time.process_time() - used
found = document(report_of(plan, tally, ()))
print(json.dumps({**found, "wall": wall, "used": used}))
"""


def wrk(port: int, seconds: float, first: bool) -> tuple[float, float]:
    """Requests a second, microseconds of its processor a request."""
    url = f"http://127.0.0.1:{port}/predict"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", url]
    before = os.times()
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=lambda: settle(SENDER_CORE, first=first)
    )
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    count = int(re.search(r"(\d+) requests in", done.stdout)[1])
    return float(re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)[1]), 1e6 * used / count


def generator(port: int, rate: float, seconds: float, connections: int, first: bool) -> dict[str, float]:
    arguments = [str(port), str(rate), str(seconds), str(connections)]
    done = subprocess.run(
        [sys.executable, "-c", GENERATOR, *arguments],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: settle(SENDER_CORE, first=first),
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(seconds: float, rounds: int, first: bool) -> int:
    if shutil.which("wrk") is None:
        print("bench/stress.py needs wrk: apt-get install wrk", file=sys.stderr)
        return 1
    theirs: list[tuple[float, float]] = []
    ours: list[tuple[float, float]] = []
    server = constant()
    with started(server, first=first):
        port = server.port
        for _ in range(rounds):
            theirs.append(wrk(port, seconds, first))
            # more is offered than can be sent, so that it sends as fast as it can until all is answered
            found = generator(port, 60_000, seconds, CONNECTIONS, first)
            ours.append((found["ok"] / found["wall"], 1e6 * found["used"] / found["ok"]))
        held = [generator(port, RATE, seconds, CONNECTIONS, first) for _ in range(rounds)]
    print(f"{'sender':<10} {'requests/s':>11} {'CPU us a request':>17}")
    for name, rows in (("wrk", theirs), ("wherry", ours)):
        rate, used = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name:<10} {rate:>11,.0f} {used:>17.1f}")
    share = statistics.median(mine[0] / other[0] for mine, other in zip(ours, theirs, strict=True))
    print(f"{'share':<10} {share:>11.2f}")
    print(f"\nat {RATE:,}/s  {'sent/s':>9} {'late p99 ms':>12} {'late max ms':>12} {'p50 ms':>7} {'p99 ms':>7}")
    for found in held:
        own, latency = found["generator"], found["latency"]
        figures = f"{own['lag_p99']:>12.2f} {own['lag_max']:>12.2f} {latency['p50']:>7.2f} {latency['p99']:>7.2f}"
        print(f"{'':<11} {found['sent'] / found['seconds']:>9,.0f} {figures}")
    sent = statistics.median(found["sent"] / found["seconds"] for found in held)
    late = statistics.median(found["generator"]["lag_p99"] for found in held)
    return int(share < SHARE or abs(sent / RATE - 1) > OFF or late > LATE_MS)


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--first"]
    sys.exit(main(float(words[0]) if words else 5, int(words[1]) if len(words) > 1 else 3, "--first" in sys.argv))
