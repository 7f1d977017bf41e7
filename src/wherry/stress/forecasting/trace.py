"""Traffic over time from a file: rates at moments, or one line a request as the store's history is exported."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

from wherry.errors import DataUnreadable
from wherry.stress.forecasting.replica import Floats

TIMES = ("time", "seconds", "second", "at", "t", "timestamp", "ts", "date", "datetime", "created_at")
RATES = ("rate", "rps", "rates", "requests_per_second", "req/s", "offered", "value")
COUNTS = ("requests", "count", "n")
MOST_STEPS = 4_000_000
EVENTS_BIN = 60.0  # seconds over which single requests become a rate, in a history longer than an hour
HINT = "a trace has a line for each moment, such as: time,rate and then 0,100 or 2026-01-31T08:00:00,100"


@dataclass(frozen=True)
class Trace:
    """A rate that holds from each moment to the next. times: seconds from the first. begun: its date, or ""."""

    times: Floats
    rates: Floats
    seconds: float
    begun: str = ""

    @property
    def requests(self) -> float:
        return float((np.diff(np.append(self.times, self.seconds)) * self.rates).sum())

    def scaled(self, factor: float) -> Trace:
        return Trace(self.times, self.rates * factor, self.seconds, self.begun)

    def steps(self, step: float) -> Floats:
        """The mean rate in each `step` seconds; no request is lost or made by it."""
        edges = np.append(self.times, self.seconds)
        sums = np.concatenate(([0.0], np.cumsum(np.diff(edges) * self.rates)))
        count = max(1, math.ceil(self.seconds / step - 1e-9))
        grid = np.minimum(np.arange(count + 1) * step, self.seconds)
        return np.asarray(np.diff(np.interp(grid, edges, sums)) / step, dtype=np.float64)

    def part(self, begin: float, end: float) -> Trace:
        """What lies between two moments, from nought again."""
        first = int(np.searchsorted(self.times, begin, side="right")) - 1
        last = max(first + 1, int(np.searchsorted(self.times, end, side="left")))
        times = np.maximum(self.times[first:last] - begin, 0.0)
        return Trace(times, self.rates[first:last], min(end, self.seconds) - begin, self.begun)


def read(content: str, name: str) -> Trace:
    """The trace in a file's text: JSON or CSV. Raises DataUnreadable, which names the line."""
    if not content.strip():
        raise DataUnreadable(name, "it is empty", HINT)
    if content.lstrip()[:1] in "[{":
        return from_json(content, name)
    return from_csv(content, name)


def from_json(content: str, name: str) -> Trace:
    """A list of [time, rate] or {"time", "rate"}; or {"times": [...], "rates": [...]}; or JSON lines of records."""
    try:
        try:
            value: Any = msgspec.json.decode(content)
        except msgspec.DecodeError:
            value = [msgspec.json.decode(line) for line in content.splitlines() if line.strip()]
    except msgspec.DecodeError as error:
        raise DataUnreadable(name, f"it is no JSON: {error}", HINT) from error
    if isinstance(value, dict) and isinstance(value.get("times"), list) and isinstance(value.get("rates"), list):
        if len(value["times"]) != len(value["rates"]):
            raise DataUnreadable(name, f"{len(value['times'])} times and {len(value['rates'])} rates", HINT)
        return assemble(name, value["times"], value["rates"], None)
    records = value if isinstance(value, list) else [value]
    if all(isinstance(each, list) and len(each) == 2 for each in records):
        return assemble(name, [each[0] for each in records], [each[1] for each in records], None)
    if not all(isinstance(each, dict) for each in records):
        raise DataUnreadable(name, "it is neither a list of [time, rate] nor one of records", HINT)
    return from_columns(name, list(records[0]) if records else [], [list(each.values()) for each in records], 0)


def from_csv(content: str, name: str) -> Trace:
    sample = content[:4000]
    separator = max(",;\t", key=sample.count)
    lines = [line for line in csv.reader(io.StringIO(content), delimiter=separator) if line and line[0][:1] != "#"]
    if not lines:
        raise DataUnreadable(name, "it holds comments only", HINT)
    if moment(lines[0][0]) is None:
        return from_columns(name, lines[0], lines[1:], 2)
    for number, line in enumerate(lines, 1):
        if len(line) != 2:
            raise DataUnreadable(name, f"line {number} has {len(line)} values, not a time and a rate", HINT)
    return assemble(name, [line[0] for line in lines], [line[1] for line in lines], 1)


