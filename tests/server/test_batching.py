"""The wrapper law: whatever is scored together, each caller gets what the bare predictor would give it alone."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import Fake

from wherry.contract.wire import Outputs, Row, Rows
from wherry.errors import ModelFailed
from wherry.model.loaded import sound
from wherry.server.batching import LONG, NOTICE, Batcher, Job, answer, score
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


def test_a_burst_may_wait_for_a_second_and_a_queue_that_stands_a_twentieth_of_it() -> None:
    """The queue is cut once the oldest job had waited long for a while, and is long again when one has not."""

    async def main() -> None:
        waits = 0.0
        model = Fake(lambda row: 1)
        batcher = Batcher(
            model,
            lambda *_: None,
            asyncio.get_running_loop(),
            Cost(0.0, 0.0001),
            came=lambda job: time.monotonic() - waits,
        )

        async def ask() -> int:
            batcher.submit(Job([(1.0,)]))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return batcher.queue_rows

        assert await ask() == 10_000
        waits = LONG + 0.001
        assert await ask() == 10_000, "a single job that waited long is no queue that stands"
        await asyncio.sleep(NOTICE + 0.01)
        assert await ask() == 500
        assert await ask() == 500
        waits = LONG / 2
        assert await ask() == 10_000

    asyncio.run(main())


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
