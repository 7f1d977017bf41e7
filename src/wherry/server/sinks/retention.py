"""Removes what is old: by age, by the number of rows, by the bytes that they take. Ids sort by time."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy import ColumnElement, delete, func, select

from wherry.server.history import Keep, first_id
from wherry.server.sinks.sink import Sink
from wherry.server.sinks.tables import feedback, predictions

PRUNE_ROWS = 10_000  # a transaction: the service goes on storing in between
STRIDE_ROWS = 10_000  # whose bytes are added up at once
ROW_BYTES = 400  # what a row takes beside its inputs and outputs


class Retention:
    """The old end of the table. Raises SinkAway; SinkDenied where the account may not delete."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def bound(self, keep: Keep) -> str:
        """The id below which all may go; empty when all may stay."""
        found = [""]
        if keep.seconds is not None:
            found.append(first_id(time.time_ns() - int(keep.seconds * 10**9)))
        if keep.rows is not None:
            found.append(self.after_rows(keep.rows))
        if keep.bytes is not None:
            found.append(self.after_bytes(keep.bytes))
        return max(found)

    def after_rows(self, rows: int) -> str:
        """The id from which on the newest `rows` records lie; empty when there are no more than these."""
        statement = select(predictions.c.id).order_by(predictions.c.id.desc()).offset(rows).limit(1)
        with self._sink.transaction() as connection:
            beyond = connection.execute(statement).scalar()
            if beyond is None:
                return ""
            after = select(func.min(predictions.c.id)).where(predictions.c.id > beyond)
            return str(connection.execute(after).scalar() or f"{beyond}~")

    def after_bytes(self, most: int) -> str:
        """The id from which on the newest records lie that take no more than `most` bytes; empty when all do."""
        total, last = 0, ""
        while True:
            some = select(predictions.c.id, self.size.label("size")).order_by(predictions.c.id.desc())
            some = (some.where(predictions.c.id < last) if last else some).limit(STRIDE_ROWS)
            stride = some.subquery()
            with self._sink.transaction() as connection:
                whole = select(func.min(stride.c.id), func.sum(stride.c.size), func.count(stride.c.id))
                begin, size, rows = connection.execute(whole).one()
                if rows and total + size > most:
                    for id, one in connection.execute(some):
                        total += one
                        if total > most:
                            return str(last or f"{id}~")
                        last = id
            if rows < STRIDE_ROWS:
                return ""
            total, last = total + size, begin

    def count(self, before: str) -> int:
        """How many records' ids sort before `before`."""
        with self._sink.transaction() as connection:
            counted = select(func.count(predictions.c.id)).where(predictions.c.id < before)
            return int(connection.execute(counted).scalar() or 0)

    def prune(self, before: str) -> Iterator[int]:
        """Remove records whose id sorts before `before`, and what feedback said of them; how many, step by step."""
        for table, key in ((predictions, predictions.c.id), (feedback, feedback.c.prediction_id)):
            while True:
                step = select(key).where(key < before).order_by(key).offset(PRUNE_ROWS - 1).limit(1)
                with self._sink.transaction() as connection:
                    end = connection.execute(step).scalar()
                    gone = connection.execute(delete(table).where(key <= end if end is not None else key < before))
                yield gone.rowcount if table is predictions else 0
                if end is None:
                    break

    @property
    def size(self) -> ColumnElement[int]:
        """The bytes that a record takes, nearly."""
        sizes = (self._sink.backend.bytes_of(column) for column in (predictions.c.inputs, predictions.c.outputs))
        return sum((func.coalesce(each, 0) for each in sizes), start=func.coalesce(ROW_BYTES, 0))
