"""How soon a service answers, and the memory it takes: M1 folded to arrays, and the same as ONNX, the store off.

python bench/start.py [ROUNDS]: from exec to the first right prediction, and the memory of the process tree (its
proportional set size: what processes share counts once), by both commands, and by two and three workers; from these,
what a further worker adds. Ends with 1 when arrays take more than 70 MB by one process, or 15 MB for a further worker,
or when ONNX never takes under two seconds.

python bench/start.py --requests N: resident memory after N requests by that after a second of them, some ten thousand;
ends with 1 when they are more than 2 % apart. Needs wrk.

The best of the rounds is what the code takes; the median holds what else the machine does, and the processor seconds
tell the two apart. Other Python processes share pages with these and so make them look smaller: the resident size of
the single process does not depend on them.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from models import pack
from throughput import Asked, by_wrk
from turns import Peer, cpu, free_port, started, tree

SECONDS_ONNX, MB_ALONE, MB_WORKER, GROWTH = 2.0, 70.0, 15.0, 0.02
CONNECTIONS = 64  # that ask for --requests
TOUCHES = 50  # requests, each on a connection of its own, so that every worker has answered


class Begun(NamedTuple):
    """One start: until the first right answer in seconds, processor seconds, then MB when all workers are ready."""

    seconds: float
    used: float
    shared: float
    resident: float


def memory(pids: list[int], field: str = "Pss") -> float:
    """MB of all of them together."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    lines = [line.split() for text in texts for line in text.splitlines() if line.startswith(f"{field}:")]
    return sum(int(line[1]) for line in lines) * 1024 / 1e6


def asked(port: int, path: str, body: str | None = None) -> tuple[int, bytes]:
    """Status and body of a reply, on a connection of its own; 0 while nobody listens."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("POST" if body else "GET", path, body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            return reply.status, reply.read()
        except OSError:
            return 0, b""


def begin(command: list[str], bundle: Path, workers: int, work: Path) -> Begun:
    golden = json.loads((bundle / "golden.json").read_text())
    body = json.dumps(dict(zip(golden["columns"], golden["rows"][0], strict=True)))
    right = golden["predictions"][0]
    peer = served(command, bundle, workers)
    admin = int(peer.environ["WHERRY_SERVE_ADMIN_PORT"])
    environ = {key: value for key, value in os.environ.items() if not key.startswith("WHERRY_")} | peer.environ
    start = time.perf_counter()
    process = subprocess.Popen(command, env=environ, cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while (answer := asked(peer.port, "/predict", body))[0] != 200:
            if process.poll() is not None or time.perf_counter() - start > 30:
                raise SystemExit(f"{command} did not come up")
            time.sleep(0.001)
        seconds = time.perf_counter() - start
        if json.loads(answer[1]) != {"prediction": right}:
            raise SystemExit(f"answered {answer[1]!r}, not {right}")
        while asked(admin, "/readyz")[0] != 200:
            time.sleep(0.01)
        for _ in range(TOUCHES):
            asked(peer.port, "/predict", body)
        pids = tree(process.pid)
        return Begun(seconds, sum(map(cpu, pids)), memory(pids), memory(pids[:1], "Rss"))
    finally:
        process.terminate()  # a supervisor takes its workers with it
        process.wait()


def served(command: list[str], bundle: Path, workers: int = 1) -> Peer:
    port = free_port()
    environ = {
        "WHERRY_BUNDLE": str(bundle),
        "WHERRY_SERVE_PORT": str(port),
        "WHERRY_SERVE_ADMIN_PORT": str(free_port()),
        "WHERRY_SERVE_WORKERS": str(workers),
        "WHERRY_SERVE_DRAIN_SECONDS": "0",
        "WHERRY_STORE_ENABLED": "false",
    }
    return Peer(command, port, environ)


def starts(bundles: dict[str, Path], folder: Path, rounds: int) -> int:
    server = [sys.executable, "-m", "wherry.server"]
    script = shutil.which("wherry", path=str(Path(sys.executable).parent))
    failed = False
    print(f"{'':<26} {'form':<7} {'best s':>7} {'median s':>9} {'worst s':>8} {'CPU s':>6} {'PSS MB':>7} {'RSS MB':>7}")
    for form, bundle in bundles.items():
        ways = {"python -m wherry.server": (server, 1)}
        if script:
            ways["wherry serve"] = ([script, "serve", str(bundle)], 1)
        ways |= {f"{workers} workers": (server, workers) for workers in (2, 3)}
        found: dict[str, list[Begun]] = {title: [] for title in ways}
        for _ in range(rounds):
            for title, (command, workers) in ways.items():  # in turns, so that what disturbs one disturbs all
                found[title].append(begin(command, bundle, workers, folder))
        for title, every in found.items():
            median = Begun(*map(statistics.median, zip(*every, strict=True)))
            best, worst = min(every).seconds, max(every).seconds
            print(
                f"{title:<26} {form:<7} {best:>7.2f} {median.seconds:>9.2f} {worst:>8.2f} {median.used:>6.2f}"
                f" {median.shared:>7.1f} {median.resident:>7.1f}"
            )
        two, three = (statistics.median(each.shared for each in found[f"{workers} workers"]) for workers in (2, 3))
        alone = found["python -m wherry.server"]
        print(f"{'a further worker adds':<26} {form:<7} {three - two:>41.1f} MB", flush=True)
        if form == "linear":
            failed |= statistics.median(each.resident for each in alone) > MB_ALONE or three - two > MB_WORKER
        else:
            failed |= min(alone).seconds >= SECONDS_ONNX
    return int(failed)


def growth(bundle: Path, folder: Path, count: int) -> int:
    peer = served([sys.executable, "-m", "wherry.server"], bundle)
    admin, bodies = int(peer.environ["WHERRY_SERVE_ADMIN_PORT"]), folder / "rows.jsonl"

    def answered() -> int:
        lines = asked(admin, "/metrics")[1].decode().splitlines()
        return int(sum(float(line.split()[-1]) for line in lines if line.startswith("wherry_requests_total")))

    with started(peer) as pid:
        before = now = 0.0
        while answered() < count:
            by_wrk(Asked(peer, bodies), folder, CONNECTIONS, 5 if before else 1, [pid])
            now = memory([pid], "Rss")
            before = before or now  # with as many connections as later: each has its buffers
            print(f"{answered():>12,} requests: {now:.2f} MB, {now / before - 1:+.2%}", flush=True)
        return int(abs(now / before - 1) > GROWTH)


def main(wanted: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundles = pack(folder, ("linear",) if wanted.requests else ("linear", "onnx"))
        if wanted.requests:
            return growth(bundles["linear"], folder, wanted.requests)
        return starts(bundles, folder, wanted.rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=5)
    parser.add_argument("--requests", type=int, default=0, metavar="N")
    sys.exit(main(parser.parse_args()))
