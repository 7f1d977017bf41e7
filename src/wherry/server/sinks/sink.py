"""One database, held by one connection: rows and how far the spool was read go in together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, insert, make_url, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from wherry.errors import StoreRefused
from wherry.server.destination import SUPPORTED, scheme_of
from wherry.server.migrations import LATEST, LEDGER, MIGRATIONS
from wherry.server.sinks.backend import PATIENCE_SECONDS, SCHEMA_SECONDS, Backend, patience
from wherry.server.sinks.failing import RowsRefused, SinkAway, SinkDenied, SinkUnclear
from wherry.server.sinks.hiding import hidden
from wherry.server.sinks.mysql import MySQL
from wherry.server.sinks.postgresql import PostgreSQL
from wherry.server.sinks.sqlite import SQLite
from wherry.server.sinks.tables import feedback, predictions, progress_table, schema_table

BACKENDS: dict[str, type[Backend]] = {
    "sqlite": SQLite,
    "mysql": MySQL,
    "mariadb": MySQL,
    "postgresql": PostgreSQL,
    "postgres": PostgreSQL,
}
COMMAND = "`wherry history migrate` with the owner's account makes it"


class Progress(NamedTuple):
    """How far a spool was read: up to `position` of `segment`, which is every row numbered below `sequence`."""

    segment: str = ""
    position: int = 0
    sequence: int = 0
    poison: int = 0
    duplicates: int = 0


class Sink:
    """One connection to a database. Raises SinkAway whenever trying again later may help; no error holds a password.

    Raises StoreRefused for a url of no use, ExtraMissing when the database's driver is not installed.
    """

    def __init__(self, url: str, *, reading: bool = False, seconds: float = PATIENCE_SECONDS) -> None:
        self.backend: Backend = backend_of(url)
        self._text, self._url, self._seconds = url, parsed(url), seconds
        self._engine = self.backend.connect(self._url, reading=reading, seconds=seconds)

    def migrate(self) -> tuple[int, int]:
        """Bring the schema up to date, if it is not; of several processes that try at once, one does it.

        The last step that the database had, and the one that it has now.
        """
        begun = self._number()
        if begun >= LATEST:
            return begun, begun
        patient = Sink(self._text, seconds=SCHEMA_SECONDS)
        with contextlib.closing(patient), patient.transaction() as connection, self.backend.lock(connection):
            connection.exec_driver_sql(LEDGER)
            done = connection.execute(select(func.max(schema_table.c.number))).scalar() or 0
            for step in MIGRATIONS:
                if step.number > done:
                    for statement in step.statements[self.backend.name]:
                        self._take_step(connection, statement)
                    applied = {"number": step.number, "applied_at": datetime.now(UTC).isoformat()}
                    connection.execute(insert(schema_table), applied)
        return begun, LATEST

    def _take_step(self, connection: Connection, statement: str) -> None:
        try:
            connection.exec_driver_sql(statement)
        except DBAPIError as error:
            if not self.backend.is_there(error):
                raise

    def _number(self) -> int:
        """The last step that the database has; 0 when it has none."""
        try:
            with self.transaction(missing_is_away=False) as connection:
                return connection.execute(select(func.max(schema_table.c.number))).scalar() or 0
        except TableMissing:
            return 0

    def progress(self, spool: str) -> Progress | None:
        """How far the spool was read; None when this database has nothing of it."""
        columns = [progress_table.c[name] for name in Progress._fields]
        with self.transaction() as connection:
            row = connection.execute(select(*columns).where(progress_table.c.spool == spool)).first()
        return Progress(*row) if row else None

    def store(
        self,
        rows: Sequence[tuple[Any, ...]],
        spool: str,
        progress: Progress,
        truths: Sequence[tuple[Any, ...]] = (),
    ) -> Progress:
        """Insert the rows that are not there yet and note the progress, all or nothing.

        rows, truths: values in the order of the columns of `predictions` and `feedback`. Returns the progress with
        the duplicates counted. Raises RowsRefused when the database does not take them (then none is inserted),
        SinkUnclear when it may be for their sake that it does not, SinkAway.
        """
        with self.transaction() as connection:
            fresh = 0
            for table, its in ((predictions, rows), (feedback, truths)):
                if its:
                    try:
                        fresh += self.backend.insert(connection, table, its)
                    except (ValueError, TypeError, OverflowError) as error:
                        raise RowsRefused(str(error)) from error
            known = len(rows) + len(truths) - fresh
            noted = progress._replace(duplicates=progress.duplicates + known)
            self.backend.note(connection, progress_table, {"spool": spool, **noted._asdict()})
        return noted

    def close(self) -> None:
        self._engine.dispose()

    @contextlib.contextmanager
    def transaction(self, *, missing_is_away: bool = True) -> Iterator[Connection]:
        """A transaction of bounded patience, whose errors say what to do about them."""
        try:
            with self._engine.connect() as connection:
                held = connection.connection.dbapi_connection
                with patience(self.backend.descriptor(held), self._seconds), connection.begin():
                    yield connection
        except DBAPIError as error:
            raise self._told(error, missing_is_away) from error
        except SQLAlchemyError as error:  # no connection to be had
            raise SinkAway(self._hidden(str(error))) from error

    def _told(self, error: DBAPIError, missing_is_away: bool) -> Exception:
        text = self._hidden(str(error.orig).strip())
        blame = self.backend.blame(error)
        if blame == "refused":
            return RowsRefused(text)
        if blame == "unclear":
            return SinkUnclear(text)
        if blame == "denied":
            return SinkDenied(f"{text}; a table or column that is not there: {COMMAND}")
        if blame == "missing":
            return SinkAway(f"{text}; {COMMAND}") if missing_is_away else TableMissing(text)
        return SinkAway(text)

    def _hidden(self, text: str) -> str:
        return hidden(text, str(self._url.password or ""))


class TableMissing(Exception):
    """The database has no such table."""


def backend_of(url: str) -> Backend:
    """Raises StoreRefused."""
    made = BACKENDS.get(scheme_of(url))
    if made is None:
        raise StoreRefused(scheme_of(url), "store.url", SUPPORTED)
    return made()


def parsed(url: str) -> URL:
    """The url's parts. Raises StoreRefused that shows none of them."""
    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        # from None: the original repeats the url
        raise StoreRefused("malformed", "store.url", SUPPORTED) from None
