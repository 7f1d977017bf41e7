"""What the service counts, as Prometheus reads it. Written by the loop, read by the admin thread; no locks needed."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from itertools import accumulate

from wherry.contract import names
from wherry.contract.signature import Signature
from wherry.contract.wire import Row

LATENCIES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Histogram:
    """Observations by bucket."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str, labels: str = "") -> Iterator[str]:
        sums = list(accumulate(self.counts))
        lead = f"{labels}," if labels else ""
        for bound, count in zip(self.bounds, sums, strict=False):
            yield f'{name}_bucket{{{lead}le="{bound:g}"}} {count}'
        yield f'{name}_bucket{{{lead}le="+Inf"}} {sums[-1]}'
        tail = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{tail} {self.total:.9g}"
        yield f"{name}_count{tail} {sums[-1]}"


class Metrics:
    """Counts since the service started."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.latency: dict[str, Histogram] = {}
        self.batches = Histogram(BATCHES)
        self.rows = 0
        self.model_seconds = 0.0
        self.model_failures = 0
        self.outside = 0
        self.ignored = 0

    def answered(self, door: str, status: int, seconds: float) -> None:
        key = (door, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        histogram = self.latency.get(door)
        if histogram is None:
            histogram = self.latency[door] = Histogram(LATENCIES)
        histogram.observe(seconds)

    def scored(self, rows: int, seconds: float) -> None:
        self.rows += rows
        self.batches.observe(rows)
        self.model_seconds += seconds

    def render(self, gauges: Sequence[tuple[str, str, str, float]]) -> str:
        """The text of /metrics; `gauges` are those read at this moment: name, labels, help, value."""
        lines: list[str] = []
        counter(lines, names.METRIC_REQUESTS, "Requests answered, by door and status.")
        for (door, status), count in sorted(self.requests.copy().items()):
            lines.append(f'{names.METRIC_REQUESTS}{{door="{door}",status="{status}"}} {count}')
        head(lines, names.METRIC_LATENCY, "histogram", "Seconds from the complete header to the reply.")
        for door, histogram in sorted(self.latency.copy().items()):
            lines += histogram.lines(names.METRIC_LATENCY, f'door="{door}"')
        head(lines, names.METRIC_BATCH_ROWS, "histogram", "Rows scored in one call of the model.")
        lines += self.batches.lines(names.METRIC_BATCH_ROWS)
        counter(lines, names.METRIC_ROWS, "Rows scored.", self.rows)
        counter(lines, names.METRIC_MODEL_SECONDS, "Seconds spent in the model.", self.model_seconds)
        counter(lines, names.METRIC_MODEL_FAILURES, "Requests on which the model failed.", self.model_failures)
        counter(lines, names.METRIC_OUTSIDE, "Values outside what the training sample held.", self.outside)
        counter(lines, names.METRIC_IGNORED, "Fields sent and left aside.", self.ignored)
        told = set()
        for name, labels, text, value in gauges:
            if name not in told:
                head(lines, name, "gauge", text)
                told.add(name)
            lines.append(f"{name}{labels} {value:.9g}")
        return "\n".join(lines) + "\n"


def head(lines: list[str], name: str, kind: str, text: str) -> None:
    lines += (f"# HELP {name} {text}", f"# TYPE {name} {kind}")


def counter(lines: list[str], name: str, text: str, value: float | None = None) -> None:
    head(lines, name, "counter", text)
    if value is not None:
        lines.append(f"{name} {value:.9g}")


def label(text: str) -> str:
    """`text` as a label's value."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Ranges:
    """Counts the cells outside the sample's ranges, as `Signature.outside` does, but fast enough for every request."""

    def __init__(self, signature: Signature) -> None:
        columns = signature.columns
        self.signature = signature
        self.plain = all(
            column.type in ("number", "integer") and not column.nullable and not column.categories for column in columns
        )
        inf = float("inf")
        bounded = [column.low is not None and column.high is not None for column in columns]
        self.lows = [c.low if b and c.low is not None else -inf for c, b in zip(columns, bounded, strict=True)]
        self.highs = [c.high if b and c.high is not None else inf for c, b in zip(columns, bounded, strict=True)]

    def outside(self, rows: Sequence[Row]) -> int:
        if not self.plain:
            return self.signature.outside(rows)
        count = 0
        for row in rows:
            for cell, low, high in zip(row, self.lows, self.highs, strict=True):
                if not low <= cell <= high:  # type: ignore[operator]  # plain: every cell is a number
                    count += 1
        return count
