"""A steady stream of requests at 127.0.0.1, sent when they are due whatever became of those before (open loop).

    python steady_load.py URL RATE {pool,fresh} < plan.json > report.json

Ends on SIGTERM (or the end of standard input's plan: "seconds"). The plan holds the body and, by model version, what
the right answer is. pool: connections are kept and used again, the last used first; fresh: one for each request.
The reports of two modes may be added up. No request is ever sent twice.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

ANSWER_SECONDS = 10.0


class Load:
    """One stream. latencies in seconds; failures by their words; answers by the version that gave them."""

    def __init__(self, url: str, rate: float, mode: str, plan: dict[str, Any]) -> None:
        split = urlsplit(url)
        assert split.hostname == "127.0.0.1", "load goes to this machine alone"
        self.host, self.port = split.hostname, split.port or 80
        self.rate, self.mode, self.seconds = rate, mode, float(plan["seconds"])
        self.expected: dict[str, Any] = plan["expected"]
        body = json.dumps(plan["body"]).encode()
        close = "Connection: close\r\n" if mode == "fresh" else ""
        head = f"POST /predict HTTP/1.1\r\nHost: {split.netloc}\r\nContent-Type: application/json\r\n{close}"
        self.request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self.pool: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []  # and when it was used last
        self.sent = 0
        self.failures: Counter[str] = Counter()
        self.failed_at: list[float] = []
        self.idle: list[float] = []  # seconds for which the kept connections had not been used on which requests failed
        self.answers: Counter[str] = Counter()
        self.last: dict[str, float] = {}  # when each version answered last, by the wall clock
        self.latencies: list[float] = []
        self.stopped = asyncio.Event()

    async def run(self) -> dict[str, Any]:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stopped.set)
        began, tasks = time.perf_counter(), set()
        while not self.stopped.is_set() and (due := self.sent / self.rate) < self.seconds:
            wait = began + due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self.sent += 1
            task = asyncio.create_task(self.one(began + due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks)
        found = sorted(self.latencies) or [0.0]
        return {
            "mode": self.mode,
            "sent": self.sent,
            "failed": sum(self.failures.values()),
            "failures": dict(self.failures),
            "failed_at": self.failed_at,
            "idle": self.idle,
            "answers": dict(self.answers),
            "last": self.last,
            "seconds": round(time.perf_counter() - began, 1),
            "p50_ms": round(1000 * found[len(found) // 2], 1),
            "p99_ms": round(1000 * found[min(len(found) - 1, len(found) * 99 // 100)], 1),
            "max_ms": round(1000 * found[-1], 1),
        }

    async def one(self, due: float) -> None:
        """A request and what became of it, timed from when it was due."""
        try:
            version, answer = await asyncio.wait_for(self.asked(), ANSWER_SECONDS)
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"[:100]
        else:
            self.latencies.append(time.perf_counter() - due)
            self.answers[version] += 1
            self.last[version] = time.time()
            if answer == self.expected.get(version):
                return
            reason = f"version {version} answered {answer!r}"[:100]
        self.failures[reason] += 1
        self.failed_at.append(time.time())

    async def asked(self) -> tuple[str, Any]:
        reader, writer, idle = await self.connection()
        keep = False
        try:
            writer.write(self.request)
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            except (OSError, EOFError):
                self.idle.append(round(idle, 3))
                raise
            status, *lines = head.split("\r\n")
            fields = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines if line)}
            body = await reader.readexactly(int(fields["content-length"]))
            keep = self.mode == "pool" and fields.get("connection", "").lower() != "close"
        finally:
            if keep:
                self.pool.append((reader, writer, time.perf_counter()))
            else:
                writer.close()
        if not status.startswith("HTTP/1.1 200"):
            raise ValueError(status)
        return fields.get("x-model-version", ""), json.loads(body)

    async def connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, float]:
        """A kept one or a new one, and for how long it was idle."""
        while self.pool:
            reader, writer, used = self.pool.pop()
            if not reader.at_eof() and not writer.is_closing():
                return reader, writer, time.perf_counter() - used
            writer.close()
        return *await asyncio.open_connection(self.host, self.port), 0.0


def main() -> None:
    url, rate, mode = sys.argv[1:]
    report = asyncio.run(Load(url, float(rate), mode, json.load(sys.stdin)).run())
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
