"""`wherry history`: the predictions that were kept, and the care of the database that keeps them."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from wherry.cli import project, table
from wherry.cli.console import Console
from wherry.cli.failures import FAILED
from wherry.cli.verb import Family, Verb
from wherry.contract.settings import quantity
from wherry.errors import ExtraMissing, FileMissing, StoreUnreachable, UsageRefused

if TYPE_CHECKING:
    from wherry.contract.project import Store
    from wherry.server.destination import Destination
    from wherry.server.history import Query
    from wherry.server.sinks.reading import Reader

AGE = re.compile(r"(\d+)\s*(s|m|h|d|w)")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SHOWN = 20  # of a table that nobody limited
CHARTED = 100_000  # newest predictions that the chart counts
LOOK_SECONDS = 0.5
# Rows that are stored late have early ids: following looks so far back, and remembers what it has shown.
LATE_SECONDS = 30


@click.group(
    cls=Family,
    live=False,
    invoke_without_command=True,
    subcommand_metavar="[migrate|prune]",
    examples=[
        "wherry history --since 1h",
        "wherry history --model boats/2",
        "wherry history --output M --where texture_worst=17.33",
        "wherry history --follow",
        "wherry history --since 2026-01-31 --csv > january.csv",
        "wherry history prune --older-than 90d",
    ],
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help=f"At most the newest N; a table has {SHOWN}.")
@click.option("--since", metavar="WHEN", help="Not before: 30m, 2h, 7d, 2026-01-31 or 2026-01-31T09:30 (UTC).")
@click.option("--until", metavar="WHEN", help="Before that time.")
@click.option(
    "--model", metavar="NAME[/VERSION]", default="", help="Of the model with this name, name and version, or digest."
)
@click.option("--output", metavar="VALUE", help="With this prediction.")
@click.option("--request-id", metavar="ID", default="", help="Of the request with this X-Request-Id.")
@click.option("--where", "wheres", multiple=True, metavar="COLUMN=VALUE", help="With this input; may be repeated.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is stored from now on, until Ctrl-C.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: one prediction a line, one column an input.")
@click.option("--parquet", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write Parquet.")
@click.pass_context
def history(
    ctx: click.Context,
    limit: int | None,
    since: str | None,
    until: str | None,
    model: str,
    output: str | None,
    request_id: str,
    wheres: tuple[str, ...],
    follow: bool,
    as_csv: bool,
    parquet: Path | None,
) -> None:
    """Show the predictions that were kept: the newest last, then counts and classes over time.

    The database is the project's: `[store] url`, WHERRY_STORE_URL, WHERRY_STORE_URL_FILE, DATABASE_URL, MYSQL_HOST
    and its like, else .wherry/predictions.db. With --json one prediction a line.
    """
    if ctx.invoked_subcommand is not None:
        return
    from wherry.cli import records
    from wherry.server.history import Query

    console: Console = ctx.obj
    if as_csv + (parquet is not None) + follow > 1:
        raise UsageRefused("--csv, --parquet and --follow exclude one another", hint="leave two of them out")
    query = Query(
        limit=limit or SHOWN,
        since_ns=moment(since, "--since"),
        until_ns=moment(until, "--until"),
        model=model,
        output=output,
        request_id=request_id,
        where=tuple(assigned(text) for text in wheres),
    )
    with reading(console) as reader:
        if follow:
            for record in followed(reader, query):
                records.show_one(console, record)
        elif as_csv:
            records.csv(console, reader.inputs(query), pages(reader, query, limit))
        elif parquet is not None:
            count = records.parquet(parquet, pages(reader, query, limit))
            console.note(f"{table.count(count, 'prediction')} in {parquet}")
        elif console.as_json:
            for page in pages(reader, query, limit):
                for record in page:
                    console.document(record)
        else:
            records.show(console, list(reversed(reader.read(query))))
            if not console.quiet:
                everything = msgspec.structs.replace(query, limit=CHARTED)
                records.chart(console, reader.count(query), reader.outputs(everything))


@history.command(cls=Verb, live=False, examples=["WHERRY_STORE_URL_FILE=owner-url wherry history migrate"])
@click.pass_obj
def migrate(console: Console) -> None:
    """Make or update the database's tables and the views of [store.views]; for the owner's account.

    Afterwards the service's account needs: SELECT and INSERT on predictions, INSERT on feedback (SELECT too, to show
    truths), SELECT, INSERT and UPDATE on wherry_progress, SELECT on wherry_schema.
    """
    with using(console, reading=False) as (target, store):
        from wherry.server.sinks import Sink
        from wherry.server.sinks.views import renew

        with contextlib.closing(Sink(target.url)) as sink:
            begun, done = sink.migrate()
            renew(sink, store.views)
    if console.as_json:
        console.document({"store": target.shown, "from": begun, "to": done, "views": list(store.views)})
    else:
        told = f"brought from step {begun} to step {done}" if begun < done else f"already at step {done}"
        shown = f"; made {', '.join(store.views)}" if store.views else ""
        console.say(f"{target.shown}: {told}{shown}")


@history.command(
    cls=Verb,
    live=False,
    examples=["wherry history prune --older-than 90d --yes", "wherry history prune --keep-bytes 10G"],
)
@click.option("--older-than", metavar="AGE", help="Remove what is older: 12h, 90d, 8w.")
@click.option("--keep-rows", type=click.IntRange(1), metavar="N", help="Remove all but the newest N.")
@click.option("--keep-bytes", metavar="SIZE", help="Remove all but the newest that take so much: 500M, 10G.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def prune(console: Console, older_than: str | None, keep_rows: int | None, keep_bytes: str | None, yes: bool) -> int:
    """Remove old predictions, and what feedback said of them; needs an account that may delete.

    What is not told here is what [store] keep_days, keep_rows and keep_bytes say. Rows go in small transactions: a
    service may go on storing meanwhile.
    """
    from wherry.server.history import Keep, kept_of

    with using(console) as (target, store):
        keep = Keep(seconds=seconds_of(older_than), rows=keep_rows, bytes=bytes_of(keep_bytes)) or kept_of(store)
        if not keep:
            raise UsageRefused("prune needs to know what is old", hint="wherry history prune --older-than 90d")
        from wherry.server.sinks import Sink
        from wherry.server.sinks.retention import Retention

        with contextlib.closing(Sink(target.url)) as sink:
            retention = Retention(sink)
            bound = retention.bound(keep)
            old = retention.count(bound) if bound else 0
            agreed = yes or not old
            if not agreed:
                agreed = console.agreed(f"Remove {table.count(old, 'prediction')} from {target.shown}?", flag="--yes")
            gone = sum(retention.prune(bound)) if bound and agreed else 0
    if console.as_json:
        console.document({"store": target.shown, "removed": gone})
    elif agreed:
        console.say(f"{table.count(gone, 'prediction')} removed from {target.shown}")
    else:
        console.note("nothing was removed")
    return 0 if agreed else FAILED


@contextlib.contextmanager
def using(console: Console, *, reading: bool = True) -> Iterator[tuple[Destination, Store]]:
    """The project's database, and its settings; what it cannot do becomes an error that shows nothing secret."""
    from wherry.server.destination import DRIVERS, destination, scheme_of

    settings = project.load(console).project.store
    target = destination(msgspec.structs.replace(settings, enabled=None), os.environ, project.state(), desk=True)
    assert target is not None  # on a desk there is always one
    if target.warning:
        console.note(target.warning, warn=True)
    file = Path(target.url.partition("///")[2])
    if scheme_of(target.url) == "sqlite" and reading and not file.is_file():
        raise FileMissing(
            target.shown,
            "store of predictions",
            "wherry serve makes it with its first prediction, unless it runs with --no-store",
        )
    try:
        from wherry.server.sinks import SinkAway
    except ImportError as error:
        extra = DRIVERS.get(scheme_of(target.url), ("", "serve"))[1]
        raise ExtraMissing("SQLAlchemy", extra, "reading predictions") from error
    try:
        yield target, settings
    except SinkAway as error:
        raise StoreUnreachable(target.shown, str(error)) from error


