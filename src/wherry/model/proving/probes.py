"""Rows with odd values: missing cells, categories never seen, numbers far out of the sample's range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wherry.contract.signature import Signature
from wherry.contract.wire import Cell, Row

PROBED_ROWS = 32
FAR = (10.0, 1000.0)
UNSEEN = "never seen \N{SNOWMAN}"


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
