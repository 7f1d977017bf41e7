"""The CSV door: one row a line, the first line names the columns, in any order. Pure."""

from __future__ import annotations

import csv
import io
from typing import Any

from wherry.contract.signature import Column
from wherry.contract.wire import CSV, FieldProblem
from wherry.errors import BodyUnreadable, FieldsRefused
from wherry.server.doors.door import Asked, Encode, Sent
from wherry.server.doors.native import Native
from wherry.server.doors.query import value_of

# What pandas reads as missing, so that a file means here what it meant when the model was packed from one like it.
MISSING = frozenset({
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
})  # fmt: skip  # a table reads better than one name a line


class Csv:
    """Reads rows of comma-separated values for one signature."""

    name, media = "csv", (CSV,)

    def __init__(self, native: Native) -> None:
        self.native = native
        self.columns = {column.name: column for column in native.signature.columns}
        self.known = {*self.columns, native.signature.target, *native.signature.unused} - {""}

    def read(self, sent: Sent) -> tuple[Asked, Encode | None]:
        return self.decode(sent.body), None

    def decode(self, body: bytes) -> Asked:
        """The rows that `body` holds. Raises BodyUnreadable, FieldsRefused."""
        try:
            text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BodyUnreadable("the body is not UTF-8", error.start, "save the file as UTF-8") from error
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header = [name.strip() for name in next(lines, ())]
            self.check_header(header)
            columns = [self.columns.get(name) for name in header]
            rows: list[list[Any]] = []
            for cells in lines:
                if len(cells) == len(header):
                    rows.append([cell_of(column, cell) for column, cell in zip(columns, cells, strict=True)])
                elif cells:  # else: a blank line, which is no row
                    reason = f"has {len(cells)} values for {len(header)} columns (line {lines.line_num})"
                    raise FieldsRefused((FieldProblem(len(rows), "", reason, "send one value a column"),))
        except csv.Error as error:
            reason = f"line {lines.line_num} of the CSV cannot be read: {error}"
            raise BodyUnreadable(reason, hint="quote a value that holds a comma or a quote") from error
        return self.native.table(header, rows)

    def check_header(self, header: list[str]) -> None:
        """Raises unless the first line names columns: values alone could be in any order."""
        if not header:
            raise BodyUnreadable("the body is empty", hint="send a line with the names of the columns, then the rows")
        if self.known.isdisjoint(header):
            names = ",".join(self.columns)
            separator = next((mark for mark in ";\t" if mark in header[0]), "")
            hint = "separate the values with commas" if separator else f"let the first line be {names}"
            raise FieldsRefused((FieldProblem(0, "", "the first line names no column of this model", hint),))


def cell_of(column: Column | None, text: str) -> Any:
    """`text` as the column's type. An empty text stays one where nothing may be missing."""
    if column is None:
        return text
    if text in MISSING and (column.nullable or (not text and column.type != "string")):
        return None
    return value_of(column, text)
