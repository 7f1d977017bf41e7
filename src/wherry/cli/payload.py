"""The words behind `wherry predict`, sorted: where to ask, and what."""

from __future__ import annotations

import json
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from wherry.cli import csv_cells
from wherry.cli.csv_cells import cell
from wherry.contract.names import MANIFEST_FILE
from wherry.contract.signature import Signature
from wherry.contract.wire import Cell
from wherry.errors import BodyUnreadable, BundleMissing, FileMissing

URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
HOST_AND_PORT = re.compile(r"[A-Za-z0-9.\-]+:[0-9]{1,5}(/.*)?")


class Words(NamedTuple):
    """The words sorted. At most one of `file` and `pairs` is given."""

    url: str | None
    bundle: Path | None
    file: Path | None  # Path("-") is standard input
    pairs: dict[str, str]


class Rows(NamedTuple):
    """Rows to send: cells in the order of `columns`, and the right answers where the file has them."""

    columns: tuple[str, ...]
    cells: list[list[Cell]]
    truth: list[Cell] | None = None


def sort(words: Sequence[str]) -> Words:
    """Each word by what it is: an address, a bundle's folder, a file or `-`, KEY=VALUE."""
    url: str | None = None
    bundle: Path | None = None
    file: Path | None = None
    pairs: dict[str, str] = {}
    for word in words:
        if URL.match(word):
            url = only(url, word, "address")
        elif word == "-" or Path(word).is_file():
            file = only(file, Path(word), "file")
        elif Path(word).is_dir():
            if not (Path(word) / MANIFEST_FILE).is_file():
                raise BundleMissing(word, "folder")
            bundle = only(bundle, Path(word), "bundle")
        elif "=" in word:
            key, _, value = word.partition("=")
            pairs[key] = value
        else:
            meant = HOST_AND_PORT.fullmatch(word)
            raise FileMissing(
                word, "file, bundle or address", f"did you mean http://{word}?" if meant else "wherry predict --help"
            )
    if file is not None and pairs:
        raise click.UsageError(f"{file} and {next(iter(pairs))}=... are two requests; give one")
    return Words(url, bundle, file, pairs)


def only(before: Any, word: Any, what: str) -> Any:
    if before is not None:
        raise click.UsageError(f"{before} and {word}: give one {what}")
    return word


def content(file: Path) -> bytes:
    """What the file, or standard input, holds."""
    return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()


def as_json(body: bytes, where: str) -> Any:
    """The JSON value that `body` is, or None when it is something else. Raises BodyUnreadable for broken JSON."""
    start = body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start not in (b"{", b"["):
        return None
    try:
        return json.loads(body)
    except ValueError as error:
        # One object a line is a table; it is read as one.
        lines = [line for line in body.splitlines() if line.strip()]
        if len(lines) > 1 and all(line.lstrip()[:1] == b"{" and line.rstrip()[-1:] == b"}" for line in lines[:2]):
            return None
        hint = f"check it with `python -m json.tool {where}`"
        raise BodyUnreadable(f"{where} is not JSON: {error}", hint=hint) from error


def is_single(value: Any) -> bool:
    """Whether a JSON request asks for one row."""
    if not isinstance(value, dict):
        return False
    return not isinstance(value.get("rows", value.get("data")), list)


def from_pairs(pairs: dict[str, str], signature: Signature | None) -> dict[str, Cell]:
    """A record from KEY=VALUE, read by the columns' types; what does not fit is left to be refused by name."""
    columns = {column.name: column for column in signature.columns} if signature else {}
    return {key: cell(text, columns.get(key)) for key, text in pairs.items()}


def table_file(body: bytes, file: Path) -> tuple[Path, tempfile.TemporaryDirectory[str] | None]:
    """A path that holds `body`: the file itself, or a copy of standard input that lives as long as the folder does."""
    if str(file) != "-":
        return file, None
    folder = tempfile.TemporaryDirectory(prefix="wherry-")
    path = Path(folder.name) / "stdin"
    path.write_bytes(body)
    return path, folder


def read_table(path: Path, encoding: str, signature: Signature | None) -> Rows:
    """The rows of a CSV, Parquet or JSON-lines file, each cell as its column's type; the target apart from them.

    Raises what wherry.model.tables.read raises, and FieldsRefused for cells of a CSV that are not of their type.
    """
    from wherry.model.records import frame_records
    from wherry.model.tables import read

    table = read(path, encoding)
    frame = table.frame
    if signature is not None and table.text:
        csv_cells.convert(frame, table.text, signature)
    truth = None
    if signature is not None and signature.target in frame.columns:
        truth = [record[signature.target] for record in frame_records(frame[[signature.target]])]
        frame = frame.drop(columns=[signature.target])
    records = frame_records(frame)
    columns = tuple(frame.columns)
    kinds = {column.name: column.type for column in signature.columns} if signature else {}
    texts = {name for name, kind in kinds.items() if kind == "string"}
    rows = [[as_text(record[name]) if name in texts else record[name] for name in columns] for record in records]
    return Rows(columns, rows, truth)


def as_text(value: Cell) -> Cell:
    """A cell of a column of texts that a reader of tables took for a number."""
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def chunks(rows: Rows, size: int) -> Iterator[Rows]:
    """`rows` in parts of at most `size`."""
    for start in range(0, len(rows.cells), size):
        yield Rows(rows.columns, rows.cells[start : start + size])
