"""A service that is asked for more than it can answer: what it still gives, how it refuses, how it comes back.

python bench/overload.py [--first] [--limit SHARE] [SECONDS] [FOLD ...]: a forest of 200 trees served by scikit-learn on
core 0, 64 rows a call, requests at a set rate from core 1, whatever comes back. Finds the capacity, then asks for FOLD
times it (3 and 5) for SECONDS (10), with 0.8 of it before and 0.5 of it after. With --first the service and the sender
go before everything else on the machine (needs root), as on one that is otherwise idle. With --limit the service gets
that share of a core, as a container with a CPU limit does (needs root): it is stopped for the rest of each tenth of a
second. Short of the capacity (FOLD 0.7) nothing may be refused then either.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httptools
import numpy as np
import uvloop
from models import BEANS, pack
from turns import SENDER_CORE, cpu, forked, serving, settle, started

MOST_CONNECTIONS = 950  # a service takes a thousand
TICK = 0.001
CALM_MS = 100.0  # p99 beyond which a rate is no longer held
REFUSAL_MS, FIRST_MS, GOODPUT = 50.0, 50.0, 0.85


class Answer(NamedTuple):
    """When a request was due, written and answered, by the run's clock (s), and how."""

    due: float
    asked: float
    at: float
    status: int
    says_when: bool  # whether a refusal carries Retry-After


class Connection(asyncio.Protocol):
    """One connection; asks when it is told to, and goes back to those that are free."""

    def __init__(self, sender: Sender) -> None:
        self.sender, self.due, self.asked, self.says_when = sender, 0.0, 0.0, False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)
        self.sender.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.sender.lose(self)

    def ask(self, due: float) -> None:
        self.due, self.asked, self.says_when = due, self.sender.now(), False
        self.transport.write(self.sender.request())

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.says_when = self.says_when or name.lower() == b"retry-after"

    def on_message_complete(self) -> None:
        sender = self.sender
        sender.answers.append(Answer(self.due, self.asked, sender.now(), self.parser.get_status_code(), self.says_when))
        sender.free(self)


