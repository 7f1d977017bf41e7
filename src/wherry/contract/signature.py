"""Columns in, predictions out: what a model accepts and returns, and how a request is held against it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, TypeAlias

import msgspec

from wherry.contract.pictures import Preparation
from wherry.contract.wire import Cell, FieldProblem, Row

ColumnType: TypeAlias = Literal["number", "integer", "boolean", "string", "image"]

MOST_PROBLEMS = 100  # named in one refusal
LONGEST_SHOWN = 200  # characters of a name or a value that came with a request
MOST_COMPARED = 500  # pairs of names in one refusal: whether two are near takes up to 20 microseconds
MOST_LISTED = 50  # names of columns in one hint

WORDS: dict[ColumnType, str] = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "a text",
    "image": "a picture as base64",
}


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input. `low` and `high` are what the sample held: values outside are answered and counted, never refused."""

    name: str
    type: ColumnType
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    categories: tuple[Cell, ...] = ()  # the known values of a categorical column; empty when any value goes
    unknown_ok: bool = True  # whether the estimator handles a value outside `categories`
    dtype: str = ""  # the sample's dtype, for frames that are rebuilt: float64, int64, bool, object, category
    default: Cell | msgspec.UnsetType = msgspec.UNSET  # declared by the project: used when the column is missing
    example: Cell = None  # a value of the sample, shown in the docs and the page
    prepare: Preparation | None = None  # of an image: how the model wants it


class OutputSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a prediction is. `classes` in the order of the probabilities; `width` above 1 for several outputs a row."""

    kind: Literal["class", "number", "cluster"]
    type: ColumnType
    classes: tuple[Cell, ...] = ()
    probabilities: bool = False
    width: int = 1
    names: tuple[str, ...] = ()  # of several outputs a row: what each is called, where somebody says
    top: int = 0  # how many classes a reply names, the likeliest first; 0: only the one that is predicted
    softmax: bool = False  # whether what the model answers is yet to be made into probabilities


class Checked(msgspec.Struct, frozen=True):
    """Rows that may be scored, or the problems that keep them from it; how many columns were left aside."""

    rows: list[Row]
    problems: tuple[FieldProblem, ...]
    ignored: int = 0


class Nearest:
    """What was meant by names that there are not; of many in one refusal, by the first: looking takes its time."""

    def __init__(self) -> None:
        self.left = MOST_COMPARED
        self.found: dict[tuple[str, Sequence[Any]], str] = {}

    def of(self, name: str, among: Sequence[Any]) -> str:
        """`name` as one of `among` is spelled; empty where none is near, or it was not looked for."""
        name = name[:LONGEST_SHOWN]
        if (name, among) not in self.found:
            if self.left <= 0:
                return ""
            self.left -= len(among)
            near = difflib.get_close_matches(name, map(str, among[: 2 * MOST_COMPARED]), n=1, cutoff=0.6)
            self.found[name, among] = near[0] if near else ""
        return self.found[name, among]


class Signature(msgspec.Struct, frozen=True, omit_defaults=True):
    """One signature feeds every way in. `named` is False when the model knows no names (columns are x0, x1, ...)."""

    columns: tuple[Column, ...]
    output: OutputSpec
    target: str = ""
    unused: tuple[str, ...] = ()  # columns of the sample that the model does not use
    named: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def picture(self) -> Column | None:
        """The column that is a picture; a model of pictures has no other."""
        return next((column for column in self.columns if column.type == "image"), None)

    def check(self, records: Sequence[Any], *, ignore_unknown: bool = False) -> Checked:
        """Hold decoded records, each a mapping by name or a list by position, against the columns.

        Every problem of every row is returned, up to MOST_PROBLEMS. A row's place in `rows` is that in `records`.
        """
        rows: list[Row] = []
        problems: list[FieldProblem] = []
        ignored, nearest = 0, Nearest()
        for index, record in enumerate(records):
            if isinstance(record, Mapping):
                row, found, left = self._by_name(index, record, ignore_unknown, nearest)
                ignored += left
            elif isinstance(record, (list, tuple)):
                row, found = self._by_place(index, record, nearest)
            else:
                row, found = (), [FieldProblem(index, "", f"a row is an object or a list, not {kind_of(record)}")]
            rows.append(row)
            problems.extend(found)
            if len(problems) >= MOST_PROBLEMS:
                break
        return Checked(rows, tuple(problems[:MOST_PROBLEMS]), ignored)

    def _by_name(
        self, index: int, record: Mapping[str, Any], ignore_unknown: bool, nearest: Nearest
    ) -> tuple[Row, list[FieldProblem], int]:
        cells: list[Cell] = []
        problems: list[FieldProblem] = []
        present = 0
        for column in self.columns:
            if column.name in record:
                present += 1
                cell, problem = cell_of(column, record[column.name], index, nearest)
                if problem is not None:
                    problems.append(problem)
                cells.append(cell)
            elif column.default is not msgspec.UNSET:
                cells.append(column.default)
            else:
                hint = f'add "{column.name}": {WORDS[column.type]}' + (", or null" if column.nullable else "")
                problems.append(FieldProblem(index, column.name, "is missing", hint))
        if present == len(record):
            return tuple(cells), problems, 0
        names = self.names
        known = {*names, self.target, *self.unused}
        if not ignore_unknown:
            for key in islice((key for key in record if key not in known), MOST_PROBLEMS):
                near = nearest.of(key, names)
                hint = f"did you mean {near}?" if near else f"the columns are {self._listed()}"
                problems.append(FieldProblem(index, key[:LONGEST_SHOWN], "is not a column of this model", hint))
        return tuple(cells), problems, len(record) - present

    def _by_place(self, index: int, record: Sequence[Any], nearest: Nearest) -> tuple[Row, list[FieldProblem]]:
        if len(record) != len(self.columns):
            reason = f"has {len(record)} values; this model has {len(self.columns)} columns"
            return (), [FieldProblem(index, "", reason, "send one value a column, in the order " + self._listed())]
        cells: list[Cell] = []
        problems: list[FieldProblem] = []
        for column, value in zip(self.columns, record, strict=True):
            cell, problem = cell_of(column, value, index, nearest)
            if problem is not None:
                problems.append(problem)
            cells.append(cell)
        return tuple(cells), problems

    def _listed(self) -> str:
        rest = len(self.columns) - MOST_LISTED
        return ", ".join(self.names[:MOST_LISTED]) + (f", and {rest} more" if rest > 0 else "")

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of one record."""
        return {
            "type": "object",
            "properties": {column.name: column_schema(column) for column in self.columns},
            "required": [column.name for column in self.columns if column.default is msgspec.UNSET],
        }

    def outside(self, rows: Iterable[Row]) -> int:
        """How many cells lie outside the range or the categories of the sample."""
        return sum(is_outside(column, cell) for row in rows for column, cell in zip(self.columns, row, strict=True))


