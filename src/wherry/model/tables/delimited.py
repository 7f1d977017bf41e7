"""Delimited text: which sign parts the columns, whether the first line is a header, and the table that it holds."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Collection
from typing import Any

from wherry.errors import DataUnreadable, TableEmpty

DELIMITERS = ",;\t|"
# A semicolon between values usually means that a comma is the decimal sign.
DECIMAL_COMMA = re.compile(r"(?m)(?:^|;)\s*-?\d+,\d+\s*(?:;|$)")
DECIMAL_POINT = re.compile(r"(?m)(?:^|;)\s*-?\d+\.\d+\s*(?:;|$)")


def from_csv(text: str, source: str) -> Any:
    """The table of a delimited text. The first line is the header."""
    import pandas as pd

    delimiter = delimiter_of(text)
    header, second = first_rows(text, delimiter, source)
    hold_header(header, second, source)
    if second is None:
        raise TableEmpty(source, "has a header and no rows")
    decimal = decimal_of(text, delimiter)
    try:
        return pd.read_csv(
            io.StringIO(text),
            sep=delimiter,
            decimal=decimal,
            header=0,
            names=header,
            index_col=False,
            low_memory=False,
            skipinitialspace=True,
        )
    except (ValueError, csv.Error) as error:
        reason = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise DataUnreadable(source, f"is no table: {reason}", "every row needs one value a column") from error


def delimiter_of(text: str) -> str:
    """The one of , ; tab | that the header holds most often outside quotes; a comma when it holds none."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    outside = "".join(part for place, part in enumerate(line.split('"')) if place % 2 == 0)
    counts = Counter(sign for sign in outside if sign in DELIMITERS)
    return counts.most_common(1)[0][0] if counts else ","


def decimal_of(text: str, delimiter: str) -> str:
    """The sign before the fractions of the numbers in `text`."""
    return "," if delimiter == ";" and DECIMAL_COMMA.search(text) and not DECIMAL_POINT.search(text) else "."


def lines_of(text: str, rows: Collection[int]) -> dict[int, int]:
    """The line, from 1, at which each of these rows begins; rows are counted from 0, under the header."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter_of(text), skipinitialspace=True)
    found: dict[int, int] = {}
    seen, begins, last = -1, 1, max(rows)
    for cells in reader:
        if len(cells) > 1 or "".join(cells).strip():  # else: a blank line, which is no row
            if seen in rows:
                found[seen] = begins
            if seen == last:
                break
            seen += 1
        begins = reader.line_num + 1
    return found


def first_rows(text: str, delimiter: str, source: str) -> tuple[list[str], list[str] | None]:
    """The header's cells and the first row's (None when there is none)."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [
            row for row, _ in zip((row for row in reader if any(cell.strip() for cell in row)), range(2), strict=False)
        ]
    except csv.Error as error:
        raise DataUnreadable(source, f"is no table: {error}") from error
    return [cell.strip() for cell in rows[0]], rows[1] if len(rows) > 1 else None


def hold_header(header: list[str], second: list[str] | None, source: str) -> None:
    """Nothing when the first row can be a header. Raises DataUnreadable."""
    named_cells = [cell for cell in header if cell]
    if second is not None and named_cells and len(header) == len(second) and all(map(is_number, named_cells)):
        if len(named_cells) < len(header) and not any(is_number(cell) for cell in second if cell.strip()):
            reason = f"its first row ({','.join(header)[:60]}) is not the header: the names stand in the second row"
            raise DataUnreadable(source, reason, f"remove the first row: tail -n +2 {source} > mended.csv")
        if len(named_cells) == len(header):
            reason = "has no header: its first row is all numbers"
            raise DataUnreadable(source, reason, "add a first row with the columns' names")
    if second is not None and len(header) > 1 and len(second) > len(header) + 1:
        reason = f"its header names {len(header)} columns, its first row has {len(second)} values"
        raise DataUnreadable(source, reason, "one name a column, one value a column")
    unnamed = [place for place, cell in enumerate(header) if not cell]
    for place in unnamed:
        header[place] = f"Unnamed: {place}"
    hold_unique(header, source)


def hold_unique(names: list[str], source: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise DataUnreadable(source, f"has more than one column called {', '.join(twice[:5])}", "rename all but one")


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
