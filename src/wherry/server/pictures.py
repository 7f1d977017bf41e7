"""Pictures made ready for the model beside the event loop, by as many threads as there are cores: Pillow lets go of
the interpreter while it decodes and scales."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from wherry.contract.signature import Column
from wherry.errors import PictureRefused
from wherry.server.worker import Worker

BATCH = 8  # pictures in one call of the model: more save nothing, and each takes megabytes on its way through
PLACES = 6  # of a probability that is kept: a thousand of them are a row


class Pictures:
    """The pictures of one service that are still to be decoded. Used from its loop."""

    def __init__(self, column: Column, loop: asyncio.AbstractEventLoop, threads: int) -> None:
        from wherry.model.pictures import Studio  # Pillow: only where there are pictures

        assert column.prepare is not None  # the flavor has refused such a bundle
        self.name, self.loop, self.studio = column.name, loop, Studio(column.prepare)
        self.worker = Worker("wherry-pictures", threads)
        self.waiting = 0  # rows

    def ready(
        self, rows: Sequence[Any], wanted: Callable[[], bool], then: Callable[[list[Any] | Exception], None]
    ) -> None:
        """Have `then` called on the loop with the rows, their pictures ready, or with why one is none.

        wanted: whether somebody still waits; then is not called once nobody does.
        """
        self.waiting += len(rows)
        self.worker.do(lambda: self.work(rows, wanted, then))

    def work(
        self, rows: Sequence[Any], wanted: Callable[[], bool], then: Callable[[list[Any] | Exception], None]
    ) -> None:
        outcome: list[Any] | Exception | None = None
        if wanted():
            try:
                outcome = [self.row(place, cells) for place, cells in enumerate(rows)]
            except Exception as error:  # noqa: BLE001  # the loop answers with whatever it is
                outcome = error
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits
            self.loop.call_soon_threadsafe(self.done, len(rows), outcome, then)

    def row(self, place: int, cells: Any) -> Any:
        try:
            return (self.studio.ready(cells[0]),)
        except PictureRefused as error:
            error.row, error.field = place, self.name
            raise

    def done(
        self, rows: int, outcome: list[Any] | Exception | None, then: Callable[[list[Any] | Exception], None]
    ) -> None:
        self.waiting -= rows
        if outcome is not None:
            then(outcome)

    def close(self) -> None:
        """Let the threads go."""
        self.worker.close()


def kept_rows(rows: Sequence[Any]) -> list[Any]:
    """What the journal keeps of pictures: format, size and digest."""
    return [tuple(str(cell) for cell in row) for row in rows]


def kept_shares(shares: Sequence[Sequence[float]] | None) -> list[list[float]] | None:
    """What it keeps of their probabilities."""
    return None if shares is None else [[round(share, PLACES) for share in each] for each in shares]
