"""Open-loop load: each request is due at its own moment, whatever became of those before it. No request is repeated.

Latency runs from when a request was due, so that a service that stalls is charged for everybody who would have come
meanwhile. A request that finds every connection busy waits for one, and its wait counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import resource
import signal
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import uvloop

from wherry.contract.events import StressView, Tell
from wherry.errors import ServiceUnreachable
from wherry.stress.check import Checker
from wherry.stress.connection import Line
from wherry.stress.outcomes import (
    CLIENT_ERROR,
    OWN,
    REFUSED,
    SERVER_ERROR,
    TIMEOUT,
    WRONG_ANSWER,
    WRONG_VERSION,
)
from wherry.stress.plan import Plan
from wherry.stress.tally import Tally, bins_of, percentile, tally_for
from wherry.stress.timer import Timer

PART = 4096  # requests whose moments are worked out at once
BATCH = 2048  # samples that are put away at once
TICK = 0.5  # seconds between two views
GRACE = 1.0  # seconds that requests under way have when the run is interrupted
OTHER_FILES = 64  # that the process has open beside its connections
OWN_ERRORS = {errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE, errno.ENOBUFS}


def run(plan: Plan, tell: Tell) -> Tally:
    """Put the load of `plan` on its target. The first Ctrl-C ends it early, with everything measured until then.

    Raises ServiceUnreachable when nobody accepts a connection before it begins.
    """
    plan = replace(plan, connections=room_for(plan.connections))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load(plan, tell))


def room_for(connections: int) -> int:
    """How many connections this process may open, its soft limit on files raised as far as needed and allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + OTHER_FILES
    if soft < wanted and soft != resource.RLIM_INFINITY:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - OTHER_FILES)
    return connections


async def load(plan: Plan, tell: Tell) -> Tally:
    """As `run`, within an event loop."""
    loop = asyncio.get_running_loop()
    running = Load(plan, tell, loop)
    await running.reach()
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # not the main thread: nobody to interrupt
        loop.add_signal_handler(signal.SIGINT, running.interrupt)
    collecting = gc.isenabled()
    gc.disable()  # a collection in the middle would be the generator's lag, not the service's
    try:
        return await running.go()
    finally:
        if collecting:
            gc.enable()
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.remove_signal_handler(signal.SIGINT)


