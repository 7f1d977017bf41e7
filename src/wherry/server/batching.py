"""Waiting requests scored in one call, with no wait when idle; each gets what the bare predictor would give it.

All that was read in one turn of the event loop is scored at its end: here when that takes less than a millisecond,
else in a worker thread, and what comes meanwhile waits for it and is scored together. One call of the model at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from wherry.contract.wire import Cells, Gathered, Outputs, Row, Rows
from wherry.errors import ModelFailed
from wherry.server.predictor import Cost, Predictor
from wherry.server.worker import Worker

# Seconds that scoring may keep the loop from reading sockets, by [serve] scoring.
LOOP_BUDGETS = {"auto": 0.001, "loop": math.inf, "thread": -1.0}
CALL = 0.05  # seconds of work in one call: of more, the first would wait for the last
BESIDE = 8  # rows that one call may take however long they take: a model may score them side by side
BURST = 1.0  # seconds of work that may wait
STANDING = 0.025  # the same, once a queue stands: then more of it would only wait longer
NOTICE = 0.01  # seconds of work between two looks at a long queue; one that was no shorter twice stands
CALM = 0.25  # seconds without a long queue after which the next one may be a burst
FEWEST = 64  # rows that may always wait
FIXED = 9  # times what a call takes whatever its rows, for them: it does nine tenths of what it could
MOST_ROWS = 1024  # rows in one call of the model
SEARCHED_ROWS = 100  # rows of one failed request that are tried alone, or named as those at fault


class Job(msgspec.Struct, eq=False):
    """Rows that wait for their answer: `outputs`, or the `error` that keeps them from it."""

    rows: Sequence[Row]
    probabilities: bool = True  # whether they are wanted beside the predictions
    outputs: Outputs | None = None
    error: Exception | None = None


# Is given all jobs of one call, in their order, and all their rows.
Settle: TypeAlias = Callable[[Sequence[Job], Gathered], None]


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
        coming: Callable[[], int] | None = None,
        turn_away: Callable[[Sequence[Job]], None] | None = None,
        loop_budget: float = LOOP_BUDGETS["auto"],
        pack: Callable[..., bytes] | None = None,
    ) -> None:
        """wanted: which of some jobs somebody still waits for; the others are not scored. pack: as in `Rows`.

        coming: the rows that wait elsewhere, to be submitted. turn_away: answers jobs that wait and will not be scored.
        loop_budget: seconds that a call may take in the loop; a longer one goes to a thread.
        """
        self.predictor, self.settle, self.loop, self.cost, self.most_rows = predictor, settle, loop, cost, most_rows
        self.wanted, self.coming, self.pack = wanted, coming, pack
        self.turn_away, self.loop_budget = turn_away, loop_budget
        per_row = max(cost.seconds(64) / 64, 1e-9)
        # As many rows in one call as make it worth its fixed part: fewer of them would take capacity away.
        worth = min(most_rows, FIXED * cost.fixed / max(cost.row, 1e-9))
        self.call_rows = int(min(most_rows, max(CALL / per_row, worth, BESIDE)))
        self.burst_rows = int(min(max(BURST / per_row, FEWEST), 65536))
        self.standing_rows = int(min(max(STANDING / per_row, FEWEST, worth), self.burst_rows))
        self.long_rows = self.standing_rows * 4 // 5  # a queue of more is long
        self.grown_rows = min(self.standing_rows * 3 // 2, self.burst_rows)  # one of fewer may be chance
        self.queue_rows = self.burst_rows
        self.cut = False  # whether that is no more than may stand
        self.long = False  # whether it was long since that was last looked at
        self.looked_rows = 0  # how long it was when it was last looked at; 0: it was short since
        self.worked = 0.0  # seconds of work begun since then
        self.no_shorter = 0  # how often in a row it was so when it was looked at
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
        queued = self.waiting_rows if self.coming is None else self.waiting_rows + self.coming()
        if queued > self.long_rows:
            self.judge(queued)
        else:
            self.looked_rows = 0
        jobs = self.wanted(self.take())
        if jobs:
            rows = gathered(jobs, self.pack)
            if self.cost.seconds(len(rows)) <= self.loop_budget:
                answer(self.predictor, jobs, rows, self.most_rows)
                self.settle(jobs, rows)
            else:
                self.hand_over(jobs, rows)
        if self.waiting:
            self.schedule()

    def judge(self, queued: int) -> None:
        """Tell a burst, which becomes shorter while work is done, from a queue that stands: that one is cut.

        In work, not in time: while the whole process is stopped, as by a CPU limit, all that waits waits long.
        """
        self.long = True
        if not self.looked_rows:
            self.looked_rows, self.worked, self.no_shorter = queued, 0.0, 0
        elif self.worked >= NOTICE:
            self.no_shorter = self.no_shorter + 1 if queued >= max(self.looked_rows, self.grown_rows) else 0
            if self.no_shorter >= 2 and not self.cut:
                self.cut, self.queue_rows = True, self.standing_rows
                self.loop.call_later(CALM, self.ease)
                queued -= self.shed()
            self.looked_rows, self.worked = queued, 0.0
        self.worked += self.cost.seconds(min(queued, self.call_rows))

    def shed(self) -> int:
        """Turn the newest away, down to what may stand: they would only wait, and be late. How many rows those were."""
        away: list[Job] = []
        rows = 0
        if self.turn_away is not None:
            while self.waiting and self.waiting_rows - rows - len(self.waiting[-1].rows) >= self.standing_rows:
                away.append(self.waiting.pop())
                rows += len(away[-1].rows)
            self.waiting_rows -= rows
            self.turn_away(away)
        return rows

    def ease(self) -> None:
        """Let bursts wait again, once no queue was long for a while.

        At its first short moment those who ask would fill it again, and hold every connection while that is worked off.
        """
        if self.long or (self.looked_rows and not self.idle):  # one call may take longer than that
            self.long = False
            self.loop.call_later(CALM, self.ease)
        else:
            self.cut, self.queue_rows = False, self.burst_rows

    def take(self) -> list[Job]:
        """The next jobs, up to as many rows as one call takes."""
        if self.waiting_rows <= self.call_rows:
            jobs = list(self.waiting)
            self.waiting.clear()
            self.waiting_rows = 0
            return jobs
        jobs = []
        rows = 0
        while self.waiting and (not jobs or rows + len(self.waiting[0].rows) <= self.call_rows):
            jobs.append(self.waiting.popleft())
            rows += len(jobs[-1].rows)
        self.waiting_rows -= rows
        return jobs

    def hand_over(self, jobs: Sequence[Job], rows: Gathered) -> None:
        """Score in the thread; the loop goes on reading, answering probes and refusing."""
        self.busy, self.busy_since = True, time.monotonic()
        self.worker.do(lambda: self.work(jobs, rows))

    def work(self, jobs: Sequence[Job], rows: Gathered) -> None:
        """In the thread: score, and have the loop settle."""
        try:
            answer(self.predictor, jobs, rows, self.most_rows)
        except BaseException as error:  # noqa: BLE001  # a model's library may even raise SystemExit; nobody may wait for ever
            for job in jobs:
                job.error = ModelFailed("raised an error")
                job.error.__cause__ = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            self.loop.call_soon_threadsafe(self.land, jobs, rows)

    def land(self, jobs: Sequence[Job], rows: Gathered) -> None:
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


def gathered(jobs: Sequence[Job], pack: Callable[..., bytes] | None) -> Gathered:
    """The rows of all jobs. pack: as in `Rows`."""
    blocks: list[bytes] = []
    for job in jobs:
        held: Any = job.rows
        if held.__class__ is not Cells:
            break
        blocks.append(held.block)
    else:
        return held if len(blocks) == 1 else Cells(b"".join(blocks), len(blocks), held.unpack)
    rows = Rows(pack)
    for job in jobs:
        rows += job.rows
    return rows


def answer(predictor: Predictor, jobs: Sequence[Job], rows: Sequence[Row] | Cells, most_rows: int) -> None:
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
    predictor: Predictor, rows: Sequence[Row] | Cells, most_rows: int, probabilities: bool = True, start: int = 0
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
        return predictor.score(rows, probabilities)  # type: ignore[arg-type]  # cells are a sequence
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
