"""MySQL and MariaDB: plain INSERTs of many rows. IGNORE is not used: it would hide a value that was cut short, too."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Engine, Table, create_engine, event, func
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from wherry.errors import ExtraMissing
from wherry.server.sinks.backend import CONNECT_SECONDS, PATIENCE_SECONDS, Blame, Values
from wherry.server.sinks.failing import RowsRefused, SinkAway

LOCK = "wherry.schema"
LOCK_SECONDS = 30
STATEMENT_BYTES = 128 * 1024  # of many rows; measured: larger ones are slower
DUPLICATE = 1062
DENIED = frozenset({1044, 1045, 1142, 1143, 1227, 1370, 1410, 1698})
MISSING = frozenset({1054, 1146})
# No such database, too many connections, shutting down, read-only, table or disk full, locks, deadlocks, time's up.
AWAY = frozenset({1021, 1040, 1041, 1049, 1053, 1077, 1114, 1203, 1205, 1206, 1213, 1226, 1290, 1836, 1969, 3024, 3100})
OF_DRIVER = range(2000, 3000)  # what the driver reports itself: no connection, or a lost one
REFUSED = frozenset({1292, 1366, 3140, 3819, 4025})  # no time, no such letter, no JSON; a CHECK that somebody added


class MySQL:
    """See `wherry.server.sinks.backend.Backend`."""

    name = "mysql"
    batch_rows = 5_000

    def connect(self, url: URL, *, reading: bool = False) -> Engine:
        try:
            from pymysql.cursors import Cursor
        except ImportError as error:
            raise ExtraMissing("PyMySQL", "mysql", "keeping predictions in MySQL or MariaDB") from error
        small = type("Cursor", (Cursor,), {"max_stmt_length": STATEMENT_BYTES})
        engine = create_engine(
            url.set(drivername="mysql+pymysql").update_query_dict({"charset": "utf8mb4"}),
            pool_size=1,
            max_overflow=0,
            isolation_level="READ COMMITTED",
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "read_timeout": int(PATIENCE_SECONDS),
                "write_timeout": int(PATIENCE_SECONDS),
                "local_infile": False,
                "cursorclass": small,
            },
        )

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, record: Any) -> None:
            with connection.cursor() as cursor:
                # Strict: a value that does not fit is an error, never cut short. Times are UTC, whatever the server's.
                cursor.execute("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'")
                cursor.execute("SET SESSION time_zone = '+00:00'")
                cursor.execute("SELECT @@max_allowed_packet")
                record.info["packet"] = cursor.fetchone()[0]

        return engine

    def inside(self, column: Column[Any], text: str) -> ColumnElement[int]:
        return func.instr(column, text)

    def insert(self, connection: Connection, table: Table, rows: Values) -> int:
        """Duplicates are rare, so rows go in as if there were none; where there are, one by one."""
        self._fit(connection, rows)
        savepoint = connection.begin_nested()
        try:
            connection.exec_driver_sql(statement(table), list(rows))
            savepoint.commit()
            return len(rows)
        except IntegrityError as error:
            if code_of(error) != DUPLICATE:
                raise
            savepoint.rollback()
        fresh = 0
        for row in rows:
            try:
                connection.exec_driver_sql(statement(table), row)
                fresh += 1
            except IntegrityError as error:
                if code_of(error) != DUPLICATE:
                    raise
        return fresh

    def _fit(self, connection: Connection, rows: Values) -> None:
        """Raise RowsRefused for a row that the server would cut the connection for, rather than read it."""
        packet = connection.info.get("packet", 1 << 20)
        for row in rows:
            size = sum(len(value) for value in row if isinstance(value, str))
            if size > packet // 8:  # else it fits, were every letter four bytes and escaped
                exact = len(connection.connection.cursor().mogrify("%s," * len(row), row).encode())
                if exact + 1024 > packet:
                    raise RowsRefused(f"{exact:,} bytes are more than the server's max_allowed_packet of {packet:,}")

    def note(self, connection: Connection, table: Table, values: dict[str, Any]) -> None:
        names = ", ".join(values)
        marks = ", ".join(["%s"] * len(values))
        again = ", ".join(f"{name} = VALUES({name})" for name in values if name not in table.primary_key.columns)
        sql = f"INSERT INTO {table.name} ({names}) VALUES ({marks}) ON DUPLICATE KEY UPDATE {again}"
        connection.exec_driver_sql(sql, tuple(values.values()))

    @contextlib.contextmanager
    def lock(self, connection: Connection) -> Iterator[None]:
        took = connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (LOCK, LOCK_SECONDS)).scalar()
        if took != 1:
            raise SinkAway("another process holds the lock on the database's schema")
        try:
            yield
            # Before the lock is let go of: who takes it next must see what was done under it.
            connection.exec_driver_sql("COMMIT")
        finally:
            with contextlib.suppress(SQLAlchemyError):  # the end of the connection lets go of it as well
                connection.exec_driver_sql("SELECT RELEASE_LOCK(%s)", (LOCK,))

    def blame(self, error: DBAPIError) -> Blame:
        code = code_of(error)
        if error.connection_invalidated or code in AWAY or code in OF_DRIVER:
            return "away"
        if code in DENIED:
            return "denied"
        if code in MISSING:
            return "missing"
        return "refused" if code in REFUSED or isinstance(error, (DataError, IntegrityError)) else "unclear"

    def descriptor(self, connection: Any) -> int | None:
        held = getattr(connection, "_sock", None)
        return held.fileno() if held is not None else None


def code_of(error: DBAPIError) -> int:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else 0


@functools.cache
def statement(table: Table) -> str:
    """In the form that the driver makes statements of many rows of."""
    columns = table.columns.keys()
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})"
