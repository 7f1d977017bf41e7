"""The wrapper law: whatever is scored together, each caller gets what the bare predictor would give it alone."""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import Fake

from wherry.contract.wire import Outputs, Row, Rows
from wherry.errors import ModelFailed
from wherry.model.loaded import sound
from wherry.server.batching import CALM, Batcher, Job, answer, score
from wherry.server.predictor import Cost, Predictor

IN_LOOP, IN_THREAD = Cost(0.0, 1e-9), Cost(1.0, 0.0)
POISON, NAN = 13.0, 17.0


def moody(row: Row) -> Any:
    if row[0] == POISON:
        raise ValueError("a secret of the model")
    return math.nan if row[0] == NAN else [row[0], row[1]]


class Shares:
    """Probabilities beside the predictions."""

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        return sound(Outputs([moody(row) for row in rows], [[float(row[0] or 0), 1.0] for row in rows]), len(rows))


def bare(predictor: Predictor, rows: Sequence[Row]) -> Any:
    """What the caller is owed."""
    try:
        return predictor.score(rows)
    except Exception:  # as a model may raise anything
        return "failed"


def run_all(predictor: Predictor, turns: list[list[list[Row]]], cost: Cost, most_rows: int) -> list[Job]:
    """Submit each turn's jobs in a turn of the loop of its own; every job, once settled."""
    jobs: list[Job] = []
    settled: list[Job] = []

    async def main() -> None:
        def settle(together: Sequence[Job], rows: Rows) -> None:
            assert [row for job in together for row in job.rows] == rows
            settled.extend(together)

        batcher = Batcher(predictor, settle, asyncio.get_running_loop(), cost, most_rows=most_rows)
        for turn in turns:
            for rows in turn:
                jobs.append(Job(rows))
                batcher.submit(jobs[-1])
            await asyncio.sleep(0)
        while not batcher.idle:
            await asyncio.sleep(0.001)
        assert batcher.waiting_rows == 0
        batcher.close()

    asyncio.run(main())
    assert settled == jobs  # once each, in the order they came
    return jobs


cells = st.sampled_from([0.0, 1.0, 2.0, 3.0, POISON, NAN])
requests = st.lists(st.tuples(cells, st.integers(0, 99)), min_size=0, max_size=5)
turns = st.lists(st.lists(requests, max_size=6), max_size=5)


@pytest.mark.parametrize("cost", [IN_LOOP, IN_THREAD], ids=["loop", "thread"])
@pytest.mark.parametrize("make", [lambda: Fake(moody), Shares], ids=["predictions", "probabilities"])
@settings(max_examples=60, deadline=None)
@given(turns=turns, most_rows=st.integers(1, 8))
def test_each_caller_gets_what_the_bare_predictor_gives(
    make: Any, cost: Cost, turns: list[list[list[Row]]], most_rows: int
) -> None:
    for job in run_all(make(), turns, cost, most_rows):
        owed = bare(make(), job.rows)
        if owed == "failed":
            assert isinstance(job.error, ModelFailed)
            bad = {index for index, row in enumerate(job.rows) if row[0] in (POISON, NAN)}
            assert set(job.error.rows) <= bad
            assert job.error.rows
            assert "secret" not in str(job.error)
        else:
            assert job.error is None
            assert job.outputs is not None
            assert job.outputs.predictions == owed.predictions
            assert not job.rows or job.outputs.probabilities == owed.probabilities


def test_what_is_read_in_one_turn_is_scored_in_one_call() -> None:
    model = Fake(lambda row: row[0])
    run_all(model, [[[(1.0,)], [(2.0,)], [(3.0,), (4.0,)]], [[(5.0,)]]], IN_LOOP, 1024)
    assert model.calls == [4, 1]


def test_what_comes_while_the_thread_scores_is_scored_together() -> None:
    model = Fake(lambda row: row[0], seconds=0.05)
    run_all(model, [[[(float(k),)]] for k in range(20)], IN_THREAD, 1024)
    assert model.calls == [1, 19]


def test_a_long_request_is_scored_in_parts() -> None:
    model = Fake(lambda row: row[0])
    rows = [(float(k),) for k in range(10)]
    assert score(model, rows, 4).predictions == [row[0] for row in rows]
    assert model.calls == [4, 4, 2]


