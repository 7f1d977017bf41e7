"""A worker process from the inside: forked from the supervisor, which loaded the model, and reporting to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Literal

import msgspec

from wherry.contract.events import Event, Note, Step
from wherry.contract.project import Project
from wherry.errors import WherryError
from wherry.server.auth import Tokens
from wherry.server.board import Board
from wherry.server.drain import Drain
from wherry.server.loading import Loaded, Proof
from wherry.server.metering import fetch
from wherry.server.metrics import Metrics
from wherry.server.port import Port
from wherry.server.service import Service, run_loop
from wherry.server.several import Work, open_journals
from wherry.server.tls import Certificate

TICK = "tick"  # on the board: when the worker was last seen to do something, by the monotonic clock
GAUGE = "gauge|"
EVERY = 0.25  # seconds between ticks
FINISH = signal.SIGUSR1  # Ctrl-C as the supervisor passes it on: the terminal sends its own to every process
FAILED = 70


class Report(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line that a worker writes to the supervisor."""

    kind: Literal["ready", "failed", "told"]
    text: str = ""
    warn: bool = False
    hint: str = ""
    proof: Proof | None = None
    memory: int = 0  # bytes that are this worker's own
    where: str = ""  # where predictions are kept


class Crew(msgspec.Struct, frozen=True):
    """What all workers have in common."""

    loaded: Loaded
    project: Project
    tokens: Tokens | None
    certificate: Certificate | None
    serving: socket.socket
    admin: socket.socket  # the supervisor's alone
    address: str  # of the admin port
    state: Path
    desk: bool


class Line:
    """The way to the supervisor: a pipe that holds lines."""

    def __init__(self, write: int) -> None:
        self.write = write

    def send(self, report: Report) -> None:
        # A line that the pipe has no room for is lost: no answer waits for somebody to read.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self.write, msgspec.json.encode(report)[:4000] + b"\n")

    def tell(self, event: Event) -> None:
        if isinstance(event, Note):
            self.send(Report("told", event.text[:1000], event.warn, event.hint[:500]))
        elif isinstance(event, Step):
            self.send(Report("told", event.text[:1000]))


def work(crew: Crew, lane: int, board: Board, known: Proof | None, write: int, alive: int) -> int:
    """Be a worker until told to stop; the process's exit code. `alive` is at its end once the supervisor is gone.

    known: what the first worker found that answers cost.
    """
    line = Line(write)
    try:
        proof = crew.loaded.prove() if known is None else crew.loaded.prove(known.cost, known.others)
        journal = open_journals(crew.loaded, crew.project, crew.state, line.tell, desk=crew.desk, lane=lane)
    except WherryError as error:
        line.send(Report("failed", str(error)[:1500], hint=error.hint[:500]))
        return FAILED
    try:
        metrics = Metrics(board, crew.loaded.labels)
        service = Service(
            crew.loaded, proof, crew.project, journal, crew.tokens, metrics, crew.address, line.tell, crew.certificate
        )

        def signals(loop: asyncio.AbstractEventLoop, drain: Drain) -> None:
            drain.shared = True
            loop.add_signal_handler(signal.SIGTERM, drain.terminate)
            loop.add_signal_handler(FINISH, drain.interrupt)
            loop.add_reader(alive, orphaned, loop, drain, alive)

        def ready() -> None:
            if lane == 0:  # one is enough: the supervisor, which has no threads, says what all have counted
                service.send_metrics(partial(fetch, crew.address))
            line.send(Report("ready", proof=proof, memory=own_memory(), where=journal.where))

        return run_loop(service.run(crew.serving, lambda s, p, q: Ticker(s, p, q, board), signals, ready))
    finally:
        journal.close()


def orphaned(loop: asyncio.AbstractEventLoop, drain: Drain, alive: int) -> None:
    """The supervisor was killed: finish what is in flight, and let the port go to the next one."""
    loop.remove_reader(alive)
    if not drain.begun.is_set():
        drain.interrupt()


class Ticker:
    """Shows on the board that this worker goes on, and what it has at the moment."""

    def __init__(self, service: Service, port: Port, predictions: Work, board: Board) -> None:
        self.service, self.port, self.predictions, self.board = service, port, predictions, board
        self.timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        cells = self.board.cells
        # A call of the model that outlives the deadline of its requests counts as nothing done.
        since, now = self.predictions.busy_since, time.monotonic()
        cells[self.board.place(TICK)] = min(now, since + self.port.limits.request_seconds) if since else now
        for name, labels, value in self.service.gauges(self.port, self.predictions):
            cells[self.board.place(f"{GAUGE}{name}|{labels}")] = value
        self.timer = self.port.loop.call_later(EVERY, self.start)

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()


def cover(kept: Collection[int]) -> None:
    """Put nothing in the place of every open file but `kept`: what belongs to the supervisor's loop is closed for
    this process, and no number is free for something else before its owner, which is still in memory, lets it go.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for entry in list(Path("/dev/fd").iterdir()):
        number = int(entry.name)
        if number not in kept and number != nothing:
            with contextlib.suppress(OSError):
                os.fstat(number)  # the folder's own was closed when it had been read
                os.dup2(nothing, number)


def own_memory() -> int:
    """Bytes of memory that this process shares with no other; 0 where that cannot be told."""
    try:
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024
