"""Rows in, outputs out: the protocol that the model and everything that wraps it share."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from wherry.contract.wire import Outputs, Row, Sums
from wherry.server.metrics import Metrics


class Predictor(Protocol):
    """Answers checked rows: one prediction a row, in their order. A loaded model is one."""

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        """Answers that JSON can carry: what is NaN or infinite is raised as ModelFailed, as `model.loaded.sound` does.

        probabilities: whether anybody wants them; where nobody does, they may be left out.
        """


class Cost(msgspec.Struct, frozen=True):
    """What a call takes, in seconds: `fixed` whatever the rows, `row` more for each of them."""

    fixed: float
    row: float

    def seconds(self, rows: int) -> float:
        return self.fixed + self.row * rows


def measure(predictor: Predictor, rows: Sequence[Row], *, budget: float = 0.05, most: int = 64) -> Cost:
    """The cost of `predictor` on `rows`, which are rotated: a tree that sees one row only looks faster than it is.

    Takes about `budget` seconds, more only where a few calls already do.
    """
    many = (list(rows) * (most // len(rows) + 1))[:most]
    one = fastest(predictor, [many[place : place + 1] for place in range(min(16, most))], budget / 2)
    all_of_them = fastest(predictor, [many[place:] + many[:place] for place in range(4)], budget / 2)
    row = max(0.0, (all_of_them - one) / (most - 1))
    return Cost(max(0.0, one - row), row)


def fastest(predictor: Predictor, batches: list[list[Row]], budget: float) -> float:
    """Seconds of the fastest call: the others were disturbed."""
    best, spent, count = math.inf, 0.0, 0
    while count < 2 or (spent < budget and count < 200):
        start = time.perf_counter()
        predictor.score(batches[count % len(batches)])
        took = time.perf_counter() - start
        best, spent, count = min(best, took), spent + took, count + 1
    return best


class Measured:
    """Counts what the model is asked, and how long it takes."""

    def __init__(self, predictor: Predictor, metrics: Metrics) -> None:
        self.predictor, self.metrics = predictor, metrics
        self.compared: Sums | None = getattr(predictor, "compared", None)  # few models are nothing but that

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        start = time.perf_counter()
        try:
            return self.predictor.score(rows, probabilities)
        finally:
            self.metrics.scored(len(rows), time.perf_counter() - start)
