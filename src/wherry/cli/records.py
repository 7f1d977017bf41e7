"""Stored predictions as a person, a spreadsheet or a program reads them."""

from __future__ import annotations

import csv as comma
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from wherry.cli import table
from wherry.cli.console import Console
from wherry.errors import ExtraMissing

if TYPE_CHECKING:
    from wherry.server.history import Record

BARS = " ▁▂▃▄▅▆▇█"
BUCKETS = 40
SHOWN_OF_ID = 8  # characters, the last: a whole one would leave no room for the inputs
MOST_CLASSES = 12  # more distinct predictions than these are numbers, not classes
BEFORE = ("id", "created_at", "request_id", "model", "version", "status", "latency_ms", "door", "host")
AFTER = ("prediction", "probabilities", "truth")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes the rest of a text for one after
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def show(console: Console, records: Sequence[Record]) -> None:
    """A table, the newest last."""
    rows = [
        (
            record.created_at[:19].replace("T", " "),
            record.id[-SHOWN_OF_ID:],
            f"{record.model} {record.version}",
            record.prediction if record.status == 200 else f"failed ({record.status})",
            "" if record.truth is msgspec.UNSET else record.truth,
            f"{record.latency_ms:.1f} ms",
            inputs_text(record),
        )
        for record in records
    ]
    head = ["time (UTC)", "id", "model", "prediction", "truth", "latency", "inputs"]
    kept = [place for place, title in enumerate(head) if title != "truth" or any(row[place] != "" for row in rows)]
    head, cells = [head[place] for place in kept], [[row[place] for place in kept] for row in rows]
    console.say_all(table.lines(head, cells, width=console.width, right=("latency",)) if rows else ())


def show_one(console: Console, record: Record) -> None:
    """A line, at once."""
    if console.as_json:
        console.document(record)
        return
    answer = record.prediction if record.status == 200 else f"failed ({record.status})"
    time = record.created_at[:23].replace("T", " ")
    text = f"{time}  {record.model}  {table.cell_text(answer)}  {record.latency_ms:.1f} ms  {inputs_text(record)}"
    console.say(table.cut(text, console.width))
    sys.stdout.flush()


def inputs_text(record: Record) -> str:
    if not record.inputs:
        return "not kept"
    return " ".join(f"{name}={table.cell_text(value)}" for name, value in record.inputs.items())


def chart(console: Console, total: int, outputs: Sequence[tuple[str, str, Any]]) -> None:
    """Counts, and each model's classes over time: from the first of `outputs` (id, model, prediction) to the last."""
    console.say()
    console.say(table.count(total, "prediction") + (" match" if total != 1 else " matches"))
    if not outputs:
        return
    times = [int(id[:8] + id[9:13], 16) for id, _, _ in outputs]
    first, last = min(times), max(times)
    counts = Counter((model, table.cell_text(prediction)) for _, model, prediction in outputs)
    distinct = Counter(model for model, _ in counts)
    numbers = {model for model, classes in distinct.items() if classes > MOST_CLASSES}
    names = [(model, "all" if model in numbers else table.cell_text(prediction)) for _, model, prediction in outputs]
    counts, of_model = Counter(names), Counter(model for model, _ in names)
    buckets = {name: [0] * BUCKETS for name in counts}
    for name, time in zip(names, times, strict=True):
        buckets[name][min((time - first) * BUCKETS // max(last - first, 1), BUCKETS - 1)] += 1
    most = max(max(line) for line in buckets.values())
    ordered = sorted(counts.items(), key=lambda one: (-of_model[one[0][0]], one[0][0], -one[1]))
    rows = [(*name, f"{n:,}", f"{100 * n / of_model[name[0]]:.0f} %", bars(buckets[name], most)) for name, n in ordered]
    of = "" if total == len(outputs) else f" of the newest {len(outputs):,}"
    head = ("model", "class", "count", "share", f"over {table.duration((last - first) / 1000)}{of}")
    alone = len(of_model) == 1  # and need not be named
    lines = table.lines(head[alone:], [row[alone:] for row in rows], right=("count", "share"))
    console.say_all(lines)


def bars(counts: Sequence[int], most: int) -> str:
    return "".join(BARS[-(-count * (len(BARS) - 1) // max(most, 1))] for count in counts).rstrip()


def flat(record: Record, inputs: Sequence[str]) -> list[Any]:
    fields = [getattr(record, name) for name in BEFORE]
    cells = [record.inputs.get(name) for name in inputs]
    ends = [getattr(record, name) for name in AFTER]
    return [*fields, *cells, *("" if value is msgspec.UNSET else value for value in ends)]


def csv(console: Console, inputs: Sequence[str], pages: Iterable[Sequence[Record]]) -> None:
    """Lines of CSV; a column of the model that is called like one of ours gets `input.` before its name."""
    console.close()
    writer = comma.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*BEFORE, *titles(inputs), *AFTER])
    for page in pages:
        for record in page:
            writer.writerow([cell(value) for value in flat(record, inputs)])


def cell(value: Any) -> Any:
    """A value as it stands in a line of CSV; a text that a spreadsheet would calculate gets `'` before it."""
    if isinstance(value, (list, dict)):
        return msgspec.json.encode(value).decode()
    if isinstance(value, str) and value.startswith(FORMULAS) and not NUMBER.fullmatch(value):
        return f"'{value}"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else value


def titles(inputs: Sequence[str]) -> list[str]:
    return [f"input.{name}" if name in BEFORE or name in AFTER else name for name in inputs]


def parquet(path: Path, pages: Iterable[Sequence[Record]]) -> int:
    """Write a Parquet file; how many records are in it. Columns of mixed types become text."""
    try:
        import pyarrow
        from pyarrow import parquet as writer
    except ImportError as error:
        raise ExtraMissing("pyarrow", "parquet", "writing Parquet") from error
    records = [record for page in pages for record in page]
    inputs = list({name: None for record in records for name in record.inputs})
    rows = [[None if value == "" else value for value in flat(record, inputs)] for record in records]
    columns: dict[str, Any] = {}
    for place, title in enumerate([*BEFORE, *titles(inputs), *AFTER]):
        values = [row[place] for row in rows]
        try:
            columns[title] = pyarrow.array(values)
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
            columns[title] = pyarrow.array([None if v is None else str(cell(v)) for v in values])
    writer.write_table(pyarrow.table(columns), path)
    return len(records)