def is_outside(column: Column, cell: Cell) -> bool:
    if cell is None:
        return False
    if column.categories:
        return cell not in column.categories
    if isinstance(cell, (int, float)) and column.low is not None and column.high is not None:
        return not column.low <= cell <= column.high
    return False


def cell_of(column: Column, value: Any, index: int, nearest: Nearest | None = None) -> tuple[Cell, FieldProblem | None]:
    """`value` as the column's type, or the problem. A wrong JSON type is always refused; 2.0 is a whole number."""
    if value is None:
        if column.nullable:
            return None, None
        return None, FieldProblem(index, column.name, "is null, and may not be missing", f"send {WORDS[column.type]}")
    cell: Cell = None
    if column.type == "number":
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                cell = float(value)
            except OverflowError:
                cell = math.inf
            if not math.isfinite(cell):
                return None, FieldProblem(index, column.name, "is not a finite number", "send a finite number")
    elif column.type == "integer":
        if isinstance(value, int) and not isinstance(value, bool):
            cell = value
        elif isinstance(value, float):
            if not value.is_integer():
                hint = f"send a whole number, or pack with --float {column.name}"
                return None, FieldProblem(index, column.name, f"is {value}, not a whole number", hint)
            cell = int(value)
        if isinstance(cell, int) and not -(2**63) <= cell < 2**63:
            return None, FieldProblem(index, column.name, "does not fit in 64 bits", "send a smaller number")
    elif column.type == "boolean":
        if isinstance(value, bool):
            cell = value
    elif column.type == "image":
        cell = sent_picture(value)
    elif isinstance(value, str):
        cell = value
    if cell is None:
        hint = quoted_hint(column, value)
        return None, FieldProblem(index, column.name, f"is {kind_of(value)}, not {WORDS[column.type]}", hint)
    if column.categories and not column.unknown_ok and cell not in column.categories:
        near = (nearest or Nearest()).of(str(cell), column.categories)
        known = ", ".join(str(c) for c in column.categories[:20])
        hint = f"did you mean {near}?" if near else f"known values: {known}"
        return None, FieldProblem(index, column.name, f"is {str(cell)[:80]!r}, which the model has never seen", hint)
    return cell, None


def sent_picture(value: Any) -> Any:
    """A picture as it was sent: a text in base64, one under the key b64 as KServe's clients write it, or bytes."""
    if isinstance(value, dict) and value.keys() == {"b64"}:
        value = value["b64"]
    return value if isinstance(value, (str, bytes)) else None


def quoted_hint(column: Column, value: Any) -> str:
    if isinstance(value, str) and column.type in ("number", "integer"):
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            return f"send {WORDS[column.type]}" + (", or null for a missing value" if column.nullable else "")
        return f"send it without quotes: {value.strip()[:40]}"
    return f"send {WORDS[column.type]}"


def kind_of(value: Any) -> str:
    """What JSON calls the type of `value`, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, (list, tuple)) else "an object"


def column_schema(column: Column) -> dict[str, Any]:
    if column.type == "image":
        return {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/*"}
    schema: dict[str, Any] = {"type": [column.type, "null"] if column.nullable else column.type}
    if column.categories:
        schema["examples" if column.unknown_ok else "enum"] = list(column.categories) + (
            [None] if column.nullable and not column.unknown_ok else []
        )
    elif column.example is not None:
        schema["examples"] = [column.example]
    if column.low is not None and column.high is not None:
        schema["description"] = f"seen between {column.low:g} and {column.high:g}"
    if column.default is not msgspec.UNSET:
        schema["default"] = column.default
    return schema
