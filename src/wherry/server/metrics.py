"""What the service counts, as Prometheus reads it. Counted on a board, so that it outlives the process that counted."""

from __future__ import annotations

import json
import struct
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

from wherry.contract import names
from wherry.contract.signature import Signature
from wherry.contract.wire import Gathered
from wherry.server.board import Board

LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
CLASSES = 64  # that are counted by name; what else is predicted counts as one more
LABEL_BYTES = 56  # of a class's name: with the metric's it must find room on the board
ENOUGH = 64  # rows that are looked at together: each by itself, it was a seventh of the work of an answer
Gauge: TypeAlias = tuple[str, str, float]  # name, labels, value
COUNTERS = {
    names.METRIC_ROWS: "Rows scored.",
    names.METRIC_MODEL_SECONDS: "Seconds spent in the model.",
    names.METRIC_MODEL_FAILURES: "Requests on which the model failed.",
    names.METRIC_OUTSIDE: "Values outside what the training sample held.",
    names.METRIC_IGNORED: "Fields sent and left aside.",
    names.METRIC_SKIPPED: "Rows not kept because their request said so.",
}
SHADOWED = {
    names.METRIC_SHADOW_REQUESTS: "Copies of requests for a shadow, by what came of them.",
    names.METRIC_SHADOW_ROWS: "Rows that a shadow answered, the same or otherwise.",
}
# Read at the moment that they are asked for.
GAUGES = {
    names.METRIC_READY: "Whether predictions are answered.",
    names.METRIC_IN_FLIGHT: "Requests read and not yet answered.",
    names.METRIC_CONNECTIONS: "Open connections.",
    names.METRIC_QUEUE_ROWS: "Rows that wait for the model.",
    names.METRIC_MODEL_INFO: "The model that is served.",
    names.METRIC_LOAD_SECONDS: "Seconds to load and prove the model.",
    names.METRIC_STORE_ROWS: "Rows of the store, by state.",
    names.METRIC_WORKERS: "Worker processes that answer; where there is one process, there are none.",
    names.METRIC_REPLACED: "Worker processes replaced, by cause: died or hung.",
}


class Histogram:
    """Observations by bucket, kept on a board; the last cell holds their sum."""

    def __init__(self, board: Board, name: str, labels: str, bounds: Sequence[float]) -> None:
        self.bounds, self.cells = bounds, board.cells
        self.places = [board.place(f"{name}|{labels}|{bucket}") for bucket in (*range(len(bounds) + 1), "sum")]

    def observe(self, values: Sequence[float]) -> None:
        cells, places, bounds = self.cells, self.places, self.bounds
        if len(values) == 1:
            cells[places[bisect_left(bounds, values[0])]] += 1.0
            cells[places[-1]] += values[0]
            return
        values = sorted(values)  # no work: those that are answered together came in their order
        start, last = 0, bisect_left(bounds, values[-1])
        for bucket in range(bisect_left(bounds, values[0]), last):
            end = bisect_right(values, bounds[bucket], start)
            cells[places[bucket]] += end - start
            start = end
        cells[places[last]] += len(values) - start
        cells[places[-1]] += sum(values)


