"""SQLite: a file beside the project. Rows go in by executemany, compiled once."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    LargeBinary,
    Table,
    cast,
    create_engine,
    event,
    func,
    insert,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError
from sqlalchemy.pool import StaticPool

from wherry.server.sinks.backend import PATIENCE_SECONDS, Blame, Values, json_path, quoted

BUSY_SECONDS = 5.0  # how long SQLite waits for another process's transaction before it says that it is locked
PAGE_BYTES = 16384  # measured: rows of a kilobyte go in a quarter faster than into pages of four
CHECKPOINT_BYTES = 32 << 20  # the log is folded into the file every 32 MiB, not every four


class SQLite:
    """See `wherry.server.sinks.backend.Backend`."""

    name = "sqlite"
    batch_rows = 20_000

    def connect(self, url: URL, *, reading: bool = False, seconds: float = PATIENCE_SECONDS) -> Engine:
        """An engine of one connection. Writers' transactions begin as such, so that none has to be upgraded later."""
        if not reading and url.database and url.database != ":memory:":
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url, poolclass=StaticPool, connect_args={"timeout": BUSY_SECONDS})

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, record: object) -> None:
            connection.isolation_level = None  # the driver begins no transactions of its own: `begin` below does
            if reading:
                return
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file; an old one keeps its own
            connection.execute("PRAGMA journal_mode = WAL")  # readers and the writer do not wait for each other
            connection.execute("PRAGMA synchronous = FULL")  # a segment is deleted once its rows are in: they must be
            (page,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_BYTES // page}")

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

        return engine

    def inside(self, column: Column[Any], text: str) -> ColumnElement[int]:
        return func.instr(column, text)

    def bytes_of(self, column: Column[Any]) -> ColumnElement[int]:
        return func.length(cast(column, LargeBinary))

    def within(self, column: str, key: str) -> str:
        if set(key) & set('"\\'):  # of which its paths know nothing
            return f"(SELECT value FROM json_each({column}) WHERE key = {quoted(key)})"
        return f"json_extract({column}, {quoted(json_path(key))})"

    def insert(self, connection: Connection, table: Table, rows: Values) -> int:
        return connection.exec_driver_sql(statement(table), list(rows)).rowcount

    def note(self, connection: Connection, table: Table, values: dict[str, Any]) -> None:
        connection.execute(insert(table).prefix_with("OR REPLACE").values(**values))

    @contextlib.contextmanager
    def lock(self, connection: Connection) -> Iterator[None]:
        yield  # every transaction here is the only one that writes

    def is_there(self, error: DBAPIError) -> bool:
        return False  # a step that fails leaves nothing

    def blame(self, error: DBAPIError) -> Blame:
        text = str(error.orig)
        if "no such table" in text or "has no column" in text:
            return "missing"
        if "readonly" in text:
            return "denied"
        # OperationalError: locked, full, unreadable. A plain DatabaseError: the file is damaged or none of SQLite's.
        if isinstance(error, OperationalError) or type(error) is DatabaseError:
            return "away"
        return "refused"

    def descriptor(self, connection: Any) -> int | None:
        return None


@functools.cache
def statement(table: Table) -> str:
    """Compiled once: to go through SQLAlchemy's own executemany costs twice the time a row."""
    return str(insert(table).prefix_with("OR IGNORE").compile(dialect=sqlite.dialect(paramstyle="qmark")))
