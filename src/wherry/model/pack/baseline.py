"""What the sample looked like: a histogram a column, kept in the bundle so that live data can be held against it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from wherry.contract.signature import Signature
from wherry.contract.wire import Cell, Row

BINS = 10
MOST_CATEGORIES = 100


class Spread(msgspec.Struct, frozen=True, omit_defaults=True):
    """How values were spread. Numbers: counts[i] lie from edges[i] to edges[i + 1] (the last edge included).
    Categories: each value with its count, the most frequent first; `others` is how many had any other value.
    """

    missing: float = 0.0  # the share of rows without a value
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    categories: tuple[tuple[Any, int], ...] = ()
    others: int = 0


class Baseline(msgspec.Struct, frozen=True):
    """What baseline.json holds: the spread of every column and of the model's own answers, over `rows` rows."""

    rows: int
    columns: dict[str, Spread]
    predictions: Spread


def of(signature: Signature, rows: Sequence[Row], predictions: Sequence[Any]) -> Baseline:
    """The baseline of a sample and of the answers to it."""
    columns = {
        column.name: spread([row[place] for row in rows], numeric=column.type in ("number", "integer"))
        for place, column in enumerate(signature.columns)
    }
    numeric = signature.output.kind == "number" and signature.output.width == 1
    answers = [answer if signature.output.width == 1 else str(answer) for answer in predictions]
    return Baseline(len(rows), columns, spread(answers, numeric=numeric))


def spread(cells: Sequence[Cell], *, numeric: bool) -> Spread:
    """The spread of one column. Bins hold about equally many values each, fewer bins where values repeat."""
    present = [cell for cell in cells if cell is not None]
    missing = 1 - len(present) / len(cells) if cells else 0.0
    if not present:
        return Spread(missing)
    if not numeric:
        counted = Counter(present).most_common()
        kept = counted[:MOST_CATEGORIES]
        return Spread(missing, categories=tuple(kept), others=sum(count for _, count in counted[MOST_CATEGORIES:]))
    values = np.asarray(present, dtype=np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return Spread(missing)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)))
    if len(edges) == 1:
        return Spread(missing, (float(edges[0]), float(edges[0])), (len(values),))
    counts, _ = np.histogram(values, bins=edges)
    return Spread(missing, tuple(edges.tolist()), tuple(counts.tolist()))
