"""Waiting requests scored in one call, with no wait when idle; each gets what the bare predictor would give it.

All that was read in one turn of the event loop is scored at its end: here when that takes less than a millisecond,
else in a worker thread, and what comes meanwhile waits for it and is scored together. One call of the model at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from wherry.contract.wire import Outputs, Row, Rows
from wherry.errors import ModelFailed
from wherry.server.predictor import Cost, Predictor
from wherry.server.worker import Worker

LOOP_BUDGET = 0.001  # seconds that scoring may keep the loop from reading sockets
BURST = 1.0  # seconds of work that may wait
STANDING = 0.05  # the same, once requests have waited long for a while: then more of them would only wait longer
LONG = 0.025  # seconds of waiting that are long
NOTICE = 0.1  # seconds of it after which it is no burst
FEWEST = 64  # rows that may always wait
MOST_ROWS = 1024  # rows in one call of the model
SEARCHED_ROWS = 100  # rows of one failed request that are tried alone, or named as those at fault


class Job(msgspec.Struct, eq=False):
    """Rows that wait for their answer: `outputs`, or the `error` that keeps them from it."""

    rows: Sequence[Row]
    probabilities: bool = True  # whether they are wanted beside the predictions
    outputs: Outputs | None = None
    error: Exception | None = None


Settle: TypeAlias = Callable[[Sequence[Job], Rows], None]  # all jobs of one call, in their order, and all their rows


class Batcher:
    """Scores jobs and hands them to `settle`, all of one call together, in the order they came."""

    def __init__(
        self,
        predictor: Predictor,
        settle: Settle,
        loop: asyncio.AbstractEventLoop,
        cost: Cost,
        *,
        most_rows: int = MOST_ROWS,
        wanted: Callable[[Sequence[Job]], Sequence[Job]] = list,
        came: Callable[[Job], float] | None = None,
        pack: Callable[..., bytes] | None = None,
    ) -> None:
        """wanted: which of some jobs somebody still waits for; the others are not scored. pack: as in `Rows`.

        came: when a job came, by the monotonic clock; without it every queue is taken for a burst.
        """
        self.predictor, self.settle, self.loop, self.cost, self.most_rows = predictor, settle, loop, cost, most_rows
        self.wanted, self.came, self.pack = wanted, came, pack
        per_row = max(cost.seconds(64) / 64, 1e-9)
        self.burst_rows, self.standing_rows = (
            int(min(max(seconds / per_row, FEWEST), 65536)) for seconds in (BURST, STANDING)
        )
        self.queue_rows = self.burst_rows
        self.short = time.monotonic()  # when a job last had waited no longer than usual
        self.waiting: deque[Job] = deque()
        self.waiting_rows = 0
        self.scheduled = False
        self.busy = False  # the thread is scoring
        self.busy_since = 0.0  # since when, by the monotonic clock; 0: it is not
        self.worker = Worker("wherry-model")

    @property
    def full(self) -> bool:
        """Whether no more rows may wait. Ask before decoding a body."""
        return self.waiting_rows >= self.queue_rows

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.busy

    def submit(self, job: Job) -> None:
        self.waiting.append(job)
        self.waiting_rows += len(job.rows)
        if not self.scheduled:
            self.schedule()

    def schedule(self) -> None:
        if not self.scheduled and not self.busy:
            self.scheduled = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        self.scheduled = False
        jobs = self.wanted(self.take())
        if jobs:
            if self.came is not None:
                self.judge(self.came(jobs[0]))
            rows = Rows(self.pack)
            for job in jobs:
                rows += job.rows
            if self.cost.seconds(len(rows)) <= LOOP_BUDGET:
                answer(self.predictor, jobs, rows, self.most_rows)
                self.settle(jobs, rows)
            else:
                self.hand_over(jobs, rows)
        if self.waiting:
            self.schedule()

    def judge(self, came: float) -> None:
        """Tell a burst from a queue that stands, by how long the oldest job has waited."""
        now = time.monotonic()
        if now - came < LONG:
            self.short, self.queue_rows = now, self.burst_rows
        elif now - self.short > NOTICE:
            self.queue_rows = self.standing_rows

    def take(self) -> list[Job]:
        """The next jobs, up to the most rows of one call."""
        if self.waiting_rows <= self.most_rows:
            jobs = list(self.waiting)
            self.waiting.clear()
            self.waiting_rows = 0
            return jobs
        jobs = []
        rows = 0
        while self.waiting and (not jobs or rows + len(self.waiting[0].rows) <= self.most_rows):
            jobs.append(self.waiting.popleft())
            rows += len(jobs[-1].rows)
        self.waiting_rows -= rows
        return jobs

    def hand_over(self, jobs: Sequence[Job], rows: Rows) -> None:
        """Score in the thread; the loop goes on reading, answering probes and refusing."""
        self.busy, self.busy_since = True, time.monotonic()
        self.worker.do(lambda: self.work(jobs, rows))

    def work(self, jobs: Sequence[Job], rows: Rows) -> None:
        """In the thread: score, and have the loop settle."""
        try:
            answer(self.predictor, jobs, rows, self.most_rows)
        except BaseException as error:  # noqa: BLE001  # a model's library may even raise SystemExit; nobody may wait for ever
            for job in jobs:
                job.error = ModelFailed("raised an error")
                job.error.__cause__ = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            self.loop.call_soon_threadsafe(self.land, jobs, rows)

    def land(self, jobs: Sequence[Job], rows: Rows) -> None:
        self.busy, self.busy_since = False, 0.0
        self.settle(jobs, rows)
        if self.waiting:
            self.schedule()

    def close(self) -> None:
        """Let the thread go."""
        self.worker.close()


class BesideOthers(Batcher):
    """A batcher in a process with others: what waits for them leaves less room, as all wait for the same processors.

    taken: the share of what may wait that the others hold.
    """

    def __init__(self, taken: Callable[[], float], *args: Any, **options: Any) -> None:
        self.taken, self.bound = taken, 0
        super().__init__(*args, **options)

    @property
    def queue_rows(self) -> int:
        taken = self.taken()
        return self.bound if not taken else max(0, int(self.bound * (1 - taken)))

    @queue_rows.setter
    def queue_rows(self, rows: int) -> None:
        self.bound = rows


def answer(predictor: Predictor, jobs: Sequence[Job], rows: Sequence[Row], most_rows: int) -> None:
    """Give each job its outputs or its error; `rows` are those of all. A job that fails does not punish the others."""
    probabilities = False
    for job in jobs:
        if job.probabilities:
            probabilities = True
            break
    try:
        outputs = score(predictor, rows, most_rows, probabilities)
    except ModelFailed as failure:
        if len(jobs) == 1:
            blame(predictor, jobs[0], failure)
        elif isinstance(failure.outputs, Outputs) and len(failure.outputs.predictions) == len(rows) and failure.rows:
            share(jobs, failure.outputs, failure)
        else:
            for job in jobs:
                answer(predictor, (job,), job.rows, most_rows)
        return
    share(jobs, outputs)


def share(jobs: Sequence[Job], outputs: Outputs, failure: ModelFailed | None = None) -> None:
    """Give each job its part of the answers; a job that holds a row of `failure` gets that error."""
    if len(jobs) == 1:
        jobs[0].outputs = outputs
        return
    predictions, shares = outputs.predictions, outputs.probabilities
    start = 0
    for job in jobs:
        end = start + len(job.rows)
        job.outputs = Outputs(predictions[start:end], shares and shares[start:end])
        if failure is not None:
            faults = zip(failure.rows, failure.reasons, strict=True)
            if guilty := [(row - start, reason) for row, reason in faults if start <= row < end]:
                job.outputs, job.error = None, at_fault(guilty[:SEARCHED_ROWS])
                job.error.__cause__ = failure.__cause__
        start = end


def blame(predictor: Predictor, job: Job, failure: ModelFailed) -> None:
    """Give the only job its error, with the rows at fault as far as they can be told."""
    guilty = list(zip(failure.rows, failure.reasons, strict=True))
    found = guilty or [(row, failure.reason) for row in culprits(predictor, job.rows)]
    job.error = at_fault(found[:SEARCHED_ROWS]) if found else ModelFailed(failure.reason)
    job.error.__cause__ = failure.__cause__


def at_fault(guilty: Sequence[tuple[int, str]], outputs: Outputs | None = None) -> ModelFailed:
    """What is the matter with each of these rows, and in a sentence with all of them."""
    reasons = tuple(reason for _, reason in guilty)
    return ModelFailed(" or ".join(dict.fromkeys(reasons)), tuple(row for row, _ in guilty), outputs, reasons=reasons)


def score(
    predictor: Predictor, rows: Sequence[Row], most_rows: int, probabilities: bool = True, start: int = 0
) -> Outputs:
    """The answers to `rows`, sound or ModelFailed with the rows at fault; the first of them is number `start`."""
    if len(rows) > most_rows:
        parts = [
            score(predictor, rows[place : place + most_rows], most_rows, probabilities, place)
            for place in range(0, len(rows), most_rows)
        ]
        predictions = [each for part in parts for each in part.predictions]
        shares = [each for part in parts for each in part.probabilities or ()]
        return Outputs(predictions, shares or None)
    if not rows:
        return Outputs([])
    try:
        return predictor.score(rows, probabilities)
    except ModelFailed as error:  # its rows are known; its words may hold internals
        whole = start == 0 and isinstance(error.outputs, Outputs)  # of a later part: the parts before it are not there
        guilty = [
            (start + row, told(reason, error.step)) for row, reason in zip(error.rows, error.reasons, strict=True)
        ]
        if not guilty:
            raise ModelFailed(told(error.reason, error.step)) from error
        raise at_fault(guilty, error.outputs if whole else None) from error
    except Exception as error:  # a model may raise anything
        raise ModelFailed("raised an error") from error


def told(reason: str, step: str) -> str:
    """What clients are told of a model's own words, and of the step of a chain whose they are."""
    if reason.startswith("gave"):
        what = reason
    else:
        what = "raised an error" if reason.startswith("raised") else "has no finite answer"
    return what + (f" at its step {step}" if step else "")


def culprits(predictor: Predictor, rows: Sequence[Row]) -> tuple[int, ...]:
    """The rows on which the model raises, each tried alone; none where there are too many to try."""
    if len(rows) == 1:
        return (0,)
    if len(rows) > SEARCHED_ROWS:
        return ()
    found = []
    for index, row in enumerate(rows):
        try:
            predictor.score((row,))
        except Exception:  # noqa: BLE001  # a model may raise anything, and which row it was is all that is asked here
            found.append(index)
    return tuple(found)
