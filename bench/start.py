"""How soon a service answers, and the memory it takes: M1 folded to arrays, and the same as ONNX, the store off.

python bench/start.py [ROUNDS]: from exec to the first right prediction, and the memory of the process tree (its
proportional set size: what processes share counts once), by both commands, and by two and three workers; from these,
what a further worker adds. Ends with 1 when arrays take more than 70 MB by one process, or 15 MB for a further worker,
or when ONNX never takes under two seconds.

python bench/start.py --requests N [--workers N] [--leaves BYTES]: what N requests of mixed sizes leave behind, a
thirtieth of them refused, every connection closed after 500. Two workers under a supervisor, of which the younger is
killed after every 250,000, under load; or --workers 1, one process. Resident memory by requests, as lines of least
squares after the first 10,000 of the supervisor and 100,000 of a worker; ends with 1 when one of them rises by 1 MB in
100,000.
--leaves, to show that it is seen: so many bytes stay of each request, and a thousand times as many of each worker.

The best of the rounds is what the code takes; the median holds what else the machine does, and the processor seconds
tell the two apart. Other Python processes share pages with these and so make them look smaller: the resident size of
the single process does not depend on them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import itertools
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import uvloop
from models import pack
from turns import Peer, cpu, free_port, started, tree

SECONDS_ONNX, MB_ALONE, MB_WORKER = 2.0, 70.0, 15.0
RISE = 1.0  # MB in PER requests
PER, WARM = 100_000, 10_000  # requests: of a slope; before which memory may grow as it likes
FILLED = 100_000  # the same of a worker: the largest requests, which it allocates for, are few
CONNECTIONS, KEPT = 16, 500  # that ask for --requests, and the requests of one
EVERY, LOOKS = 250_000, 50  # requests after which a worker is killed, and looks at the memory meanwhile
SETTLED = 30.0  # seconds for all workers to be there
LENGTH = re.compile(rb"(?i)content-length: (\d+)")
# What does not let go of what it has answered, nor of workers that have ended.
LEAKING = """
import sys
from wherry.server import __main__, batching, supervisor
kept, leaves = [], int(sys.argv[1])
def leaking(kind, name, size):
    plain = getattr(kind, name)
    setattr(kind, name, lambda *given: (kept.append(b"x" * size), plain(*given))[1])
