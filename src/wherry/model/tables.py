"""Sample tables: CSV, Parquet, JSON lines and JSON records, told by their content, read with every fault named."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from wherry.errors import DataUnreadable, ExtraMissing, FileMissing, TableEmpty, TargetMissing
from wherry.model.text import decoded

DELIMITERS = ",;\t|"
# A semicolon between values usually means that a comma is the decimal sign.
DECIMAL_COMMA = re.compile(r"(?m)(?:^|;)\s*-?\d+,\d+\s*(?:;|$)")
DECIMAL_POINT = re.compile(r"(?m)(?:^|;)\s*-?\d+\.\d+\s*(?:;|$)")
# What people give instead of a table, by its first bytes.
OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "is gzip data", "gunzip it first"),
    (b"PK\x03\x04", "is a zip archive (Excel's .xlsx is one)", "save the sheet as CSV, or unzip it first"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook (.xls)", "save the sheet as CSV"),
    (b"BZh", "is bzip2 data", "bunzip2 it first"),
    (b"\xfd7zXZ", "is xz data", "unxz it first"),
    (b"\x28\xb5\x2f\xfd", "is zstandard data", "unzstd it first"),
    (b"ARROW1", "is an Arrow (Feather) file", "save it as Parquet: frame.to_parquet"),
    (b"Obj\x01", "is an Avro file", "save it as Parquet or CSV"),
    (b"\x89HDF", "is an HDF5 file", "save it as Parquet or CSV"),
    (b"SQLite format 3", "is an SQLite database", "export the table as CSV"),
    (b"%PDF", "is a PDF", "give the table itself"),
    (b"\x80\x02", "is a pickle", "save it as Parquet or CSV: pickles of tables are not loaded"),
    (b"\x80\x03", "is a pickle", "save it as Parquet or CSV: pickles of tables are not loaded"),
    (b"\x80\x04", "is a pickle", "save it as Parquet or CSV: pickles of tables are not loaded"),
    (b"\x80\x05", "is a pickle", "save it as Parquet or CSV: pickles of tables are not loaded"),
)


class Table(msgspec.Struct, frozen=True):
    """A table that was read. frame: a pandas DataFrame with text column names; source: what an error calls it."""

    frame: Any
    source: str = "the sample"

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self.frame.columns)

    def split(self, target: str | None) -> tuple[Any, Any]:
        """The columns without the target, and the target (None when none is named). Raises TargetMissing."""
        if not target:
            return self.frame, None
        if target not in self.columns:
            near = difflib.get_close_matches(target, self.columns, n=1, cutoff=0.5)
            lowered = {name.lower().strip(): name for name in self.columns}
            found = lowered.get(target.lower().strip(), near[0] if near else "")
            raise TargetMissing(self.source, target, self.columns, found)
        return self.frame.drop(columns=[target]), self.frame[target]


def read(path: Path, encoding: str = "utf-8") -> Table:
    """The table in the file at `path`.

    Raises FileMissing; EncodingWrong with the place of the byte; TableEmpty; DataUnreadable, which says what it is.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FileMissing(str(path), "table") from error
    except IsADirectoryError as error:
        raise DataUnreadable(str(path), "is a folder", "name the file") from error
    source = str(path)
    if not content.strip():
        raise TableEmpty(source, "is empty" if not content else "holds nothing but blanks")
    if content.startswith(b"PAR1"):
        return Table(named(parquet(content, source), source), source)
    for magic, what, hint in OTHERS:
        if content.startswith(magic):
            raise DataUnreadable(source, what, hint)
    text = decoded(content, source, encoding)
    frame = from_json(text, source) if text.lstrip()[:1] in ("[", "{") else from_csv(text, source)
    if not len(frame):
        raise TableEmpty(source, "has a header and no rows")
    return Table(named(frame, source), source)


def parquet(content: bytes, source: str) -> Any:
    import pandas as pd

    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except ImportError as error:
        raise ExtraMissing("pyarrow", "parquet", f"reading {source}") from error
    except (OSError, ValueError) as error:
        raise DataUnreadable(source, f"is a Parquet file that cannot be read ({error})", "write it again") from error
    if not len(frame):
        raise TableEmpty(source, "has columns and no rows")
    return frame


def from_json(text: str, source: str) -> Any:
    """A list of records, or a record a line."""
    import pandas as pd

    hint = 'one record a line, {"column": value, ...}, or a list of them'
    try:
        if text.lstrip()[0] == "[":
            records = json.loads(text)
        else:
            records = [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise DataUnreadable(source, f"is JSON that cannot be read: {error}", hint) from error
    if not records:
        raise TableEmpty(source, "is an empty list")
    if not all(isinstance(record, dict) for record in records):
        raise DataUnreadable(source, "is JSON, and no list of records", hint)
    return pd.DataFrame.from_records(records)


def from_csv(text: str, source: str) -> Any:
    """The table of a delimited text. The first line is the header."""
    import pandas as pd

    delimiter = delimiter_of(text)
    header, second = first_rows(text, delimiter, source)
    hold_header(header, second, source)
    if second is None:
        raise TableEmpty(source, "has a header and no rows")
    decimal = "," if delimiter == ";" and DECIMAL_COMMA.search(text) and not DECIMAL_POINT.search(text) else "."
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


def named(frame: Any, source: str) -> Any:
    """The frame with texts for column names."""
    names = [str(name) for name in frame.columns]
    hold_unique(names, source)
    frame.columns = names
    return frame


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
