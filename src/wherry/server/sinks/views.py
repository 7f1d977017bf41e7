"""The views that a project declares: predictions under the names that somebody's queries use already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError

from wherry.contract.views import INPUT, View
from wherry.server.sinks.backend import execute, quoted
from wherry.server.sinks.failing import SinkAway, SinkDenied, SinkUnclear
from wherry.server.sinks.sink import Sink, TableMissing


def missing(sink: Sink, views: Mapping[str, View]) -> Iterator[tuple[str, str]]:
    """Make the views that are not there; each that could not be made, and why."""
    for name, view in views.items():
        try:
            found = shown_by(sink, name)
            if found is None:
                with sink.transaction() as connection, sink.backend.lock(connection):
                    if not inspect(connection).has_table(name):  # else another process was quicker
                        execute(connection, f"CREATE VIEW {title(connection, name)} AS {body(connection, sink, view)}")
            elif found != list(view.columns):
                yield name, f"there is a {name} with other columns; `wherry history migrate` replaces a view"
        except SinkDenied:
            yield name, "this account may not; `wherry history migrate` with the owner's account makes it"
        except SinkUnclear as error:
            yield name, str(error)


def renew(sink: Sink, views: Mapping[str, View]) -> None:
    """Make all views as they are declared now. A table that has the name of one is left alone: SinkAway names it."""
    for name, view in views.items():
        with sink.transaction() as connection:
            if name in inspect(connection).get_table_names():
                raise SinkAway(f"there is a table {name} that wherry did not make; call the view something else")
            text = f"VIEW {title(connection, name)} AS {body(connection, sink, view)}"
            if sink.backend.name == "sqlite":
                execute(connection, f"DROP VIEW IF EXISTS {title(connection, name)}")
                execute(connection, f"CREATE {text}")
                continue
            savepoint = connection.begin_nested()
            try:
                execute(connection, f"CREATE OR REPLACE {text}")
                savepoint.commit()
            except DBAPIError:  # PostgreSQL replaces no view by one of other columns, and a new one has no grants
                savepoint.rollback()
                execute(connection, f"DROP VIEW IF EXISTS {title(connection, name)}")
                execute(connection, f"CREATE {text}")


def shown_by(sink: Sink, name: str) -> list[str] | None:
    """The columns of the view or table of that name; None when there is none."""
    try:
        with sink.transaction(missing_is_away=False) as connection:
            return list(execute(connection, f"SELECT * FROM {title(connection, name)} WHERE 1 = 0").keys())
    except TableMissing:
        return None


def body(connection: Connection, sink: Sink, view: View) -> str:
    """What a view selects: of predictions that were answered, each column that it shows."""
    columns = ", ".join(
        f"{source_text(sink, source)} AS {title(connection, column)}" for column, source in view.columns.items()
    )
    of = f" AND model_name = {quoted(view.model)}" if view.model else ""
    return f"SELECT {columns} FROM predictions WHERE outputs IS NOT NULL{of}"


def source_text(sink: Sink, source: str) -> str:
    if source == "prediction":
        return sink.backend.within("outputs", "prediction")
    if source.startswith(INPUT):
        return sink.backend.within("inputs", source.removeprefix(INPUT))
    return source


def title(connection: Connection, name: str) -> str:
    """A name as this database has it, in quotes where it needs them."""
    return str(connection.dialect.identifier_preparer.quote(name))
