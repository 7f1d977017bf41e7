"""What differs between the databases, and the patience that we have with each."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, CursorResult, Engine, Table
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

Values: TypeAlias = Sequence[tuple[Any, ...]]
# refused: the rows are to blame, for ever. away: try again later. denied: the account may not. missing: no such
# table. unclear: it cannot be told.
Blame: TypeAlias = Literal["refused", "away", "denied", "missing", "unclear"]

CONNECT_SECONDS = 5
# A database that holds a connection open and says nothing is given up after this time. Slow is not dead: a commit that
# takes two seconds is waited for.
PATIENCE_SECONDS = 30.0
SCHEMA_SECONDS = 3600.0  # the same for a step of the schema, which may take long where there are many rows


class Backend(Protocol):
    """One kind of database."""

    name: str  # as `wherry.server.migrations` has it
    batch_rows: int  # rows a transaction that measured best

    def connect(self, url: URL, *, reading: bool = False, seconds: float = PATIENCE_SECONDS) -> Engine:
        """An engine of one connection; nothing is opened yet. `reading`: its transactions never hold a writer up.

        seconds: how long one answer is waited for.
        """

    def inside(self, column: Column[Any], text: str) -> ColumnElement[int]:
        """Where `text` begins in the column's text, from 1, by letter and case; 0 when it is not there."""

    def bytes_of(self, column: Column[Any]) -> ColumnElement[int]:
        """The bytes that the column's text takes."""

    def within(self, column: str, key: str) -> str:
        """SQL for what the JSON object in `column` holds under `key`, as text or a number."""

    def insert(self, connection: Connection, table: Table, rows: Values) -> int:
        """Insert the rows whose id is not there yet; how many that were. Hides no other trouble."""

    def note(self, connection: Connection, table: Table, values: dict[str, Any]) -> None:
        """Insert or replace one row, by the table's primary key."""

    def lock(self, connection: Connection) -> contextlib.AbstractContextManager[None]:
        """Hold the schema for ourselves: other processes that call this wait."""

    def is_there(self, error: DBAPIError) -> bool:
        """Whether a step of the schema failed because it was done, and only its number not noted."""

    def blame(self, error: DBAPIError) -> Blame:
        """Whose fault an error is."""

    def descriptor(self, connection: Any) -> int | None:
        """The socket of a driver's connection; None when there is none."""


def quoted(text: str) -> str:
    """A text as standard SQL has it, where a backslash is a letter like others."""
    return "'" + text.replace("'", "''") + "'"


def json_path(key: str) -> str:
    """Where SQLite and MySQL find `key` in a JSON object."""
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'$."{escaped}"'


def execute(connection: Connection, text: str) -> CursorResult[Any]:
    """A statement as it stands: no value is put into it, so a percent sign in it is one."""
    return connection.exec_driver_sql(text, execution_options={"no_parameters": True})


@contextlib.contextmanager
def patience(descriptor: int | None, seconds: float) -> Iterator[None]:
    """Cut the connection off when what is done with it takes longer: the driver then reports it as lost."""
    if descriptor is None:
        yield
        return
    timer = threading.Timer(seconds, cut, (descriptor,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def cut(descriptor: int) -> None:
    with contextlib.suppress(OSError), socket.fromfd(descriptor, socket.AF_UNSPEC, socket.SOCK_STREAM) as held:
        held.shutdown(socket.SHUT_RDWR)