class Metrics:
    """Counts since the service started: of this process and of those that used the board before it."""

    def __init__(self, board: Board | None = None, labels: str = "") -> None:
        """labels: what every count bears beside its own, as `model_labels` writes it; empty of an only model."""
        self.board, self.labels, self.more = board or Board(), labels, labels and f",{labels}"
        self.cells = self.board.cells
        held = f"{{{labels}}}" if labels else ""
        self.places = {name: self.board.place(name + held) for name in COUNTERS}
        self.rows, self.seconds = self.places[names.METRIC_ROWS], self.places[names.METRIC_MODEL_SECONDS]
        self.requests: dict[tuple[str, int], tuple[int, Histogram]] = {}
        self.batches = Histogram(self.board, names.METRIC_BATCH_ROWS, labels, BATCHES)
        self.classes: dict[Any, int] = {}

    def answered(self, door: str, status: int, seconds: Sequence[float]) -> None:
        """Count replies of one door and status, at least one: how long each took."""
        place, histogram = self.replied(door, status)
        self.cells[place] += len(seconds)
        histogram.observe(seconds)

    def replied(self, door: str, status: int) -> tuple[int, Histogram]:
        """Where replies of one door and status are counted."""
        known = self.requests.get((door, status))
        if known is None:
            place = self.board.place(f'{names.METRIC_REQUESTS}{{door="{door}",status="{status}"{self.more}}}')
            histogram = Histogram(self.board, names.METRIC_LATENCY, f'door="{door}"{self.more}', LATENCIES)
            known = self.requests[door, status] = place, histogram
        return known

    def scored(self, rows: int, seconds: float) -> None:
        cells, places = self.cells, self.batches.places
        cells[self.rows] += rows
        cells[self.seconds] += seconds
        cells[places[bisect_left(BATCHES, rows)]] += 1.0
        cells[places[-1]] += rows

    def predicted(self, values: Sequence[Any]) -> None:
        """Count the classes that a classifier answered with."""
        classes = self.classes
        for value in dict.fromkeys(values):  # the first ones seen are those that have names
            self.cells[classes[value] if value in classes else self.class_place(value)] += values.count(value)

    def class_place(self, value: Any) -> int:
        """Where a class is counted that is met for the first time."""
        name = value if isinstance(value, str) else json.dumps(value)
        text = label(shortened(name)) if len(self.classes) < CLASSES else "other classes"
        place = self.classes[value] = self.board.place(f'{names.METRIC_CLASSES}{{class="{text}"{self.more}}}')
        return place

    def quick_places(self, classes: Sequence[Any]) -> tuple[int, ...]:
        """The cells in which one row's answer by the native door is counted, in the order of _quick.c.

        Requests, sum of their seconds, rows, seconds of the model, batches of one row and their sum, values out of
        range; then the requests by how long they took, and last by each of `classes`.
        """
        requests, latencies = self.replied("native", 200)
        batches = self.batches.places
        first = requests, latencies.places[-1], self.rows, self.seconds, batches[0], batches[-1]
        named = [self.classes[each] if each in self.classes else self.class_place(each) for each in classes]
        return (*first, self.places[names.METRIC_OUTSIDE], *latencies.places[:-1], *named)

    def count(self, name: str, more: float = 1.0) -> None:
        """Add to one of COUNTERS."""
        self.cells[self.places[name]] += more

    @property
    def model_failures(self) -> int:
        return int(self.cells[self.places[names.METRIC_MODEL_FAILURES]])

    @property
    def outside(self) -> int:
        return int(self.cells[self.places[names.METRIC_OUTSIDE]])

    @property
    def ignored(self) -> int:
        return int(self.cells[self.places[names.METRIC_IGNORED]])

    def render(self, gauges: Iterable[Gauge]) -> str:
        """The text of /metrics; `gauges` are those read at this moment."""
        return render(self.board.read(), gauges)


def render(counts: Mapping[str, float], gauges: Iterable[Gauge]) -> str:
    """The text of /metrics."""
    lines: list[str] = []
    head(lines, names.METRIC_REQUESTS, "counter", "Requests answered, by door and status.")
    asked = sorted(name for name in counts if name.startswith(names.METRIC_REQUESTS + "{"))
    lines += [f"{name} {counts[name]:.17g}" for name in asked]
    head(lines, names.METRIC_LATENCY, "histogram", "Seconds from the complete header to the reply.")
    lines += histogram_lines(names.METRIC_LATENCY, LATENCIES, counts)
    head(lines, names.METRIC_BATCH_ROWS, "histogram", "Rows scored in one call of the model.")
    lines += histogram_lines(names.METRIC_BATCH_ROWS, BATCHES, counts)
    head(lines, names.METRIC_STEP_SECONDS, "histogram", "Seconds of one call of a step, of a chain of models.")
    lines += histogram_lines(names.METRIC_STEP_SECONDS, LATENCIES, counts)
    head(lines, names.METRIC_CLASSES, "counter", "Rows answered with each class, of a classifier.")
    answered = sorted(name for name in counts if name.startswith(names.METRIC_CLASSES + "{"))
    lines += [f"{name} {counts[name]:.17g}" for name in answered]
    for name, text in SHADOWED.items():
        head(lines, name, "counter", text)
        lines += [f"{one} {counts[one]:.17g}" for one in sorted(counts) if one.startswith(name + "{")]
    for name, text in COUNTERS.items():
        head(lines, name, "counter", text)
        held = sorted(one for one in counts if one.startswith(name + "{")) or [name]
        lines += [f"{one} {counts.get(one, 0.0):.17g}" for one in held]
    told = set()
    for name, labels, value in gauges:
        if name not in told:
            head(lines, name, "counter" if name.endswith("_total") else "gauge", GAUGES[name])
            told.add(name)
        lines.append(f"{name}{labels} {value:.9g}")
    return "\n".join(lines) + "\n"