def test_rows_that_nobody_waits_for_are_not_scored() -> None:
    model = Fake(lambda row: row[0])
    settled: list[Job] = []

    async def main() -> None:
        def settle(jobs: Sequence[Job], rows: Rows) -> None:
            settled.extend(jobs)

        batcher = Batcher(model, settle, asyncio.get_running_loop(), IN_LOOP, wanted=lambda jobs: jobs[1:])
        batcher.submit(Job([(1.0,)]))
        batcher.submit(Job([(2.0,)]))
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert [job.rows for job in settled] == [[(2.0,)]]
    assert model.calls == [1]


def test_the_queue_is_full_before_its_rows_take_longer_than_a_second() -> None:
    async def main() -> None:
        batcher = Batcher(Fake(lambda row: 1), lambda *_: None, asyncio.get_running_loop(), Cost(0.0, 0.01))
        assert batcher.queue_rows == 100
        batcher.submit(Job([(1.0,)] * 60))
        assert not batcher.full
        batcher.submit(Job([(1.0,)] * 60))
        assert batcher.full

    asyncio.run(main())


class Clock:
    """As much of an event loop as a batcher asks for, its time its own: what is due is done at once."""

    def __init__(self) -> None:
        self.now, self.count = 0.0, 0
        self.due: list[Any] = []

    def time(self) -> float:
        return self.now

    def call_later(self, seconds: float, call: Callable[..., object], *args: Any) -> None:
        self.count += 1
        heapq.heappush(self.due, (self.now + seconds, self.count, call, args))

    def call_soon(self, call: Callable[..., object], *args: Any) -> None:
        self.call_later(0.0, call, *args)

    def run(self, until: float) -> None:
        while self.due and self.due[0][0] <= until:
            self.now, _, call, args = heapq.heappop(self.due)
            call(*args)
        self.now = until


class Stopped(Batcher):
    """A batcher whose process runs for `share` of each tenth of a second, as under a CPU limit; what a call takes is
    its cost. Counts what it refused, and how long the others waited."""

    def __init__(self, cost: Cost, share: float = 1.0, **options: Any) -> None:
        self.clock: Any = Clock()
        super().__init__(Fake(lambda row: 1), self.leave, self.clock, cost, **({"turn_away": self.sent_away} | options))
        self.share, self.refused, self.cuts = share, 0, 0  # cuts: calls while it was cut
        self.waits: list[float] = []

    def ran(self, seconds: float) -> float:
        """How long so much of its time takes from now on."""
        whole, rest = divmod(seconds + self.clock.now % 0.1 - 1e-9, self.share * 0.1)
        return whole * 0.1 + rest + 1e-9 - self.clock.now % 0.1

    def come(self, came: float) -> None:
        if self.clock.now % 0.1 > self.share * 0.1:  # read when it runs again
            self.clock.call_later(0.1 + 1e-9 - self.clock.now % 0.1, self.come, came)
        elif self.full:
            self.refused += 1
        else:
            self.submit(Job([(came,)]))

    def sent_away(self, jobs: Sequence[Job]) -> None:
        self.refused += len(jobs)

    def hand_over(self, jobs: Sequence[Job], rows: Rows) -> None:
        self.busy = True
        self.cuts += self.cut
        self.clock.call_later(self.ran(self.cost.seconds(len(rows))), self.land, jobs, rows)

    def leave(self, jobs: Sequence[Job], rows: Rows) -> None:
        self.waits += [self.clock.now - row[0] for row in rows]

    def asked(self, rate: float, seconds: float) -> None:
        """So many a second, evenly."""
        begin = self.clock.now
        for place in range(int(rate * seconds)):
            self.clock.call_later(place / rate, self.come, begin + place / rate)
        self.clock.run(begin + seconds)


ROW = Cost(0.0, 0.002)  # 500 rows a second: 500 may wait in a burst, 64 where a queue stands


