"""PostgreSQL: rows go in by COPY, straight into the table; where some are there already, by ON CONFLICT DO NOTHING."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Engine, Table, Text, cast, create_engine, func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, DBAPIError

from wherry.errors import ExtraMissing
from wherry.server.sinks.backend import CONNECT_SECONDS, PATIENCE_SECONDS, Blame, Values, quoted

LOCK = 0x77_68_65_72_72_79  # "wherry"
DUPLICATE = "23505"


class PostgreSQL:
    """See `wherry.server.sinks.backend.Backend`."""

    name = "postgresql"
    batch_rows = 10_000

    def connect(self, url: URL, *, reading: bool = False, seconds: float = PATIENCE_SECONDS) -> Engine:
        try:
            import psycopg  # noqa: F401  # only to see whether it is there
        except ImportError as error:
            raise ExtraMissing("psycopg", "postgres", "keeping predictions in PostgreSQL") from error
        return create_engine(
            url.set(drivername="postgresql+psycopg"),
            pool_size=1,
            max_overflow=0,
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "tcp_user_timeout": int(seconds * 1000),
                "keepalives_idle": 10,
                "application_name": "wherry",
                # Statements of ours are few and the same: nothing is gained, and poolers in between stay possible.
                "prepare_threshold": None,
                "options": "-c timezone=UTC -c client_encoding=UTF8",
            },
        )

    def inside(self, column: Column[Any], text: str) -> ColumnElement[int]:
        # As text: an operator of json would refuse every row, were there a NUL in one.
        return func.strpos(cast(column, Text), text)

    def bytes_of(self, column: Column[Any]) -> ColumnElement[int]:
        return func.octet_length(cast(column, Text))

    def within(self, column: str, key: str) -> str:
        return f"{column} ->> {quoted(key)}"

    def insert(self, connection: Connection, table: Table, rows: Values) -> int:
        savepoint = connection.begin_nested()
        try:
            copy(connection, table, rows)
            savepoint.commit()
            return len(rows)
        except DBAPIError as error:
            if sqlstate(error) != DUPLICATE:
                raise
            savepoint.rollback()
        return connection.exec_driver_sql(statement(table), list(rows)).rowcount

    def note(self, connection: Connection, table: Table, values: dict[str, Any]) -> None:
        row = insert(table).values(**values)
        connection.execute(row.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=values))

    @contextlib.contextmanager
    def lock(self, connection: Connection) -> Iterator[None]:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (LOCK,))  # until the transaction ends
        yield

    def is_there(self, error: DBAPIError) -> bool:
        return False  # a step that fails leaves nothing

    def blame(self, error: DBAPIError) -> Blame:
        state = sqlstate(error)
        if state == "42501" or state[:2] == "28":
            return "denied"
        if state in ("42P01", "42703", "3F000"):
            return "missing"
        # Bad values, constraints, a row that is too large for its index or for the protocol.
        if state[:2] in ("22", "23") or state in ("54000", "08P01") or (not state and isinstance(error, DataError)):
            return "refused"
        # Connection, resources, an operator who intervened, read-only, locks, no such database, a broken disk.
        if not state or error.connection_invalidated or state[:2] in ("08", "53", "57", "40", "25", "55", "3D", "58"):
            return "away"
        return "unclear"

    def descriptor(self, connection: Any) -> int | None:
        return None if connection.closed else connection.fileno()


def copy(connection: Connection, table: Table, rows: Values) -> None:
    """COPY, with the driver's errors wrapped as SQLAlchemy wraps them."""
    import psycopg

    held: Any = connection.connection.dbapi_connection
    text = f"COPY {table.name} ({', '.join(table.columns.keys())}) FROM STDIN"
    try:
        with held.cursor() as cursor, cursor.copy(text) as sink:
            for row in rows:
                sink.write_row(row)
    except psycopg.Error as error:
        lost = held.closed or held.broken
        raised = DBAPIError.instance(text, None, error, psycopg.Error, connection_invalidated=lost)
        if lost:
            connection.invalidate(error)
        raise raised from error


def sqlstate(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlstate", None) or ""


@functools.cache
def statement(table: Table) -> str:
    columns = table.columns.keys()
    marks = ", ".join(["%s"] * len(columns))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