@contextlib.contextmanager
def reading(console: Console) -> Iterator[Reader]:
    """The project's database, open for questions."""
    with using(console) as (target, _):
        from wherry.server.sinks.reading import opened

        with opened(target.url) as reader:
            yield reader


def pages(reader: Reader, query: Query, limit: int | None) -> Iterator[list[Any]]:
    """Records to write out, oldest first: all of them, or the newest `limit`."""
    if limit is None:
        yield from reader.pages(query)
    else:
        yield list(reversed(reader.read(query)))


def followed(reader: Reader, query: Query) -> Iterator[Any]:
    """The newest records, then every new one, each once."""
    from wherry.server.history import first_id

    shown: dict[str, None] = {}
    found = list(reversed(reader.read(query)))
    while True:
        for record in found:
            if record.id not in shown:
                shown[record.id] = None
                yield record
        time.sleep(LOOK_SECONDS)
        after = first_id(time.time_ns() - LATE_SECONDS * 10**9)
        if not found or after > min(shown):
            shown = {id: None for id in shown if id > after}
        since = msgspec.structs.replace(query, after=max(after, query.after))
        found = [record for page in reader.pages(since) for record in page]


def moment(text: str | None, flag: str) -> int | None:
    """A time as people write it, in nanoseconds since 1970: 2h ago, or a date (UTC unless it says otherwise)."""
    if text is None:
        return None
    found = AGE.fullmatch(text.strip())
    if found:
        then = datetime.now(UTC) - timedelta(**{UNITS[found[2]]: int(found[1])})
    else:
        try:
            then = datetime.fromisoformat(text.strip())
        except ValueError as error:
            raise UsageRefused(f"{flag} {text} is no time", hint=f"{flag} 2h, or {flag} 2026-01-31") from error
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return int(then.timestamp()) * 10**9 + then.microsecond * 1000


def seconds_of(age: str | None) -> float | None:
    """How old something is: 90d, or since a date."""
    then = moment(age, "--older-than")
    return None if then is None else (time.time_ns() - then) / 10**9


def bytes_of(size: str | None) -> int | None:
    """A size as people write it: 500M, 10Gi."""
    if size is None:
        return None
    if not re.fullmatch(r"\d+(\.\d+)?(k|Ki|M|Mi|G|Gi|T|Ti)?", size.strip()):
        raise UsageRefused(f"--keep-bytes {size} is no size", hint="--keep-bytes 10G")
    return int(quantity(size.strip()))


def assigned(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageRefused(f"--where {text} is no COLUMN=VALUE", hint="--where texture_worst=17.33")
    return name, value
