"""The table in a file: CSV, Parquet, JSON lines or JSON records, told by its content, read with every fault named."""

from __future__ import annotations

import difflib
import io
import json
from pathlib import Path
from typing import Any

import msgspec

from wherry.errors import DataUnreadable, ExtraMissing, FileMissing, TableEmpty, TargetMissing
from wherry.model.reading.files import LFS, POINTER
from wherry.model.tables.delimited import from_csv, hold_unique
from wherry.model.tables.text import decoded

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
    (LFS, POINTER, "git lfs pull"),
    (b"\x80\x02", "is a pickle", "save it as Parquet or CSV: pickles of tables are not loaded"),
    (b"\x80\x03", "is a pickle", "save it as Parquet or CSV: pickles of tables are not loaded"),
    (b"\x80\x04", "is a pickle", "save it as Parquet or CSV: pickles of tables are not loaded"),
    (b"\x80\x05", "is a pickle", "save it as Parquet or CSV: pickles of tables are not loaded"),
)


class Table(msgspec.Struct, frozen=True):
    """A table that was read. frame: a pandas DataFrame with text column names; source: what an error calls it.

    text: what a delimited text (CSV) says, empty for a form whose cells have types of their own.
    """

    frame: Any
    source: str = "the sample"
    text: str = ""

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
    typed = text.lstrip()[:1] in ("[", "{")
    frame = from_json(text, source) if typed else from_csv(text, source)
    if not len(frame):
        raise TableEmpty(source, "has a header and no rows")
    return Table(named(frame, source), source, "" if typed else text)


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


def framed(names: list[str], rows: list[Any], types: dict[str, str]) -> Any:
    """A frame of rows, its columns of `types` where they can be."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=names)
    for name, kind in types.items():
        if name in frame.columns and not frame[name].isna().any():
            frame[name] = frame[name].astype(kind)
    return frame


def named(frame: Any, source: str) -> Any:
    """The frame with texts for column names."""
    names = [str(name) for name in frame.columns]
    hold_unique(names, source)
    frame.columns = names
    return frame
