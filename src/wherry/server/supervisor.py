"""Several workers behind one port: loads the model once, forks, watches, replaces, drains, and answers the admin port.

It keeps the listening socket open, so that a connection that nobody accepted yet waits for the next worker. It runs
nothing of the model and has no threads, so that a fork is safe at any time; forks happen between two runs of its loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
import traceback
import warnings

from wherry.contract import names
from wherry.contract.events import Note, Tell
from wherry.errors import WherryError, WorkerFailed
from wherry.server.admin import AdminSite
from wherry.server.board import total
from wherry.server.crew import FAILED, FINISH, GAUGE, Crew, Report, cover, work
from wherry.server.drain import Life
from wherry.server.limits import Limits
from wherry.server.loading import Proof
from wherry.server.metrics import Gauge, render
from wherry.server.port import Port
from wherry.server.ports import deafen
from wherry.server.service import INTERRUPTED, announce, complete, introduce, model_gauges
from wherry.server.slot import Slot

LOOK = 0.25  # seconds between looks at the workers' ticks
GRACE = 15.0  # seconds beyond every deadline until a worker that drains is killed
HURRY = 1.0  # seconds until a worker that was told twice is killed
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)


class Supervisor:
    """The process that workers are forked from."""

    def __init__(self, crew: Crew, tell: Tell) -> None:
        self.crew, self.tell = crew, tell
        self.life = Life()
        self.slots = [Slot(lane) for lane in range(crew.project.serve.workers)]
        self.alive = os.pipe()  # at its end in the workers once this process is gone
        self.replaced = {"died": 0, "hung": 0}
        self.proof: Proof | None = None  # as the first worker found it
        self.failure: WherryError | None = None
        self.deadline = 0.0  # when those that still drain are killed; 0: nobody drains
        self.hurried = False
        self.told: set[str] = set()  # while starting or draining: every worker says the same
        self.seconds = crew.loaded.seconds
        self.begun = time.monotonic()

    def run(self) -> int:
        """Serve until told to stop. Raises WorkerFailed when a worker cannot start while none was ready yet."""
        with contextlib.suppress(ImportError):
            import uvloop  # noqa: F401  # here, so that its pages are shared
        gc.collect()
        gc.freeze()  # a collection in a worker would write to every page it looks at
        # Not uvloop: nothing in here is fast, and a fork leaves a loop of plain Python alone.
        self.loop = asyncio.SelectorEventLoop()
        self.attention = asyncio.Event()
        self.port = Port(AdminSite(self), Limits(body_bytes=1024, connections=100), self.loop)
        try:
            self.loop.run_until_complete(self.port.open(self.crew.admin))
            self.loop.add_signal_handler(signal.SIGTERM, self.terminate)
            self.loop.add_signal_handler(signal.SIGINT, self.interrupt)
            self.loop.add_signal_handler(signal.SIGCHLD, self.reap)
            while not self.deadline or any(slot.pid for slot in self.slots):
                for slot in self.slots:
                    if not slot.pid and not self.deadline and time.monotonic() >= slot.due:
                        self.fork(slot)
                self.loop.run_until_complete(self.turn())
        finally:
            for slot in self.slots:
                slot.send(signal.SIGKILL)
                if slot.pid:
                    os.waitpid(slot.pid, 0)
            self.port.stop_listening()
            self.port.abort()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()
            for end in self.alive:
                os.close(end)
        if self.failure is not None:
            raise self.failure
        return INTERRUPTED if self.hurried else 0

    # Workers come and go

    def fork(self, slot: Slot) -> None:
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.set_blocking(write, False)
        slot.started()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that came to the child before it has handlers of its own would be taken for this process's.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads: OpenBLAS has some, and minds forks itself
            pid = os.fork()
        if pid == 0:
            self.become(slot, write)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        os.close(write)
        slot.filled(pid, read)
        self.loop.add_reader(read, self.hear, slot)

    def become(self, slot: Slot, write: int) -> None:
        """In the child: be a worker, and end without ever returning to what this process was."""
        code = FAILED
        try:
            signal.set_wakeup_fd(-1)
            for number in HANDLED:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C: the supervisor passes it on
            cover({0, 1, 2, self.crew.serving.fileno(), write, self.alive[0]})
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            code = work(self.crew, slot.lane, slot.board, self.proof, write, self.alive[0])
        except BaseException:  # noqa: BLE001  # a worker that cannot go on says why, and ends here whatever it was
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def reap(self) -> None:
        """A child has ended, or several."""
        for slot in self.slots:
            if slot.pid:
                pid, status = os.waitpid(slot.pid, os.WNOHANG)
                if pid:
                    self.bury(slot, status)
        if os.getpid() == 1:  # of a container: what workers left behind is ours
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        self.attention.set()

    def bury(self, slot: Slot, status: int) -> None:
        self.hear(slot)
        self.loop.remove_reader(slot.pipe)
        os.close(slot.pipe)
        pid, hung = slot.pid, slot.hung
        slot.emptied()
        if self.deadline:
            return
        code = os.waitstatus_to_exitcode(status)
        how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
        if self.life.stage == "starting" and self.proof is None:
            self.fail(WorkerFailed(f"worker process {pid} {how} before it was ready"))
            return
        self.replaced["hung" if hung else "died"] += 1
        how = "did nothing for too long" if hung else how
        self.tell(Note(f"worker process {pid} {how}; another takes its place", warn=True))

    def hear(self, slot: Slot) -> None:
        """Take up what a worker reports."""
        reports = slot.read()
        if not reports and self.loop.is_running():
            self.loop.remove_reader(slot.pipe)  # at its end: the process is about to be reaped
        for report in reports:
            if report.kind == "ready":
                self.welcome(slot, report)
            elif report.kind == "failed" and self.life.stage == "starting":
                self.fail(WorkerFailed(report.text, report.hint))
            elif report.text not in self.told:
                if self.life.stage != "ready":
                    self.told.add(report.text)
                self.tell(Note(report.text, warn=report.warn or report.kind == "failed", hint=report.hint))

    def welcome(self, slot: Slot, report: Report) -> None:
        slot.ready_since, slot.memory = time.monotonic(), report.memory
        assert report.proof is not None
        self.proof = self.proof or report.proof
        if self.life.stage != "starting" or not all(each.ready_since for each in self.slots):
            return
        self.life.stage = "ready"
        self.told.clear()
        tell = self.tell
        crew, adds = self.crew, max(each.memory for each in self.slots) / 2**20
        self.seconds = introduce(crew.loaded, report.proof, tell)
        announce(crew.serving, crew.admin, crew.project, report.where, tell)
        tell(Note(f"workers   {len(self.slots)}, each of which adds up to {adds:.0f} MiB of its own"))
        complete(crew.serving, crew.admin, crew.project, crew.loaded, self.proof, self.seconds, tell)

    def fail(self, error: WherryError) -> None:
        """Nobody was answered yet, and nobody will be."""
        self.failure = self.failure or error
        self.deadline = time.monotonic()
        self.attention.set()

    # The clock

    async def turn(self) -> None:
        """Wait until something asks for attention, a moment at most, and look at everything."""
        self.attention.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.attention.wait(), LOOK)
        now = time.monotonic()
        for slot in self.slots:
            if slot.stuck(now, self.crew.project.serve.hang_seconds):
                slot.kill()
            elif self.deadline and now >= self.deadline:
                slot.send(signal.SIGKILL)

    # The end

    def terminate(self) -> None:
        """SIGTERM: the workers answer new requests for the lame-duck time, finish, and end."""
        self.stop(self.crew.project.serve.drain_seconds, signal.SIGTERM)

    def interrupt(self) -> None:
        """Ctrl-C: the workers finish what is in flight; the second time they stop at once."""
        if not self.deadline:
            self.stop(0.0, FINISH)
        elif not self.hurried:
            self.hurried = True
            self.deadline = time.monotonic() + HURRY
            for slot in self.slots:
                slot.send(FINISH)

    def stop(self, lame: float, number: int) -> None:
        if self.deadline:
            return
        self.life.stage = "draining"
        self.deadline = time.monotonic() + lame + self.crew.project.serve.request_seconds + GRACE
        for slot in self.slots:
            slot.send(number)
        self.loop.call_later(lame, self.let_go)
        self.attention.set()

    def let_go(self) -> None:
        """Let nobody new connect. The workers hold the port open as long as they accept; after them nobody waits."""
        deafen(self.crew.serving)
        self.crew.serving.close()

    # What the admin port is told

    def livez(self) -> tuple[int, bytes]:
        return 200, b'{"status":"alive"}'

    def readyz(self) -> tuple[int, bytes]:
        """200 while a live worker has proven itself and goes on."""
        if self.life.ready and not self.ready_workers():
            return 503, b'{"status":"no worker is ready"}'
        return (200 if self.life.ready else 503), self.life.said()

    def ready_workers(self) -> int:
        now = time.monotonic()
        return sum(slot.ready(now) for slot in self.slots)

    def metrics(self) -> str:
        """Counted over all workers there are and were."""
        counts = total([slot.board for slot in self.slots])
        workers = self.ready_workers()
        ready = self.life.ready and workers > 0
        gauges: list[Gauge] = model_gauges(self.crew.loaded, ready, self.seconds)
        gauges.append((names.METRIC_WORKERS, "", float(workers)))
        for cause, count in self.replaced.items():
            gauges.append((names.METRIC_REPLACED, f'{{cause="{cause}"}}', float(count)))
        for name in [name for name in counts if name.startswith(GAUGE)]:
            _, metric, labels = name.split("|")
            gauges.append((metric, labels, counts.pop(name)))
        return render(counts, gauges)