class Load:
    """A run under way."""

    def __init__(self, plan: Plan, tell: Tell, loop: asyncio.AbstractEventLoop) -> None:
        self.plan, self.tell, self.loop = plan, tell, loop
        self.clock: Callable[[], float] = time.perf_counter
        self.wires = [ask.wire for ask in plan.asks]
        self.checker = Checker(plan.asks, plan.rtol, plan.atol)
        self.check, self.digest = self.checker.needed, plan.digest.encode()
        self.keep_body = self.check
        self.total = min(plan.count, plan.shape.total)
        # A shape that ends with nothing to send is watched to its end; one cut short by the count is over with it.
        self.ends = plan.shape.seconds if self.total == plan.shape.total else 0.0
        self.tally = tally_for(plan.shape.seconds, plan.window)
        self.tls = ssl.create_default_context() if plan.target.tls else None
        self.lines: set[Line] = set()
        self.idle: list[Line] = []
        self.waiting: deque[tuple[int, float]] = deque()  # asks that are due and have no connection yet
        self.opening: set[asyncio.Task[None]] = set()
        self.begun = 0.0
        self.next = 0  # the request that comes due next
        self.moments: list[float] = []
        self.place = 0
        self.settled = 0
        self.right = 0
        self.shown = (0, 0, 0.0)
        self.tick_latency = np.zeros_like(self.tally.lag)
        # samples not put away yet
        self.dues: list[float] = []
        self.latencies: list[float] = []
        self.right_dues: list[float] = []
        self.lags: list[float] = []
        self.over = loop.create_future()
        self.timer = Timer(loop, self.come_due)

    # --- the run

    async def reach(self) -> None:
        """Open the first connection. Raises ServiceUnreachable."""
        try:
            async with asyncio.timeout(self.plan.timeout):
                await self.connect()
        except OSError as error:
            self.timer.close()
            raise unreachable(self.plan, error) from error

    async def go(self) -> Tally:
        self.begun, self.tally.start = self.clock(), time.time()
        sweep = self.loop.create_task(self.sweep())
        watch = self.loop.create_task(self.watch())
        self.come_due()
        try:
            await self.over
        finally:
            self.timer.close()
            for task in (sweep, watch, *self.opening):
                task.cancel()
            await asyncio.gather(sweep, watch, *self.opening, return_exceptions=True)
            for line in list(self.lines):
                line.transport.abort()
        self.put_away()
        self.show()
        return self.tally

    def come_due(self) -> None:
        """Send every request that is due by now, and wake again for the next."""
        now = self.clock() - self.begun
        while self.next < self.total:
            if self.place >= len(self.moments):
                self.moments = self.plan.shape.due(self.next, min(self.next + PART, self.total)).tolist()
                self.place = 0
            due = self.moments[self.place]
            if due > now:
                now = self.clock() - self.begun
                if due > now:
                    self.timer.arm(due - now)
                    return
            self.lags.append(now - due)
            ask = self.next % len(self.wires)
            self.place += 1
            self.next += 1
            if self.idle:
                self.idle.pop().send(self.wires[ask], ask, due)
            else:
                self.waiting.append((ask, due))
                if len(self.lines) + len(self.opening) < self.plan.connections:
                    self.open()
                elif len(self.opening) < len(self.waiting):
                    self.tally.waited += 1
        if not self.tally.elapsed:
            self.tally.elapsed = max(self.plan.shape.seconds if self.total < self.plan.count else now, now)
        self.finish()

    def finish(self) -> None:
        if self.settled >= self.next >= self.total and not self.over.done():
            left, self.ends = self.ends - (self.clock() - self.begun), 0.0
            if left > 0:
                self.loop.call_later(left, self.finish)
            else:
                self.over.set_result(None)

    def interrupt(self) -> None:
        """Send nothing more; what is under way has GRACE to end."""
        if self.tally.interrupted:
            self.end_interrupted()
            return
        self.tally.interrupted = True
        self.tally.elapsed = self.tally.elapsed or self.clock() - self.begun
        self.tally.unfinished += len(self.waiting)
        self.settled += len(self.waiting)
        self.waiting.clear()
        self.total, self.ends = self.next, 0.0
        self.loop.call_later(GRACE, self.end_interrupted)
        self.finish()

    def end_interrupted(self) -> None:
        if not self.over.done():
            self.tally.unfinished += self.next - self.settled
            self.over.set_result(None)

    # --- connections

    def open(self) -> None:
        task = self.loop.create_task(self.try_open())
        self.opening.add(task)
        task.add_done_callback(self.opening.discard)

    async def try_open(self) -> None:
        try:
            async with asyncio.timeout(self.plan.timeout):
                await self.connect()
        except TimeoutError:
            pass  # the sweep settles whoever waited for it
        except OSError as error:
            if self.waiting:
                ask, due = self.waiting.popleft()
                self.failed(OWN if error.errno in OWN_ERRORS else REFUSED, due, f"{self.wanted(ask)}: {error}")

    async def connect(self) -> None:
        target = self.plan.target
        await self.loop.create_connection(
            lambda: Line(self),
            target.address or target.host,
            target.port,
            ssl=self.tls,
            server_hostname=target.host if self.tls else None,
        )

    def opened(self, line: Line) -> None:
        self.lines.add(line)
        self.tally.connections += 1
        self.free(line)

    def free(self, line: Line) -> None:
        """Give the connection to whoever waited longest, else keep it."""
        if self.waiting:
            ask, due = self.waiting.popleft()
            line.send(self.wires[ask], ask, due)
        else:
            self.idle.append(line)

    def answered(self, line: Line, status: int, body: bytes, head: bytes, keep: bool) -> None:
        now = self.clock() - self.begun
        ask, due = line.ask, line.due
        line.ask = -1
        if status >= 400:
            remark = f"{status} {body[:200].decode('utf-8', 'replace')}" if body else str(status)
            self.failed(SERVER_ERROR if status >= 500 else CLIENT_ERROR, due, remark)
        elif self.digest and self.digest not in head.partition(b"\r\n\r\n")[0]:
            self.failed(WRONG_VERSION, due, "the reply's X-Model-Digest is not the bundle's")
        elif self.check and not self.checker.right(ask, body):
            self.failed(WRONG_ANSWER, due, f"golden row {ask}: {body[:200].decode('utf-8', 'replace')}")
        else:
            self.dues.append(due)
            self.latencies.append(now - due)
            self.right += 1
            self.settled += 1
            if len(self.dues) >= BATCH:
                self.put_away()
        if keep and not self.plan.fresh:
            if self.waiting:
                ask, due = self.waiting.popleft()
                line.send(self.wires[ask], ask, due)
            else:
                self.idle.append(line)
        else:
            line.transport.close()
        if self.settled >= self.total:
            self.finish()

    def broken(self, line: Line, kind: str, remark: str) -> None:
        due, line.ask = line.due, -1
        self.failed(kind, due, remark)

    def lost(self, line: Line) -> None:
        self.lines.discard(line)
        with contextlib.suppress(ValueError):
            self.idle.remove(line)
        if self.waiting and len(self.lines) + len(self.opening) < self.plan.connections and not self.over.done():
            self.open()

    # --- what is counted

    def failed(self, kind: str, due: float, remark: str) -> None:
        self.tally.add_failure(kind, due)
        self.tally.remark = self.tally.remark or f"{kind}: {remark}"
        self.settled += 1
        self.finish()

    def wanted(self, ask: int) -> str:
        return f"request {ask}"

    def put_away(self) -> None:
        """Samples into the histograms."""
        if self.dues:
            due, seconds = np.array(self.dues), np.array(self.latencies)
            self.tally.add_latencies(due, seconds)
            self.tally.add_right(due)
            self.tick_latency += np.bincount(bins_of(seconds), minlength=len(self.tick_latency))
            self.dues.clear()
            self.latencies.clear()
        if self.lags:
            self.tally.add_lags(np.array(self.lags))
            self.lags.clear()

    async def sweep(self) -> None:
        """Give up on what has had no answer in time."""
        timeout = self.plan.timeout
        while True:
            await asyncio.sleep(min(0.25, timeout / 10))
            late = self.clock() - self.begun - timeout
            while self.waiting and self.waiting[0][1] < late:
                self.timed_out(self.waiting.popleft()[1], "it waited for a connection")
            for line in [line for line in self.lines if line.ask >= 0 and line.due < late]:
                due, line.ask = line.due, -1
                self.timed_out(due, "no whole reply came")
                line.transport.abort()

    def timed_out(self, due: float, remark: str) -> None:
        self.tally.add_latencies(np.array([due]), np.array([max(self.plan.timeout, self.clock() - self.begun - due)]))
        self.failed(TIMEOUT, due, f"{remark} within {self.plan.timeout:g} s")

    # --- what is shown

    async def watch(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.put_away()
            self.show()

    def show(self) -> None:
        """Tell how the run stands, with the percentiles since it was last told."""
        elapsed = self.clock() - self.begun
        sent_before, right_before, at = self.shown
        since = max(elapsed - at, 1e-9)
        largest = float("inf")
        p50, p90, p99 = (percentile(self.tick_latency, share, largest) for share in (50, 90, 99))
        lag = percentile(self.tally.lag, 99, self.tally.lag_worst)
        self.tell(
            StressView(
                elapsed=min(elapsed, self.plan.shape.seconds),
                seconds=self.plan.shape.seconds,
                offered=(self.next - sent_before) / since,
                rate=(self.right - right_before) / since,
                p50=p50,
                p90=p90,
                p99=p99,
                sent=self.next,
                failed=self.settled - self.right - self.tally.unfinished,
                in_flight=max(0, self.next - self.settled),
                lag=lag or 0.0,
            )
        )
        self.tick_latency[:] = 0
        self.shown = (self.next, self.right, elapsed)


def unreachable(plan: Plan, error: OSError) -> ServiceUnreachable:
    """Why the first connection could not be made."""
    url = plan.target.url
    if isinstance(error, ConnectionRefusedError):
        return ServiceUnreachable(url, "nothing listens there", "start the service with `wherry serve`")
    if isinstance(error, TimeoutError):
        return ServiceUnreachable(url, f"no connection within {plan.timeout:g} s", "is the address right?")
    return ServiceUnreachable(url, str(error) or type(error).__name__, "is the address right?")
