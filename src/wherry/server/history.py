"""Questions to the store, and what it answers; values only. `wherry.server.sinks.reading` asks the database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from wherry.contract.project import Store


class Query(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which predictions: all that every given filter lets through.

    since_ns, until_ns: UTC, nanoseconds since 1970, until excluded. output: the prediction, as people write it.
    where: values of input columns, as people write them. before, after: ids, for paging. oldest_first: else the newest
    come first.
    """

    limit: int = 20
    since_ns: int | None = None
    until_ns: int | None = None
    model: str = ""
    output: str | None = None
    request_id: str = ""
    where: tuple[tuple[str, str], ...] = ()
    before: str = ""
    after: str = ""
    oldest_first: bool = False


class Keep(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What stays in the database: what is within every bound that is given; seconds of age, rows, bytes of rows."""

    seconds: float | None = None
    rows: int | None = None
    bytes: int | None = None

    def __bool__(self) -> bool:
        return self != Keep()


def kept_of(store: Store) -> Keep:
    """What the project's settings let stay."""
    days = store.keep_days
    return Keep(seconds=None if days is None else days * 86400, rows=store.keep_rows, bytes=store.keep_bytes)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction as it is kept. `truth` is what feedback said of it last; unset when nobody did."""

    id: str
    created_at: str
    request_id: str
    model: str
    version: str
    digest: str
    door: str
    status: int
    latency_ms: float
    host: str
    inputs: dict[str, Any]
    prediction: Any = None
    probabilities: list[float] | msgspec.UnsetType = msgspec.UNSET
    truth: Any = msgspec.UNSET


def first_id(time_ns: int) -> str:
    """No id that was made at `time_ns` or later sorts before this, and none that was made earlier after it."""
    text = f"{max(time_ns, 0) // 1_000_000 & 0xFFFF_FFFF_FFFF:012x}"
    return f"{text[:8]}-{text[8:]}"


def spellings(text: str) -> Iterator[str]:
    """The JSON texts that stand for a value which a person wrote as `text`: M, 1, 2.50, true, null."""
    yield msgspec.json.encode(text).decode()
    try:
        value = json.loads(text)
    except ValueError:
        return
    if value is None or isinstance(value, bool):
        yield text
    elif isinstance(value, (int, float)):
        made = {msgspec.json.encode(value).decode(), msgspec.json.encode(float(value)).decode()}
        if float(value).is_integer():
            made.add(str(int(value)))
        yield from sorted(made)
