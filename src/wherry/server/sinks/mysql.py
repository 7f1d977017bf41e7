"""MySQL and MariaDB: plain INSERTs of many rows. IGNORE is not used: it would hide a value that was cut short, too."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Engine, Table, create_engine, event, func
from sqlalchemy.engine import URL
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from wherry.errors import ExtraMissing
from wherry.server.sinks.backend import CONNECT_SECONDS, PATIENCE_SECONDS, Blame, Values, execute, json_path, quoted
from wherry.server.sinks.failing import RowsRefused, SinkAway

LOCK = "wherry.schema"
LOCK_SECONDS = 30
STATEMENT_LETTERS = 128 * 1024  # of many rows; measured: larger ones are slower
DUPLICATE = 1062
KEY_THERE = 1061
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

    def connect(self, url: URL, *, reading: bool = False, seconds: float = PATIENCE_SECONDS) -> Engine:
        try:
            import pymysql  # noqa: F401  # only to see whether it is there
        except ImportError as error:
            raise ExtraMissing("PyMySQL", "mysql", "keeping predictions in MySQL or MariaDB") from error
        engine = create_engine(
            url.set(drivername="mysql+pymysql").update_query_dict({"charset": "utf8mb4"}),
            pool_size=1,
            max_overflow=0,
            isolation_level="READ COMMITTED",
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "read_timeout": max(int(seconds), 1),
                "write_timeout": max(int(seconds), 1),
                "local_infile": False,  # or a server could have us send it any file
            },
        )

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, record: Any) -> None:
            with connection.cursor() as cursor:
                # Strict: a value that does not fit is an error, never cut short. Times are UTC, whatever the server's.
                # Without escapes by backslash, JSON's own need none of theirs: a third of the writer's time.
                modes = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_BACKSLASH_ESCAPES"
                cursor.execute(f"SET SESSION sql_mode = '{modes}'")
                cursor.execute("SET SESSION time_zone = '+00:00'")
                cursor.execute("SELECT @@max_allowed_packet")
                record.info["packet"] = cursor.fetchone()[0]

        return engine

    def inside(self, column: Column[Any], text: str) -> ColumnElement[int]:
        return func.instr(column, text)

    def bytes_of(self, column: Column[Any]) -> ColumnElement[int]:
        return func.length(column)

    def within(self, column: str, key: str) -> str:
        return f"JSON_UNQUOTE(JSON_EXTRACT({column}, {quoted(json_path(key))}))"

    def insert(self, connection: Connection, table: Table, rows: Values) -> int:
        """Duplicates are rare, so rows go in as if there were none; where there are, one by one."""
        texts = self._texts(connection, rows)
        savepoint = connection.begin_nested()
        try:
            for some in stretches(texts):
                execute(connection, f"{head(table)}{','.join(some)}")
            savepoint.commit()
            return len(rows)
        except IntegrityError as error:
            if code_of(error) != DUPLICATE:
                raise
            savepoint.rollback()
        fresh = 0
        for text in texts:
            try:
                execute(connection, head(table) + text)
                fresh += 1
            except IntegrityError as error:
                if code_of(error) != DUPLICATE:
                    raise
        return fresh

    def _texts(self, connection: Connection, rows: Values) -> list[str]:
        """Each row as SQL has it. RowsRefused for one that the server would cut the connection for, rather than read.

        Written here and not by the driver, whose way takes three times as long.
        """
        escape = escaping(connection.connection.dbapi_connection)
        texts = [f"({','.join([literal(value, escape) for value in row])})" for row in rows]
        packet = connection.info.get("packet", 1 << 20)
        for text in texts:
            if len(text) > packet // 8:  # else it fits, were every letter four bytes
                exact = len(text.encode())
                if exact + 1024 > packet:
                    raise RowsRefused(f"{exact:,} bytes are more than the server's max_allowed_packet of {packet:,}")
        return texts

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

    def is_there(self, error: DBAPIError) -> bool:
        return code_of(error) == KEY_THERE

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
def head(table: Table) -> str:
    return f"INSERT INTO {table.name} ({', '.join(table.columns.keys())}) VALUES "


def escaping(held: Any) -> Callable[[str], str]:
    """What makes a text stand between quotes on this driver's connection, as the server says that it reads them now."""
    from pymysql.constants.SERVER_STATUS import SERVER_STATUS_NO_BACKSLASH_ESCAPES
    from pymysql.converters import escape_string

    if held.server_status & SERVER_STATUS_NO_BACKSLASH_ESCAPES:
        return lambda text: text.replace("'", "''")
    return escape_string  # type: ignore[no-any-return]  # PyMySQL has no types


def literal(value: Any, escape: Callable[[str], str]) -> str:
    """A value as SQL has it."""
    if isinstance(value, str):
        return f"'{escape(value)}'"
    if value is None:
        return "NULL"
    if isinstance(value, (int, float)):
        return repr(value)
    raise TypeError(f"a {type(value).__name__} is no value of a row")


def stretches(texts: Sequence[str]) -> Iterator[list[str]]:
    """The rows of one statement after the other."""
    some: list[str] = []
    size = 0
    for text in texts:
        if some and size + len(text) > STATEMENT_LETTERS:
            yield some
            some, size = [], 0
        some.append(text)
        size += len(text) + 1
    if some:
        yield some