leaking(batching.Batcher, "submit", leaves)
leaking(supervisor.Supervisor, "bury", 1000 * leaves)
sys.exit(__main__.main())
"""
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


class Request(NamedTuple):
    """What is sent, and the status that is right for it."""

    data: bytes
    status: int


def mixed(bodies: Path) -> list[Request]:
    """A thousand requests in no order: mostly one row; 10, 100 and 1,000; CSV; some that are refused."""
    records = [json.loads(line) for line in bodies.read_text().splitlines()]
    names = list(records[0])
    drawn = itertools.cycle(records)

    def rows(count: int) -> list[list[float]]:
        return [list(next(drawn).values()) for _ in range(count)]

    def sent(body: object, status: int = 200, kind: str = "application/json", more: str = "") -> Request:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\n{more}"
        return Request(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data, status)

    found = [sent(next(drawn)) for _ in range(790)]
    found += [sent(next(drawn), more=f"X-Request-Id: soak-{k}\r\n") for k in range(81)]
    found += [sent([next(drawn) for _ in range(10)]) for _ in range(60)]
    for _ in range(30):
        lines = [names, *rows(10)]
        found.append(sent("".join(",".join(map(str, line)) + "\n" for line in lines), kind="text/csv"))
    found += [sent({"columns": names, "rows": rows(100)}) for _ in range(5)]
    found.append(sent({"columns": names, "rows": rows(1000)}))
    found += [sent({f"{name}_{k}": 1 for name in names}, 422) for k in range(22)]
    found += [sent('{"rows": [[1,', 400) for _ in range(11)]
    random.Random(36).shuffle(found)
    return found


def coming(requests: Iterator[Request], count: int, kill: int) -> Iterator[Request]:
    """So many of them; kill: the process that ends in the middle of it, or 0."""
    for number in range(count):
        if kill and number == count // 2:
            os.kill(kill, signal.SIGKILL)
        yield next(requests)


async def ask(port: int, requests: Iterator[Request], met: Counter[str]) -> None:
    """Ask what comes next until nothing does. Raises SystemExit at an answer that is not right."""
    for first in requests:
        with contextlib.suppress(OSError, EOFError):  # its worker was killed: what it had in hand is not asked again
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                for one in itertools.chain([first], itertools.islice(requests, KEPT - 1)):
                    met["asked"] += 1
                    writer.write(one.data)
                    head = await reader.readuntil(b"\r\n\r\n")
                    size = LENGTH.search(head)
                    said = await reader.readexactly(int(size[1]) if size else 0)
                    if not head.startswith(b"HTTP/1.1 %d " % one.status):
                        raise SystemExit(f"not {one.status} but {head!r} {said[:200]!r}")
                    met["answered"] += 1
            finally:
                writer.close()


async def ask_all(port: int, requests: Iterator[Request], met: Counter[str]) -> None:
    async with asyncio.TaskGroup() as clients:
        for _ in range(CONNECTIONS):
            clients.create_task(ask(port, requests, met))


class Look(NamedTuple):
    """The resident memory of a process, or of all, after so many requests since it began."""

    requests: int
    mb: float


def slope(runs: Iterable[list[Look]], after: int = WARM) -> float:
    """MB in PER requests, by least squares; where there are several processes, each by its own mean."""
    over = under = 0.0
    for run in runs:
        looks = [look for look in run if look.requests >= after]
        if looks:
            x, y = (statistics.fmean(column) for column in zip(*looks, strict=True))
            over += sum((look.requests - x) * (look.mb - y) for look in looks)
            under += sum((look.requests - x) ** 2 for look in looks)
    return PER * over / under if under else 0.0


def ready(admin: int, workers: int) -> bool:
    lines = asked(admin, "/metrics")[1].decode().splitlines()
    return workers == 1 or f"wherry_workers {workers}" in lines


def soak(
    bundle: Path, bodies: Path, count: int, workers: int, every: int, leaves: int = 0, filled: int = WARM
) -> dict[str, float]:
    """MB that resident memory rises by in PER requests: of each process, and of all of them together.

    every: requests after which the younger worker is killed. filled: of a worker, before which its memory may grow.
    """
    command = [sys.executable, "-c", LEAKING, str(leaves)] if leaves else [sys.executable, "-m", "wherry.server"]
    peer = served(command, bundle, workers)
    requests, met = itertools.cycle(mixed(bodies)), Counter[str]()
    runs: dict[int, list[Look]] = {}  # by process, in the order they came
    born: dict[int, int] = {}
    whole: list[Look] = []
    with started(peer, *os.sched_getaffinity(0)) as pid:
        for done in range(0, count + 1, every // LOOKS):
            until = time.monotonic() + SETTLED
            while not ready(int(peer.environ["WHERRY_SERVE_ADMIN_PORT"]), workers):
                if time.monotonic() > until:
                    raise SystemExit("the workers are not all there")
                time.sleep(0.02)
            pids = tree(pid)
            for each in pids:
                runs.setdefault(each, []).append(Look(done - born.setdefault(each, done), memory([each], "Rss")))
            whole.append(Look(done, sum(runs[each][-1].mb for each in pids)))
            if done % every == 0:
                each_mb = ", ".join(f"{runs[each][-1].mb:.2f}" for each in pids)
                print(
                    f"{done:>9,} requests: {whole[-1].mb:.2f} MB resident ({each_mb}), {memory(pids):.2f} proportional"
                )
            kill = list(runs)[-1] if workers > 1 and done and done % every == 0 else 0  # the younger
            if done < count:
                uvloop.run(ask_all(peer.port, coming(requests, every // LOOKS, kill), met))
    print(f"{met['asked']:,} asked, {met['asked'] - met['answered']} of them by workers that were killed meanwhile")
    first, *others = runs.values()
    if workers == 1:
        return {"the process": slope([first], filled)}
    return {
        "the supervisor": slope([first]),
        "the worker that stays": slope(others[:1], filled),
        f"{len(others) - 1} workers by their age": slope(others[1:], filled),
        "all together": slope([whole], filled),
    }


def growth(bundle: Path, bodies: Path, wanted: argparse.Namespace) -> int:
    found = soak(bundle, bodies, wanted.requests, wanted.workers, EVERY, wanted.leaves, FILLED)
    for title, rise in found.items():
        print(f"{title:<24} {rise:+.3f} MB in {PER:,} requests")
    return int(max(found.values()) >= RISE)


def main(wanted: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundles = pack(folder, ("linear",) if wanted.requests else ("linear", "onnx"))
        if wanted.requests:
            return growth(bundles["linear"], folder / "rows.jsonl", wanted)
        return starts(bundles, folder, wanted.rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int, nargs="?", default=5)
    parser.add_argument("--requests", type=int, default=0, metavar="N")
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--leaves", type=int, default=0, metavar="BYTES")
    sys.exit(main(parser.parse_args()))
