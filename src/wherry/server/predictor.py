"""Rows in, outputs out: the protocol that the model and everything that wraps it share."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from wherry.contract.wire import Outputs, Row
from wherry.server.metrics import Metrics

isfinite = math.isfinite


class Predictor(Protocol):
    """Answers checked rows: one prediction a row, in their order. A loaded model is one."""

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        """probabilities: whether anybody wants them; where nobody does, they may be left out."""


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


def unsound(outputs: Outputs, rows: int) -> list[int] | None:
    """The rows whose answer JSON cannot carry (NaN, infinity); None when there are not as many answers as rows."""
    predictions, shares = outputs.predictions, outputs.probabilities
    if len(predictions) != rows or (shares is not None and len(shares) != rows):
        return None
    try:  # NaN and infinity stay in a sum, and everything else that is no answer has none
        if isfinite(sum(predictions)) and (shares is None or isfinite(sum(map(sum, shares)))):
            return []
    except (TypeError, OverflowError):
        pass  # labels that are no numbers, several outputs a row, None: one by one
    bad = [index for index, value in enumerate(outputs.predictions) if not finite(value)]
    if outputs.probabilities is not None:
        bad += [index for index, share in enumerate(outputs.probabilities) if not isfinite(sum(share))]
    return sorted(set(bad)) if bad else bad


def finite(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, list):
        return all(map(finite, value))
    return value is not None


class Measured:
    """Counts what the model is asked, and how long it takes."""

    def __init__(self, predictor: Predictor, metrics: Metrics) -> None:
        self.predictor, self.metrics = predictor, metrics

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        start = time.perf_counter()
        try:
            return self.predictor.score(rows, probabilities)
        finally:
            self.metrics.scored(len(rows), time.perf_counter() - start)
