"""The questions a stored form must answer like the estimator: every sample row, boundaries between answers, odd values.

The rule (P11 of the performance targets): all rows of the sample; for each pair of classes 200 pairs of rows, halved
towards the boundary until they lie 1e-2 of a column's standard deviation apart (closer, float32 and float64
legitimately part ways); and, where the estimator accepts them, missing cells, categories never seen and numbers far out
of range. The estimator is asked once; every form is held against the same answers.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from wherry.contract.signature import Signature
from wherry.contract.wire import Cell, Outputs, Row

BATCH = 8192
PAIRS = 200
APART = 1e-2
MOST_PAIRS = 20_000
HALVINGS = 40
SECONDS = 20.0  # for the boundaries; a slow estimator gets fewer pairs of classes, never fewer sample rows
PROBED_ROWS = 32
FAR = (10.0, 1000.0)
UNSEEN = "never seen \N{SNOWMAN}"


class Reference(Protocol):
    """The estimator itself."""

    def score(self, rows: Sequence[Row]) -> Outputs: ...

    def gaps(self, rows: Sequence[Row]) -> list[float]:
        """How far the best answer of each row is from the second best, in probability or decision; inf: not known."""


class Evidence(msgspec.Struct, frozen=True):
    """Rows and the estimator's answers. `sample` of them are the sample's, then `pairs` pairs of rows, then probes."""

    rows: list[Row]
    outputs: Outputs
    sample: int
    pairs: int


def gather(reference: Reference, signature: Signature, sample: Sequence[Row]) -> Evidence:
    """Ask the estimator all of it. Raises what the estimator raises for a row of its own sample."""
    started = time.perf_counter()
    outputs = ask(reference, sample)
    each = (time.perf_counter() - started) / max(len(sample), 1)
    ends = boundaries(reference, signature, sample, outputs, each)
    rows: list[Row] = [*sample, *ends]
    answers = joined(outputs, ask(reference, ends))
    for probe in probes(signature, sample):
        found = accepted(reference, probe)
        if found is not None:
            rows += probe
            answers = joined(answers, found)
    return Evidence(rows, answers, sample=len(sample), pairs=len(ends) // 2)


def ask(reference: Any, rows: Sequence[Row]) -> Outputs:
    """The answers to any number of rows, a batch at a time."""
    answers: list[Any] = []
    probabilities: list[list[float]] = []
    for start in range(0, len(rows), BATCH):
        outputs = reference.score(rows[start : start + BATCH])
        answers += outputs.predictions
        probabilities += outputs.probabilities or []
    return Outputs(answers, probabilities or None)


def joined(one: Outputs, other: Outputs) -> Outputs:
    probabilities = [*(one.probabilities or []), *(other.probabilities or [])]
    return Outputs([*one.predictions, *other.predictions], probabilities or None)


def accepted(reference: Reference, rows: list[Row]) -> Outputs | None:
    """The answers, or None when the estimator does not take such rows."""
    try:
        return reference.score(rows)
    except Exception:  # noqa: BLE001  # whatever an estimator raises, it says no
        return None


def boundaries(
    reference: Reference, signature: Signature, sample: Sequence[Row], outputs: Outputs, seconds_each: float
) -> list[Row]:
    """Pairs of rows, one after the other, that lie close together on the two sides of a change of the answer."""
    if signature.output.width > 1 or len(sample) < 2:
        return []
    sides, levels = paired(outputs, signature, budget(seconds_each))
    if not len(sides):
        return []
    cells = Cells(signature, sample)
    left, right = cells.at(sides[:, 0]), cells.at(sides[:, 1])
    here = marks(ask(reference, cells.rows(*left)), levels)
    generator = np.random.default_rng(0)
    for _ in range(HALVINGS):
        open_ = np.flatnonzero(cells.apart(left[0], right[0]) > APART)
        if not len(open_):
            break
        middle = cells.between(left, right, open_, generator)
        mark = marks(ask(reference, cells.rows(*middle)), None if levels is None else levels[open_])
        on_left = mark == here[open_]
        for side, moved in ((left, open_[on_left]), (right, open_[~on_left])):
            chosen = on_left if side is left else ~on_left
            side[0][moved], side[1][moved] = middle[0][chosen], middle[1][chosen]
    return [row for pair in zip(cells.rows(*left), cells.rows(*right), strict=True) for row in pair]


def budget(seconds_each: float) -> int:
    """How many pairs there is time for, at about fifteen halvings a pair."""
    return int(min(MOST_PAIRS, max(PAIRS, SECONDS / max(seconds_each * 15, 1e-9))))


def paired(outputs: Outputs, signature: Signature, most: int) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
    """Indexes of rows with different answers, two a pair; for numbers also the level halfway between their answers."""
    generator = np.random.default_rng(0)
    none = np.zeros((0, 2), dtype=np.int64)
    if signature.output.kind == "number":
        values = np.array(outputs.predictions, dtype=np.float64)
        order = np.argsort(values, kind="stable")
        half = len(order) // 2
        low, high = generator.choice(order[:half], PAIRS), generator.choice(order[half:], PAIRS)
        keep = values[low] < values[high]
        pairs = np.stack([low, high], axis=1)[keep]
        return pairs, values[pairs].mean(axis=1)
    groups: dict[Any, list[int]] = {}
    for index, answer in enumerate(outputs.predictions):
        groups.setdefault(answer, []).append(index)
    combinations = list(itertools.combinations(groups.values(), 2))
    if len(combinations) > most:
        chosen = generator.choice(len(combinations), most, replace=False)
        combinations = [combinations[place] for place in sorted(chosen)]
    each = max(1, min(PAIRS, most // max(len(combinations), 1)))
    sides = [
        np.stack([generator.choice(one, each), generator.choice(other, each)], axis=1) for one, other in combinations
    ]
    return (np.concatenate(sides) if sides else none), None


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


def probes(signature: Signature, sample: Sequence[Row]) -> Iterator[list[Row]]:
    """Groups of rows with odd values, each group of one kind, for the estimator to take or to refuse as a whole."""
    if not sample:
        return
    columns = signature.columns
    step = max(1, len(sample) // max(2, min(PROBED_ROWS, 4096 // len(columns))))
    base = sample[::step]
    for place, column in enumerate(columns):
        if column.nullable:
            yield [changed(row, {place: None}) for row in base]
        if column.categories and column.unknown_ok:
            yield [changed(row, {place: unseen(column.categories)}) for row in base]
        elif column.type == "string" and not column.categories:
            yield [changed(row, {place: UNSEEN}) for row in base]
        for value in outside(sample, place, column.type) if not column.categories else ():
            yield [changed(row, {place: value}) for row in base]
    nullable = [place for place, column in enumerate(columns) if column.nullable]
    if len(nullable) > 1:
        yield [changed(row, dict.fromkeys(nullable)) for row in base]


def changed(row: Row, cells: dict[int, Cell]) -> Row:
    return tuple(cells.get(place, cell) for place, cell in enumerate(row))


def unseen(categories: Sequence[Cell]) -> Cell:
    if all(isinstance(value, str) for value in categories):
        return UNSEEN
    numbers = [value for value in categories if isinstance(value, (int, float))]
    return max(numbers) + 1 if numbers and not isinstance(numbers[0], bool) else None


def outside(sample: Sequence[Row], place: int, type_: str) -> Iterator[Cell]:
    """Values below and above all of a column's."""
    if type_ not in ("number", "integer"):
        return
    found = [cell for cell in (row[place] for row in sample) if isinstance(cell, (int, float))]
    if not found:
        return
    low, high = min(found), max(found)
    span = (high - low) or max(abs(high), 1)
    for times in FAR:
        for value in (low - times * span, high + times * span):
            yield int(value) if type_ == "integer" else float(value)
