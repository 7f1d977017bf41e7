"""Pairs of rows on the two sides of a change of the answer, for each pair of classes 200 of them.

Halved towards the boundary until they lie 1e-2 of a column's standard deviation apart: closer, float32 and float64
legitimately part ways.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from wherry.contract.signature import Signature
from wherry.contract.wire import Cell, Outputs, Row

PAIRS = 200
APART = 1e-2
MOST_PAIRS = 20_000
HALVINGS = 40
SECONDS = 20.0  # for the boundaries; a slow estimator gets fewer pairs of classes, never fewer sample rows

Ask: TypeAlias = Callable[[Sequence[Row]], Outputs]


def boundaries(
    ask: Ask, signature: Signature, sample: Sequence[Row], outputs: Outputs, seconds_each: float
) -> tuple[list[Row], int]:
    """Pairs of rows, one after the other, that lie close together on the two sides of a change of the answer; and how
    many pairs were left out, as an estimator that takes `seconds_each` for a row would need too long for them.
    """
    if signature.output.width > 1 or len(sample) < 2:
        return [], 0
    sides, levels, left_out = paired(outputs, signature, budget(seconds_each))
    if not len(sides):
        return [], left_out
    cells = Cells(signature, sample)
    left, right = cells.at(sides[:, 0]), cells.at(sides[:, 1])
    here = marks(ask(cells.rows(*left)), levels)
    generator = np.random.default_rng(0)
    for _ in range(HALVINGS):
        open_ = np.flatnonzero(cells.apart(left[0], right[0]) > APART)
        if not len(open_):
            break
        middle = cells.between(left, right, open_, generator)
        mark = marks(ask(cells.rows(*middle)), None if levels is None else levels[open_])
        on_left = mark == here[open_]
        for side, moved in ((left, open_[on_left]), (right, open_[~on_left])):
            chosen = on_left if side is left else ~on_left
            side[0][moved], side[1][moved] = middle[0][chosen], middle[1][chosen]
    return [row for pair in zip(cells.rows(*left), cells.rows(*right), strict=True) for row in pair], left_out


def budget(seconds_each: float) -> int:
    """How many pairs there is time for, at about fifteen halvings a pair."""
    return int(min(MOST_PAIRS, max(PAIRS, SECONDS / max(seconds_each * 15, 1e-9))))


def paired(
    outputs: Outputs, signature: Signature, most: int
) -> tuple[NDArray[np.int64], NDArray[np.float64] | None, int]:
    """Indexes of rows with different answers, two a pair; for numbers also the level halfway between their answers;
    and by how many pairs `most` falls short of PAIRS for each two classes.
    """
    generator = np.random.default_rng(0)
    none = np.zeros((0, 2), dtype=np.int64)
    if signature.output.kind == "number":
        values = np.array(outputs.predictions, dtype=np.float64)
        order = np.argsort(values, kind="stable")
        half = len(order) // 2
        low, high = generator.choice(order[:half], PAIRS), generator.choice(order[half:], PAIRS)
        keep = values[low] < values[high]
        pairs = np.stack([low, high], axis=1)[keep]
        return pairs, values[pairs].mean(axis=1), 0
    groups: dict[Any, list[int]] = {}
    for index, answer in enumerate(outputs.predictions):
        groups.setdefault(answer, []).append(index)
    combinations = list(itertools.combinations(groups.values(), 2))
    wanted = PAIRS * len(combinations)
    if len(combinations) > most:
        chosen = generator.choice(len(combinations), most, replace=False)
        combinations = [combinations[place] for place in sorted(chosen)]
    each = max(1, min(PAIRS, most // max(len(combinations), 1)))
    sides = [
        np.stack([generator.choice(one, each), generator.choice(other, each)], axis=1) for one, other in combinations
    ]
    pairs = np.concatenate(sides) if sides else none
    return pairs, None, wanted - len(pairs)


def marks(outputs: Outputs, levels: NDArray[np.float64] | None) -> NDArray[Any]:
    """On which side of the change each row lies."""
    if levels is not None:
        return np.asarray(np.array(outputs.predictions, dtype=np.float64) > levels)
    found = np.empty(len(outputs.predictions), dtype=object)
    found[:] = outputs.predictions
    return found


class Cells:
    """The sample in two tables, for halving: numbers (NaN: missing) and everything that has no middle."""

    def __init__(self, signature: Signature, sample: Sequence[Row]) -> None:
        columns = signature.columns
        self.numeric = [
            place for place, each in enumerate(columns) if each.type in ("number", "integer") and not each.categories
        ]
        self.other = [place for place in range(len(columns)) if place not in set(self.numeric)]
        self.whole = np.array([columns[place].type == "integer" for place in self.numeric], dtype=bool)
        self.numbers = np.array([[row[place] for place in self.numeric] for row in sample], dtype=np.float64)
        self.numbers = self.numbers.reshape(len(sample), len(self.numeric))
        self.rest = np.empty((len(sample), len(self.other)), dtype=object)
        for index, row in enumerate(sample):
            self.rest[index] = [row[place] for place in self.other]
        with np.errstate(invalid="ignore"):
            filled = np.where(np.isnan(self.numbers), 0.0, self.numbers)
            spread = filled.std(axis=0) if len(sample) else np.ones(len(self.numeric))
        self.spread = np.where(spread > 0.0, spread, np.inf)

    def at(self, indexes: Any) -> tuple[NDArray[np.float64], NDArray[Any]]:
        return self.numbers[indexes].copy(), self.rest[indexes].copy()

    def apart(self, one: Any, other: Any) -> NDArray[np.float64]:
        """The largest distance in any column of fractions, in standard deviations."""
        if self.whole.all():
            return np.zeros(len(one))
        distance = np.abs(one - other) / self.spread
        distance[:, self.whole] = 0.0
        return np.asarray(np.nan_to_num(distance, nan=0.0).max(axis=1))

    def between(
        self, left: Any, right: Any, places: Any, generator: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Rows halfway; what has no middle is taken from either side."""
        one, other = left[0][places], right[0][places]
        middle = one / 2 + other / 2
        middle[:, self.whole] = np.floor(middle[:, self.whole])
        coin = generator.random(middle.shape) < 0.5
        middle = np.where(np.isnan(middle), np.where(coin, one, other), middle)
        coin = generator.random((len(places), len(self.other))) < 0.5
        return middle, np.where(coin, left[1][places], right[1][places])

    def rows(self, numbers: Any, rest: Any) -> list[Row]:
        columns: list[list[Cell]] = [[] for _ in range(len(self.numeric) + len(self.other))]
        for line, place in enumerate(self.numeric):
            values = numbers[:, line].tolist()
            make = int if self.whole[line] else float
            columns[place] = [None if value != value else make(value) for value in values]
        for line, place in enumerate(self.other):
            columns[place] = rest[:, line].tolist()
        return list(zip(*columns, strict=True))
