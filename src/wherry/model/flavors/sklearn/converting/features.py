"""What a pipeline makes of a column before its last step, as functions of one cell each.

A missing value travels as NaN until something fills it; a cell that has no answer at all stays NaN to the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from wherry.contract.signature import Signature
from wherry.contract.wire import Cell

NAN = math.nan


class NotFoldable(Exception):
    """The estimator is no sum of functions of one column each; str() says where. The next form is tried."""


@dataclass(frozen=True)
class Raw:
    """A column of texts, as it came; `fill` stands for a missing one."""

    column: int
    fill: Cell = None


@dataclass(frozen=True)
class Number:
    """slope * (min(max(x, low), high) - shift) + offset; `missing` for a missing cell.

    shift: subtracted first, as a standardised column has it: far from zero, slope * x + offset would lose its digits.
    """

    column: int
    slope: float = 1.0
    offset: float = 0.0
    shift: float = 0.0
    missing: float = NAN
    low: float = -math.inf
    high: float = math.inf

    @property
    def untouched(self) -> bool:
        return (self.slope, self.offset, self.shift, self.low, self.high) == (1.0, 0.0, 0.0, -math.inf, math.inf)

    def centered(self, center: float, scale: float) -> Number:
        """(this - center) / scale."""
        if self.untouched:
            return replace(self, slope=1.0 / scale, shift=center, missing=(self.missing - center) / scale)
        return self.scaled(1.0 / scale, -center / scale)

    def scaled(self, slope: float, offset: float) -> Number:
        return replace(
            self,
            slope=self.slope * slope,
            offset=self.offset * slope + offset,
            missing=self.missing * slope + offset,
        )

    def filled(self, value: float) -> Number:
        return replace(self, missing=value) if math.isnan(self.missing) else self

    def clipped(self, low: float, high: float) -> Number:
        missing = self.missing if math.isnan(self.missing) else min(max(self.missing, low), high)
        if self.slope == 0.0:
            return replace(self, offset=min(max(self.offset, low), high), missing=missing)
        ends = sorted((end - self.offset) / self.slope + self.shift for end in (low, high))
        return replace(self, low=max(self.low, ends[0]), high=min(self.high, ends[1]), missing=missing)


@dataclass(frozen=True)
class Table:
    """`values[x]` where x is listed, `otherwise` where it is only known, else `unknown` (NaN: refused)."""

    column: int
    known: tuple[Cell, ...]
    values: dict[Cell, float]
    otherwise: float
    unknown: float
    missing: float

    def centered(self, center: float, scale: float) -> Table:
        return self.mapped(lambda value: (value - center) / scale)

    def scaled(self, slope: float, offset: float) -> Table:
        return self.mapped(lambda value: value * slope + offset)

    def filled(self, value: float) -> Table:
        return self.mapped(lambda have: value if math.isnan(have) else have)

    def clipped(self, low: float, high: float) -> Table:
        return self.mapped(lambda have: have if math.isnan(have) else min(max(have, low), high))

    def mapped(self, change: Any) -> Table:
        return replace(
            self,
            values={key: change(value) for key, value in self.values.items()},
            otherwise=change(self.otherwise),
            unknown=change(self.unknown),
            missing=change(self.missing),
        )


Feature: TypeAlias = Raw | Number | Table


def untouched(signature: Signature) -> list[Feature]:
    """The columns before any step."""
    return [Raw(place) if column.type == "string" else Number(place) for place, column in enumerate(signature.columns)]


def as_numeric(feature: Feature) -> Number | Table:
    if isinstance(feature, Raw):
        raise NotFoldable("a text is used as a number")
    return feature


def as_categories(feature: Feature) -> tuple[int, Cell]:
    """The column whose values are categories, and what stands for a missing one (None: it is still missing)."""
    if isinstance(feature, Raw):
        return feature.column, feature.fill
    if isinstance(feature, Number) and feature.untouched:
        return feature.column, None if math.isnan(feature.missing) else feature.missing
    raise NotFoldable("a column is encoded after it was changed")


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ == "NAType"
