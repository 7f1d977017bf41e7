"""Cells of texts read by the types of their columns: only those that are not of their type are at fault."""

from __future__ import annotations

import json
from typing import Any

from wherry.contract.signature import MOST_PROBLEMS, WORDS, Column, Signature
from wherry.contract.wire import Cell, FieldProblem
from wherry.errors import FieldsRefused

LONGEST_SHOWN = 80  # characters of a cell at fault


def cell(text: str, column: Column | None) -> Cell:
    """`text` as the type of `column`, or as what it looks like where no column is known."""
    if column is None:
        return guess(text)
    if column.nullable and text in ("", "null"):
        return None
    if column.type == "string":
        return text
    if column.type == "boolean":
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower(), text)
    if "_" in text:
        return text  # Python would read 1_0 as a number
    try:
        return int(text) if column.type == "integer" else float(text)
    except ValueError:
        return guess(text)


def guess(text: str) -> Cell:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, (bool, int, float, str)) else text


def convert(frame: Any, text: str, signature: Signature) -> None:
    """Read again, cell by cell, each column of `frame` that one bad cell of the CSV `text` made a column of texts.

    Raises FieldsRefused, which names the cells that are not of their column's type.
    """
    from wherry.model.tables.delimited import decimal_of, delimiter_of, lines_of

    comma = decimal_of(text, delimiter_of(text)) == ","
    wrong: list[tuple[int, Column, str]] = []
    for column in signature.columns:
        if column.type == "string" or column.name not in frame.columns:
            continue
        cells = frame[column.name].tolist()
        if column.type != "boolean" and not any(isinstance(value, str) for value in cells):
            continue
        for row, value in enumerate(cells):
            if isinstance(value, str):
                cells[row] = cell(value.strip().replace(",", ".") if comma else value.strip(), column)
                if not fits(cells[row], column):
                    wrong.append((row, column, value))
            elif column.type == "boolean" and value in (0, 1):
                cells[row] = bool(value)
        frame[column.name] = cells
    if wrong:
        wrong = sorted(wrong, key=lambda found: found[0])[:MOST_PROBLEMS]
        lines = lines_of(text, {row for row, _, _ in wrong})
        raise FieldsRefused(tuple(fault(row, lines[row], column, value) for row, column, value in wrong))


def fits(value: Cell, column: Column) -> bool:
    """Whether a text was read as the type of its column, or as missing."""
    return value is None or (isinstance(value, bool) == (column.type == "boolean") and not isinstance(value, str))


def fault(row: int, line: int, column: Column, value: str) -> FieldProblem:
    shown = value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "..."
    return FieldProblem(row, column.name, f"is {shown!r}, not {WORDS[column.type]} (line {line})")
