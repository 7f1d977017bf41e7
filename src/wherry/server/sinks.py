"""The database that predictions end up in: the only module that imports SQLAlchemy, and only the writer imports it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    Table,
    Text,
    create_engine,
    event,
    func,
    insert,
    make_url,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import StaticPool

from wherry.server.migrations import LEDGER, MIGRATIONS

BUSY_SECONDS = 5.0  # how long SQLite waits for another process's transaction before it says that it is locked

metadata = MetaData()
predictions = Table(
    "predictions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("request_id", Text),
    Column("created_at", Text),
    Column("model_name", Text),
    Column("model_version", Text),
    Column("model_digest", Text),
    Column("signature_hash", Text),
    Column("inputs", Text),
    Column("outputs", Text),
    Column("status", Integer),
    Column("latency_ms", Float),
    Column("door", Text),
    Column("host", Text),
    Column("sequence", Integer),
)
progress_table = Table(
    "wherry_progress",
    metadata,
    Column("spool", Text, primary_key=True),
    Column("segment", Text),
    Column("position", Integer),
    Column("sequence", Integer),
    Column("poison", Integer),
    Column("duplicates", Integer),
)
schema_table = Table("wherry_schema", metadata, Column("number", Integer, primary_key=True), Column("applied_at", Text))


class Progress(NamedTuple):
    """How far a spool was read: up to `position` of `segment`, which is every row numbered below `sequence`."""

    segment: str = ""
    position: int = 0
    sequence: int = 0
    poison: int = 0
    duplicates: int = 0


class SinkAway(Exception):
    """The database takes nothing now; trying again later may help."""


class RowsRefused(Exception):
    """The database does not take these rows, today or later."""


class Sink:
    """One connection to a SQLite database. Raises SinkAway whenever trying again later may help."""

    def __init__(self, url: str) -> None:
        file = make_url(url).database
        if file:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        self._engine = connect(url)
        # Compiled once: to go through SQLAlchemy's own executemany costs twice the time a row.
        statement = insert(predictions).prefix_with("OR IGNORE")
        self._insert = str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark")))

    def migrate(self) -> None:
        """Bring the schema up to date; of several processes that try at once, one does it and the others wait."""
        with away(), self._engine.begin() as connection:
            connection.exec_driver_sql(LEDGER)
            done = connection.execute(select(func.max(schema_table.c.number))).scalar() or 0
            for step in MIGRATIONS:
                if step.number > done:
                    for statement in step.sqlite:
                        connection.exec_driver_sql(statement)
                    applied = {"number": step.number, "applied_at": datetime.now(UTC).isoformat()}
                    connection.execute(insert(schema_table), applied)

    def progress(self, spool: str) -> Progress | None:
        """How far the spool was read; None when this database has nothing of it."""
        columns = [progress_table.c[name] for name in Progress._fields]
        with away(), self._engine.connect() as connection:
            row = connection.execute(select(*columns).where(progress_table.c.spool == spool)).first()
        return Progress(*row) if row else None

    def store(self, rows: Sequence[tuple[Any, ...]], spool: str, progress: Progress) -> Progress:
        """Insert the rows that are not there yet and note the progress, both or neither.

        rows: values in the order of `predictions`' columns. Returns the progress with the duplicates counted.
        Raises RowsRefused when the database does not take them (then none is inserted), SinkAway.
        """
        with away(), self._engine.begin() as connection:
            fresh = self._take(connection, rows) if rows else 0
            noted = progress._replace(duplicates=progress.duplicates + len(rows) - fresh)
            statement = sqlite.insert(progress_table).values(spool=spool, **noted._asdict())
            connection.execute(statement.on_conflict_do_update(index_elements=["spool"], set_=noted._asdict()))
        return noted

    def close(self) -> None:
        self._engine.dispose()

    def _take(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        try:
            return connection.exec_driver_sql(self._insert, list(rows)).rowcount
        except OperationalError:
            raise
        except (DBAPIError, ValueError, TypeError, OverflowError) as error:
            raise RowsRefused(str(getattr(error, "orig", error))) from error


class away:
    """Turns what may pass by itself (locked, full, unreadable for now) into SinkAway."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (DBAPIError, sqlite3.Error)):
            raise SinkAway(str(getattr(error, "orig", error))) from error


def connect(url: str) -> Engine:
    """An engine of one connection whose transactions begin as writers, so that none has to be upgraded later."""
    engine = create_engine(url, poolclass=StaticPool, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        connection.isolation_level = None  # the driver begins no transactions of its own: `begin` below does
        connection.execute("PRAGMA journal_mode = WAL")  # readers and the writer do not wait for each other
        connection.execute("PRAGMA synchronous = FULL")  # a segment is deleted once its rows are in: they must be

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