def from_columns(name: str, head: Sequence[str], rows: Sequence[Sequence[Any]], first: int) -> Trace:
    """Columns by their names. With a time and no rate each row is one request."""
    names = [str(each).strip().lower() for each in head]
    when = next((names.index(each) for each in TIMES if each in names), None)
    if when is None:
        raise DataUnreadable(name, f"no column is named {', '.join(TIMES[:3])} or the like: {', '.join(head)}", HINT)
    if not rows:
        raise DataUnreadable(name, "it has a header and no line under it", HINT)
    short = next((place for place, row in enumerate(rows) if len(row) != len(head)), None)
    if short is not None:
        where = f"line {short + first}" if first else f"entry {short + 1}"
        raise DataUnreadable(name, f"{where} has {len(rows[short])} values where there are {len(head)} columns", HINT)
    times = [row[when] for row in rows]
    rate = next((names.index(each) for each in RATES if each in names), None)
    if rate is not None:
        return assemble(name, times, [row[rate] for row in rows], first)
    counted = next((names.index(each) for each in COUNTS if each in names), None)
    if counted is not None:
        trace = assemble(name, times, [row[counted] for row in rows], first)
        widths = np.diff(np.append(trace.times, trace.seconds))
        return Trace(trace.times, np.asarray(trace.rates / widths, np.float64), trace.seconds, trace.begun)
    if len(head) == 2:
        return assemble(name, times, [row[1 - when] for row in rows], first)
    return events(name, times, first)


def events(name: str, given: Sequence[Any], first: int) -> Trace:
    """One request a row, in any order: counted by the minute, or by the second when it is less than an hour."""
    moments = [seconds_of(each, name, place, first) for place, each in enumerate(given)]
    times = np.sort(np.array(moments))
    span = float(times[-1] - times[0])
    width = EVENTS_BIN if span > 3600 else 1.0
    count = int(span // width) + 1
    counts = np.bincount(((times - times[0]) // width).astype(np.int64), minlength=count)
    bins = np.arange(count, dtype=np.float64) * width
    return Trace(bins, np.asarray(counts / width, np.float64), count * width, date_of(float(times[0])))


def assemble(name: str, times: Sequence[Any], rates: Sequence[Any], first: int | None) -> Trace:
    """A trace from what the columns hold. Raises DataUnreadable."""
    if not times:
        raise DataUnreadable(name, "it holds no moment", HINT)
    moments = np.array([seconds_of(each, name, place, first) for place, each in enumerate(times)])
    values = np.array([rate_of(each, name, place, first) for place, each in enumerate(rates)])
    gaps = np.diff(moments)
    if len(gaps) and gaps.min() <= 0:
        place = int(np.argmax(gaps <= 0)) + 1
        raise DataUnreadable(name, f"{where(place, first)}: {times[place]} is not later than {times[place - 1]}", HINT)
    width = float(np.median(gaps)) if len(gaps) else 60.0
    return Trace(moments - moments[0], values, float(moments[-1] - moments[0]) + width, date_of(float(moments[0])))


def where(place: int, first: int | None) -> str:
    return f"line {place + first}" if first else f"entry {place + 1}"


def seconds_of(value: Any, name: str, place: int, first: int | None) -> float:
    found = moment(value)
    if found is None or not math.isfinite(found):
        raise DataUnreadable(name, f"{where(place, first)}: {str(value)[:40]!r} is no time", HINT)
    return found


def rate_of(value: Any, name: str, place: int, first: int | None) -> float:
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise DataUnreadable(name, f"{where(place, first)}: {str(value)[:40]!r} is no rate", HINT) from error
    if not 0 <= found < math.inf:
        raise DataUnreadable(name, f"{where(place, first)}: a rate is 0 or more, not {value}", HINT)
    return found


def moment(value: Any) -> float | None:
    """Seconds: a number as it stands, else a date and time (UTC unless it says otherwise). None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, (int, float)):
        return float(value)
    try:
        return float(value)
    except (TypeError, ValueError):
        pass
    try:
        then = datetime.fromisoformat(str(value).strip())
    except ValueError:
        return None
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp()


def date_of(seconds: float) -> str:
    """The date that these seconds since 1970 are; "" where they are none."""
    if not 946_684_800 <= seconds <= 4_102_444_800:  # 2000 to 2100
        return ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