def histogram_lines(name: str, bounds: Sequence[float], counts: Mapping[str, float]) -> Iterator[str]:
    """The lines of every histogram called `name`, one for each set of labels."""
    for labels in sorted({key.split("|")[1] for key in counts if key.startswith(f"{name}|")}):
        lead = f"{labels}," if labels else ""
        parts = [counts.get(f"{name}|{labels}|{bucket}", 0.0) for bucket in range(len(bounds) + 1)]
        sums = list(accumulate(parts))
        for bound, count in zip(bounds, sums, strict=False):
            yield f'{name}_bucket{{{lead}le="{bound:g}"}} {count:.17g}'
        yield f'{name}_bucket{{{lead}le="+Inf"}} {sums[-1]:.17g}'
        tail = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{tail} {counts.get(f'{name}|{labels}|sum', 0.0):.9g}"
        yield f"{name}_count{tail} {sums[-1]:.17g}"


def model_labels(name: str, version: str) -> str:
    """The labels by which the counts of one of several models are told apart."""
    return f'model="{label(shortened(name))}",version="{label(shortened(version))}"'


def head(lines: list[str], name: str, kind: str, text: str) -> None:
    lines += (f"# HELP {name} {text}", f"# TYPE {name} {kind}")


def shortened(text: str) -> str:
    """The beginning of a long name: its label takes LABEL_BYTES at most, whatever is in it."""
    if len(label(text).encode()) <= LABEL_BYTES:
        return text
    while len(label(text).encode()) > LABEL_BYTES - len("…".encode()):
        text = text[:-1]
    return text + "…"


def label(text: str) -> str:
    """`text` as a label's value."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Ranges:
    """Counts the cells outside the sample's ranges, as `Signature.outside` does, but fast enough for every request.

    Rows of numbers alone are gathered, and looked at together.
    """

    def __init__(self, signature: Signature) -> None:
        columns = signature.columns
        self.signature = signature
        plain = all(
            column.type in ("number", "integer") and not column.nullable and not column.categories for column in columns
        )
        inf = float("inf")
        bounded = [column.low is not None and column.high is not None for column in columns]
        self.lows = [c.low if b and c.low is not None else -inf for c, b in zip(columns, bounded, strict=True)]
        self.highs = [c.high if b and c.high is not None else inf for c, b in zip(columns, bounded, strict=True)]
        self.pack = struct.Struct(f"{len(columns)}d").pack if plain and columns else None
        self.limits: tuple[Any, Any] | None = None
        self.gathered: list[bytes] = []  # as `Rows.doubles` gives them
        self.rows = 0  # that are in them
        self.found = 0  # in rows that are not gathered
        self.looking = threading.Lock()  # what sends counts to a collector asks in a thread of its own

    def gather(self, rows: Gathered) -> bool:
        """Take note of `rows`; whether it is time to look."""
        doubles = rows.block or rows.doubles()
        if doubles is None:
            self.found += self.signature.outside(rows)
            return self.found > 0
        self.gathered.append(doubles)
        self.rows += len(rows)
        return self.rows >= ENOUGH

    def look(self, count: Callable[[int], None]) -> None:
        """Have what is outside in all rows since the last look counted."""
        with self.looking:
            gathered, self.gathered, self.rows = self.gathered, [], 0
            found, self.found = self.found, 0
            if gathered:
                found += self.outside(gathered[0] if len(gathered) == 1 else b"".join(gathered))
            if found:
                count(found)

    def outside(self, doubles: bytes) -> int:
        """How many cells of some rows are outside, as `Rows.doubles` gives them."""
        import numpy as np  # is there once a model is loaded; this module is imported before the threads are set

        if self.limits is None:
            self.limits = (np.array(self.lows), np.array(self.highs))
        lows, highs = self.limits
        cells = np.frombuffer(doubles).reshape(-1, len(lows))
        return int(np.count_nonzero((cells < lows) | (cells > highs)))
