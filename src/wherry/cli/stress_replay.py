"""Load as it was once: a trace of rates, or the requests that the project's own store kept, each at its moment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from wherry.cli.console import Console
from wherry.errors import DataUnreadable, FileMissing, TableEmpty, UsageRefused

if TYPE_CHECKING:
    from wherry.stress.shape import Shape

HISTORY = "history"
RATE = 100.0
SECONDS = "10s"
MOST_REPLAYED = 100_000


class Wish(NamedTuple):
    """The load as the flags describe it, each as it was typed."""

    rate: float | None = None
    duration: str | None = None
    shape: str | None = None
    replay: str | None = None
    speed: float = 1.0
    since: str | None = None
    arrivals: str = "even"
    model: str = ""


class Load(NamedTuple):
    """bodies: what is sent, in order, where the load brings it along; empty otherwise."""

    shape: Shape
    bodies: tuple[bytes, ...] = ()


def load_of(console: Console, wish: Wish) -> Load:
    """The load that the flags describe, within what this tool will ever do.

    Raises UsageError, ExpressionRefused, FileMissing, DataUnreadable, LoadRefused and what reading a store raises.
    """
    from wherry.stress import shape as shapes
    from wherry.stress.grammar import read_duration

    given = [
        flag for flag, value in (("--rate", wish.rate), ("--shape", wish.shape), ("--replay", wish.replay)) if value
    ]
    if len(given) > 1:
        raise click.UsageError(f"{' and '.join(given)} both give the rate; leave one out")
    if wish.since is not None and wish.replay != HISTORY:
        raise click.UsageError(
            "--since says from when on the store's history is replayed: it goes with --replay history"
        )
    seconds = read_duration(wish.duration) if wish.duration else None
    bodies: tuple[bytes, ...] = ()
    kind, _, file = (wish.shape or "").partition(":")
    if wish.replay == HISTORY:
        shape, bodies = history(console, wish.since, wish.model)
    elif wish.replay or kind == "trace":
        shape = trace(wish.replay or file)
    else:
        shape = plain(wish, seconds if seconds is not None else read_duration(SECONDS))
    if wish.speed != 1:
        shape = shape.faster(wish.speed)
    if seconds is not None:
        shape = shape.cut(seconds)
    if shape.seconds > shapes.MOST_SECONDS and (wish.replay or kind == "trace"):
        raise UsageRefused(
            f"{shape.text} takes {shape.seconds / 3600:,.1f} h; the most is {shapes.MOST_SECONDS / 3600:g}",
            hint=f"--speed {wish.speed * shape.seconds / shapes.MOST_SECONDS:.3g} fits it in, --duration 10m cuts it",
        )
    shapes.bounded(shape)
    if wish.arrivals == "poisson" and wish.replay != HISTORY:
        shape = shapes.bounded(shape.scattered())
    return Load(shape, bodies)


def plain(wish: Wish, seconds: float) -> Shape:
    from wherry.stress import shape as shapes
    from wherry.stress.grammar import read_shape

    if wish.shape is None or wish.shape == "constant":
        return shapes.constant(wish.rate or RATE, seconds)
    return read_shape(wish.shape, seconds)


def trace(name: str) -> Shape:
    """The rates of a trace file, CSV or JSON."""
    from wherry.stress import shape as shapes
    from wherry.stress.forecasting.trace import read

    file = Path(name)
    if not file.is_file():
        raise FileMissing(name, "trace")
    try:
        found = read(file.read_text(encoding="utf-8-sig"), name)
    except UnicodeDecodeError as error:
        raise DataUnreadable(name, f"byte {error.start} is not UTF-8", "a trace is text: time,rate a line") from error
    return shapes.replay(found.times.tolist(), found.rates.tolist(), found.seconds, f"trace:{name}")


def history(console: Console, since: str | None, model: str) -> tuple[Shape, tuple[bytes, ...]]:
    """The requests that the store kept, each at its moment. Rows of one request go together again."""
    import numpy as np

    from wherry.cli.history import moment, reading
    from wherry.server.history import Query
    from wherry.stress import shape as shapes

    query = Query(since_ns=moment(since, "--since"), model=model)
    requests: dict[str, tuple[float, list[Any]]] = {}
    models: set[str] = set()
    with reading(console) as reader:
        for page in reader.pages(query):
            for record in page:
                key = record.request_id or record.id
                models.add(record.model)
                requests.setdefault(key, (instant(record.created_at), []))[1].append(record.inputs)
            if len(requests) > MOST_REPLAYED:
                raise UsageRefused(
                    f"the store holds more than {MOST_REPLAYED:,} requests from then on",
                    hint="--replay history --since 1h takes the newest",
                )
    if not requests:
        whose = f" of a model {model}" if model else ""
        hint = "`wherry history` shows what it holds: other times, or other models"
        raise TableEmpty("the store", f"it holds no prediction{whose} to send again", hint)
    if len(models) > 1:  # sent to one of them, the others' would be answered wrongly or not at all
        known = ", ".join(sorted(models))
        raise UsageRefused(f"the store holds requests of several models: {known}", hint="name one with --model")
    ordered = sorted(requests.values(), key=lambda one: one[0])
    if not all(any(value is not None for value in rows[0].values()) for _, rows in ordered[:1]):
        hint = 'they are kept from when [store] inputs = "whole" is set; until then: --replay FILE, or --data FILE'
        raise TableEmpty("the store", "it keeps no inputs to send again", hint)
    bodies = tuple(msgspec.json.encode(rows[0] if len(rows) == 1 else rows) for _, rows in ordered)
    return shapes.arrivals(np.array([at for at, _ in ordered]), "the store's history"), bodies


def instant(text: str) -> float:
    """Seconds since 1970."""
    from wherry.stress.forecasting.trace import moment

    found = moment(text)
    if found is None:
        raise DataUnreadable("the store", f"{text} is no time", "wherry history --limit 5")
    return found
