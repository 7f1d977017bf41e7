"""Reads what was stored. Ids sort by time: a filter by time is a range of the primary key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Text, and_, asc, cast, desc, func, or_, select
from sqlalchemy.sql import ColumnElement, Select

from wherry.server.history import Query, Record, first_id, spellings
from wherry.server.ids import LENGTH, in_order
from wherry.server.sinks.failing import SinkAway
from wherry.server.sinks.sink import Sink
from wherry.server.sinks.tables import feedback, predictions

PAGE_ROWS = 2000
END = "."  # follows the hyphen before a row's number: ID + END is after every row of the request
COLUMNS = (
    *("id", "created_at", "request_id", "model_name", "model_version", "model_digest", "door", "status"),
    *("latency_ms", "host", "inputs", "outputs"),
)


class Reader:
    """One connection for questions. Raises SinkAway, and what Sink raises for a url of no use."""

    def __init__(self, url: str) -> None:
        self._sink = Sink(url, reading=True)
        self._truths = True

    def read(self, query: Query) -> list[Record]:
        """At most `query.limit` records, in the order asked."""
        columns = [predictions.c[name] for name in COLUMNS[:-2]]
        texts = [cast(predictions.c[name], Text) if self._casts else predictions.c[name] for name in COLUMNS[-2:]]
        statement = self._filtered(select(*columns, *texts), query)
        id, size = predictions.c.id, func.length(predictions.c.id)
        by = asc if query.oldest_first else desc
        with self._sink.transaction() as connection:
            rows = list(connection.execute(statement.order_by(by(id)).limit(query.limit)))
            if len(rows) == query.limit:
                # The index sorts -10 before -9: of the request that the limit cuts, others may come first.
                last = rows[-1][0][:LENGTH]
                rows = [row for row in rows if row[0][:LENGTH] != last]
                cut = statement.where(id >= last, id < last + END).order_by(by(size), by(id))
                rows += connection.execute(cut.limit(query.limit - len(rows)))
        rows.sort(key=lambda row: in_order(row[0]), reverse=not query.oldest_first)
        truths = self._truths_of([row[0] for row in rows])
        return [record_of(tuple(row), truths) for row in rows]

    def pages(self, query: Query) -> Iterator[list[Record]]:
        """Every record, oldest first, `query.limit` set aside."""
        while True:
            page = self.read(msgspec.structs.replace(query, limit=PAGE_ROWS, oldest_first=True))
            if page:
                yield page
            if len(page) < PAGE_ROWS:
                return
            query = msgspec.structs.replace(query, after=page[-1].id)

    def outputs(self, query: Query) -> list[tuple[str, str, Any]]:
        """Ids, models (name and version) and predictions alone, newest first."""
        table = predictions.c
        text = cast(table.outputs, Text) if self._casts else table.outputs
        statement = self._filtered(select(table.id, table.model_name, table.model_version, text), query)
        with self._sink.transaction() as connection:
            rows = connection.execute(statement.order_by(table.id.desc()).limit(query.limit)).all()
        return [
            (id, f"{name} {version}", msgspec.json.decode(text).get("prediction"))
            for id, name, version, text in rows
            if text is not None
        ]

    def count(self, query: Query) -> int:
        with self._sink.transaction() as connection:
            return int(connection.execute(self._filtered(select(func.count(predictions.c.id)), query)).scalar() or 0)

    def inputs(self, query: Query) -> list[str]:
        """Every input column of the records, in the order of their models."""
        newest = self._filtered(select(func.max(predictions.c.id)), query).group_by(predictions.c.signature_hash)
        with self._sink.transaction() as connection:
            ids = sorted(str(row[0]) for row in connection.execute(newest).all())
        names: dict[str, None] = {}
        for id in ids:
            column = predictions.c.inputs
            one = select(cast(column, Text) if self._casts else column).where(predictions.c.id == id)
            with self._sink.transaction() as connection:
                text = connection.execute(one).scalar()
            names |= dict.fromkeys(msgspec.json.decode(text or "{}"))
        return list(names)

    def close(self) -> None:
        self._sink.close()

    @property
    def _casts(self) -> bool:
        """Whether the driver would make objects of JSON; we want its text."""
        return self._sink.backend.name == "postgresql"

    def _filtered(self, statement: Select[Any], query: Query) -> Select[Any]:
        table, inside = predictions.c, self._sink.backend.inside
        if query.since_ns is not None:
            statement = statement.where(table.id >= first_id(query.since_ns))
        if query.until_ns is not None:
            statement = statement.where(table.id < first_id(query.until_ns))
        # A range of the key, which the database finds at once; in it, of the request that is cut, the rows' numbers.
        if id := query.before:
            first, size = id[:LENGTH], func.length(table.id)
            earlier = or_(table.id < first, size < len(id), and_(size == len(id), table.id < id))
            statement = statement.where(table.id < first + END, earlier)
        if id := query.after:
            first, size = id[:LENGTH], func.length(table.id)
            later = or_(table.id >= first + END, size > len(id), and_(size == len(id), table.id > id))
            statement = statement.where(table.id >= first, later)
        if query.model:
            name, _, version = query.model.partition("/")
            one = and_(table.model_name == name, table.model_version == version)
            whole = or_(table.model_name == query.model, table.model_digest == query.model)
            statement = statement.where(or_(whole, one) if version else whole)
        if query.request_id:
            statement = statement.where(table.request_id == query.request_id)
        if query.output is not None:
            heads = (f'{{"prediction":{value}{end}' for value in spellings(query.output) for end in ",}")
            statement = statement.where(or_(*(inside(table.outputs, head) == 1 for head in heads)))
        for name, text in query.where:
            statement = statement.where(self._holds(name, text))
        return statement

    def _holds(self, name: str, text: str) -> ColumnElement[bool]:
        """An input's value. Quotes in JSON strings are escaped, so that this text stands for nothing else."""
        key = msgspec.json.encode(name).decode()
        column, inside = predictions.c.inputs, self._sink.backend.inside
        values = list(spellings(text))
        return or_(*(inside(column, f"{a}{key}:{v}{z}") > 0 for v in values for a in "{," for z in ",}"))

    def _truths_of(self, ids: list[str]) -> dict[str, Any]:
        """What feedback said last of each; nothing where this account may not read it."""
        truths: dict[str, Any] = {}
        if not self._truths or not ids:
            return truths
        column = cast(feedback.c.truth, Text) if self._casts else feedback.c.truth
        for begin in range(0, len(ids), 500):
            some = feedback.c.prediction_id.in_(ids[begin : begin + 500])
            statement = select(feedback.c.prediction_id, column).where(some).order_by(feedback.c.created_at)
            try:
                with self._sink.transaction() as connection:
                    found = connection.execute(statement).all()
            except SinkAway:
                self._truths = False
                return {}
            truths |= {prediction: msgspec.json.decode(text) for prediction, text in found}
        return truths


def record_of(row: tuple[Any, ...], truths: dict[str, Any]) -> Record:
    id, created, request, model, version, digest, door, status, latency, host, inputs, outputs = row
    answered = msgspec.json.decode(outputs) if outputs is not None else {}
    return Record(
        id=id,
        created_at=iso(created),
        request_id=request,
        model=model,
        version=version,
        digest=digest,
        door=door,
        status=status,
        latency_ms=latency,
        host=host,
        inputs=msgspec.json.decode(inputs),
        prediction=answered.get("prediction"),
        probabilities=answered.get("probabilities", msgspec.UNSET),
        truth=truths.get(id, msgspec.UNSET),
    )


def iso(value: Any) -> str:
    """A time as the database gave it, as RFC 3339 writes it."""
    if isinstance(value, datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=UTC)
        return f"{aware.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return f"{str(value).replace(' ', 'T')}Z"


@contextlib.contextmanager
def opened(url: str) -> Iterator[Reader]:
    reader = Reader(url)
    try:
        yield reader
    finally:
        reader.close()