def test_a_queue_that_stands_is_cut_and_stays_so_until_it_was_short_for_a_while() -> None:
    batcher = Stopped(ROW)
    assert (batcher.burst_rows, batcher.standing_rows) == (500, 64)
    batcher.asked(1500, 1.0)
    assert batcher.queue_rows == 64
    batcher.waits.clear()
    batcher.asked(1500, 2.0)
    assert batcher.cut
    assert max(batcher.waits) < 0.4  # three calls of what may stand
    assert 450 <= len(batcher.waits) / 2 <= 501  # nothing of the capacity is lost
    batcher.asked(50, 0.1)
    assert batcher.queue_rows == 64, "a moment in which the queue is short ends nothing"
    batcher.asked(1500, 0.5)
    assert max(batcher.waits) < 0.4
    batcher.asked(50, 0.5 + 2 * CALM)
    assert batcher.queue_rows == 500


def test_of_a_queue_that_is_cut_the_newest_are_turned_away() -> None:
    """Else those who came before it was told from a burst would be late by up to a second."""

    def late(**options: Any) -> int:
        batcher = Stopped(ROW, **options)
        batcher.asked(2500, 5.0)
        assert batcher.waiting_rows == sum(len(job.rows) for job in batcher.waiting) <= 64
        return sum(wait > 0.3 for wait in batcher.waits)

    assert late() == 0
    assert late(turn_away=None) > 50


def test_a_burst_may_wait_for_a_second_and_what_comes_beside_it_too() -> None:
    batcher = Stopped(ROW)
    batcher.asked(250, 0.2)
    batcher.asked(40_000, 0.01)
    batcher.asked(250, 2.0)
    assert batcher.refused == batcher.cuts == 0
    assert max(batcher.waits) > 0.7
    batcher.asked(1500, 0.5)
    assert batcher.refused  # the control: what comes for longer than that is no burst


@pytest.mark.parametrize("share", [0.15, 0.5], ids=["150m", "500m"])
def test_a_queue_that_a_cpu_limit_made_is_not_cut(share: float) -> None:
    """Stopped for most of the time, everything waits for long, and is worked off as soon as the process runs."""
    batcher = Stopped(ROW, share)
    batcher.asked(0.7 * 500 * share, 10.0)
    assert max(batcher.waits) > 0.05
    assert batcher.refused == batcher.cuts == 0
    batcher.asked(3 * 500 * share, 5.0)
    assert batcher.cut  # the control: there it is overload as well
    assert batcher.refused


def test_a_cut_outlives_a_call_that_takes_longer() -> None:
    batcher = Stopped(Cost(0.3, 0.001), most_rows=64)
    call = batcher.cost.seconds(64)
    assert call > CALM
    assert batcher.burst_rows > 2 * batcher.standing_rows
    batcher.asked(600, 10.0)
    batcher.waits.clear()
    batcher.asked(600, 10.0)
    assert max(batcher.waits) < 2.5 * call


def test_a_short_queue_costs_no_capacity_where_a_call_has_a_fixed_part() -> None:
    """A queue cut to few rows would be scored in many calls, each of which takes its fixed part."""
    batcher = Stopped(Cost(0.02, 0.0001), most_rows=1024)
    batcher.asked(20_000, 4.0)
    assert batcher.cut
    whole = 1024 / batcher.cost.seconds(1024)
    assert len(batcher.waits) / 4 > 0.85 * whole


def test_one_call_takes_a_twentieth_of_a_second_of_work() -> None:
    """Those who came first leave first; a call whose cost does not depend on its rows takes all."""
    assert Stopped(Cost(0.0, 0.004)).call_rows == 12
    assert Stopped(Cost(0.0, 0.1)).call_rows == 8  # side by side
    assert Stopped(Cost(0.05, 0.0)).call_rows == 1024


def test_rows_whose_answers_are_there_are_not_asked_again() -> None:
    """A model that names its bad rows gave the others' answers with the error."""

    class Half:
        calls = 0

        def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
            Half.calls += 1
            bad = tuple(index for index, row in enumerate(rows) if row[0] == 13)
            answers = [None if index in bad else row[0] for index, row in enumerate(rows)]
            raise ModelFailed("answered an unknown value", bad, Outputs(answers))

    jobs = [Job([(1.0,), (2.0,)]), Job([(3.0,), (13.0,)]), Job([(4.0,)])]
    answer(Half(), jobs, [row for job in jobs for row in job.rows], 64)
    assert Half.calls == 1
    assert [job.outputs and job.outputs.predictions for job in jobs] == [[1.0, 2.0], None, [4.0]]
    assert isinstance(jobs[1].error, ModelFailed)
    assert jobs[1].error.rows == (1,)