class Sender:
    """Asks at a rate; what finds no free connection waits for one, and its time runs."""

    def __init__(self, port: int, bodies: list[str]) -> None:
        head = "POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        self.requests = [f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode() for body in bodies]
        self.port, self.count, self.opened = port, 0, 0
        self.idle: list[Connection] = []
        self.waiting: deque[float] = deque()
        self.opening: set[asyncio.Task[Any]] = set()
        self.answers: list[Answer] = []
        self.begun = time.perf_counter()

    def now(self) -> float:
        return time.perf_counter() - self.begun

    def request(self) -> bytes:
        self.count += 1
        return self.requests[self.count % len(self.requests)]

    def free(self, connection: Connection) -> None:
        if self.waiting:
            connection.ask(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def lose(self, connection: Connection) -> None:
        """One that was idle for long may go; one that asked may not."""
        if connection not in self.idle:
            raise SystemExit("the service ended a connection that waited for an answer")
        self.idle.remove(connection)
        self.opened -= 1

    async def run(self, rate: float, seconds: float, rest: float = 0.5) -> list[Answer]:
        """The answers to so many requests a second for so long."""
        loop = asyncio.get_running_loop()
        self.answers, begin, sent = [], self.now(), 0
        while (now := self.now() - begin) < seconds:
            while sent < now * rate:
                due = begin + sent / rate
                sent += 1
                if self.idle:
                    self.idle.pop().ask(due)
                else:
                    self.waiting.append(due)
                    if self.opened < MOST_CONNECTIONS:
                        self.opened += 1
                        opened = loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
                        self.opening.add(loop.create_task(opened))
            await asyncio.sleep(TICK)
        end = self.now() + 30
        while len(self.answers) < sent and self.now() < end:
            await asyncio.sleep(TICK)
        await asyncio.sleep(rest)
        return self.answers


def p99(answers: list[Answer]) -> float:
    """Milliseconds."""
    return float(np.percentile([1e3 * (a.at - a.due) for a in answers], 99)) if answers else float("nan")


def good(answers: list[Answer]) -> list[Answer]:
    return [a for a in answers if a.status == 200]


def goodput(answers: list[Answer], seconds: float) -> float:
    begin = min(a.due for a in answers)
    return len([a for a in good(answers) if a.at <= begin + seconds]) / seconds


async def capacity(sender: Sender, calm: float) -> float:
    """The highest rate at which nothing is refused and nothing waits for long: upwards by halves, then bisected."""

    async def holds(rate: float) -> bool:
        for _ in range(2):  # what else the machine did may have broken the first
            answers = await sender.run(rate, 4.0)
            if len(good(answers)) == len(answers) and p99(answers) < calm:
                return True
        return False

    low, high = 100.0, 150.0
    while await holds(high):
        low, high = high, 1.5 * high
    for _ in range(4):
        middle = (low + high) / 2
        low, high = (middle, high) if await holds(middle) else (low, middle)
    return low


async def story(port: int, pid: int, bodies: list[str], seconds: float, folds: list[float], limit: float) -> int:
    sender, wrong = Sender(port, bodies), 0
    await sender.run(200 * limit, 2.0)
    most = await capacity(sender, CALM_MS / limit)
    before = p99(good(await sender.run(0.8 * most, seconds)))
    print(f"capacity {most:,.0f} requests/s; at 0.8 of it p99 {before:.1f} ms", flush=True)
    for fold in folds:
        held, used = resident(pid), cpu(pid)
        answers = await sender.run(fold * most, seconds, rest=0.0)
        used = cpu(pid) - used
        after = await sender.run(0.5 * most, 5.0)
        grown = (resident(pid) - held) / 2**20
        right, refused = good(answers), [a for a in answers if a.status == 503]
        share = goodput(answers, seconds) / most
        # The processor time of a refusal: what was used beyond what as many answers take at the capacity.
        refusal = max(0.0, (used - len(right) * limit / most) / max(len(refused), 1))
        bound = (1 - fold * most * refusal / limit) / (1 - most * refusal / limit)
        says = sum(a.says_when for a in refused) / max(len(refused), 1)
        other = len(answers) - len(right) - len(refused)
        first = 1e3 * (after[0].at - after[0].due)
        calm = back(after, 1.1 * p99(good(after)[len(after) // 2 :]))
        print(f"{fold:g} times the capacity for {seconds:.0f} s: goodput {share:.2f} of it (bound {bound:.2f}),")
        print(f"  accepted p99 {p99(right):.1f} ms; {len(refused):,} refused within {p99(refused):.1f} ms (p99),")
        written = p99([a._replace(due=a.asked) for a in refused])
        print(f"  {written:.1f} ms after they were written, {says:.0%} with Retry-After; {other} other;")
        print(f"  {1e6 * refusal:.1f} us a refusal; {grown:+.1f} MB")
        print(f"  afterwards at 0.5: the first within {first:.1f} ms, p99 as before after {calm:.2f} s", flush=True)
        if fold < 1:
            wrong += len(right) < len(answers)
            continue
        wrong += share < GOODPUT * min(bound, 1.0) or other > 0 or says < 1
        wrong += limit == 1 and (p99(refused) > REFUSAL_MS or first > FIRST_MS or p99(right) > 2 * before)
    return int(wrong > 0)


def back(answers: list[Answer], usual: float) -> float:
    """Seconds until the slowest of a tenth of a second is as usual, in milliseconds."""
    begin = answers[0].due
    late = [a.due - begin for a in answers if 1e3 * (a.at - a.due) > 2 * usual]
    return max(late, default=0.0)


@contextlib.contextmanager
def limited(pid: int, share: float, *, first: bool) -> Iterator[None]:
    """A process in a group of its own that gets this share of a core, by cgroups of version 2 or 1.

    first: before all other groups.
    """
    root = Path("/sys/fs/cgroup")
    version2 = (root / "cgroup.controllers").exists()
    group = (root if version2 else root / "cpu") / f"wherry-{pid}"
    group.mkdir()
    try:
        quota = f"{share * 100_000:.0f}"  # of 100,000 µs, which is usual
        (group / ("cpu.max" if version2 else "cpu.cfs_quota_us")).write_text(quota)
        if first:
            weight, most = ("cpu.weight", "10000") if version2 else ("cpu.shares", "262144")
            (group / weight).write_text(most)
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(asked: argparse.Namespace) -> int:
    if asked.first:
        forked()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        bundle = pack(folder, ("skops",), "m4", asked.beans)["skops"]
        bodies = (folder / "rows.jsonl").read_text().splitlines()
        peer = serving(bundle, WHERRY_SERVE_BATCH_ROWS="64")
        pid = stack.enter_context(started(peer, first=asked.first))
        if asked.limit < 1:
            stack.enter_context(limited(pid, asked.limit, first=asked.first))
        settle(SENDER_CORE, first=asked.first)
        gc.disable()  # answers pile up here: looking through them all would stop the sender, not the service
        return uvloop.run(story(peer.port, pid, bodies, asked.seconds, asked.folds or [3.0, 5.0], asked.limit))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=float, nargs="?", default=10.0)
    parser.add_argument("folds", type=float, nargs="*")
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--limit", type=float, default=1.0, metavar="SHARE")
    parser.add_argument("--beans", type=Path, default=BEANS, metavar="CSV")
    sys.exit(main(parser.parse_args()))
