"""Tensors of the Open Inference Protocol: every datatype, as JSON and as bytes, to cells and back. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from math import isnan
from typing import Any

from wherry.contract.signature import Column, ColumnType, kind_of
from wherry.contract.wire import FieldProblem
from wherry.errors import FieldsRefused

# Each datatype's struct code, and the smallest and largest value that it holds where those are whole numbers.
CODES = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip  # a table reads better than one name a line
BYTES = "BYTES"
DATATYPES = (*CODES, BYTES)
FLOATS = ("FP16", "FP32", "FP64")
OF_COLUMN: dict[ColumnType, str] = {
    "number": "FP64", "integer": "INT64", "boolean": "BOOL", "string": BYTES, "image": BYTES,
}  # fmt: skip  # as above
DEEPEST = 32  # lists in lists


def bounds(datatype: str) -> tuple[int, int]:
    bits = 8 * struct.calcsize(CODES[datatype])
    return (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def fits(datatype: str) -> Callable[[Any], bool]:
    """Whether a JSON value is one of the datatype. null is: it means missing, and the column decides."""
    if datatype == "BOOL":
        return lambda value: type(value) is bool or value is None
    if datatype == BYTES:
        return lambda value: type(value) is str or value is None
    if datatype in FLOATS:
        return lambda value: type(value) in (int, float) or value is None
    low, high = bounds(datatype)
    return lambda value: (type(value) is int and low <= value <= high) or value is None


def from_json(name: str, datatype: str, data: Any, count: int) -> list[Any]:
    """The cells of `data`, row by row, flat or nested. Raises FieldsRefused unless there are `count` that fit."""
    if not isinstance(data, list):
        raise refused(name, f"has data that is {kind_of(data)}, not a list")
    cells = list(flat(name, data, 1)) if any(isinstance(value, list) for value in data) else data
    if len(cells) != count:
        raise refused(name, f"has {len(cells)} values where its shape says {count}", "let shape and data agree")
    fit = fits(datatype)
    for place, value in enumerate(cells):
        if not fit(value):
            shown = value if type(value) is int else kind_of(value)
            raise refused(name, f"has {shown} at place {place}, which is no {datatype}", "let datatype and data agree")
    return cells


def flat(name: str, data: list[Any], depth: int) -> Iterator[Any]:
    if depth > DEEPEST:
        raise refused(name, f"has data nested more than {DEEPEST} deep", "send it flat")
    for value in data:
        if isinstance(value, list):
            yield from flat(name, value, depth + 1)
        else:
            yield value


def from_bytes(name: str, datatype: str, data: bytes, count: int, *, picture: bool = False) -> list[Any]:
    """The cells in the binary form: little-endian, row by row. NaN, which has no other form there, means missing.

    picture: the texts may be bytes that are none.
    """
    if datatype == BYTES:
        return texts(name, data, count, picture=picture)
    size = struct.calcsize(CODES[datatype])
    if len(data) != count * size:
        raise refused(name, f"has {len(data)} bytes where its shape says {count} times {size}")
    cells: list[Any] = list(struct.unpack(f"<{count}{CODES[datatype]}", data))
    return [None if isnan(value) else value for value in cells] if datatype in FLOATS else cells


def texts(name: str, data: bytes, count: int, *, picture: bool) -> list[Any]:
    """Texts, each after its length in four bytes."""
    cells: list[Any] = []
    place = 0
    while place < len(data):
        start = place + 4
        place = start + int.from_bytes(data[place:start], "little")
        if start > len(data) or place > len(data):
            raise refused(name, f"has a text that ends after its {len(data)} bytes")
        try:
            cells.append(data[start:place].decode())
        except UnicodeDecodeError as error:
            if picture:
                cells.append(data[start:place])
                continue
            raise refused(name, f"has bytes that are no text at place {len(cells)}", "send UTF-8") from error
    if len(cells) != count:
        raise refused(name, f"has {len(cells)} values where its shape says {count}", "let shape and data agree")
    return cells


def to_bytes(datatype: str, cells: Sequence[Any]) -> bytes:
    """The binary form of `cells`."""
    if datatype == BYTES:
        encoded = [str(cell).encode() for cell in cells]
        return b"".join(part for text in encoded for part in (struct.pack("<I", len(text)), text))
    return struct.pack(f"<{len(cells)}{CODES[datatype]}", *cells)


def datatype_of(column: Column) -> str:
    return OF_COLUMN[column.type]


def refused(name: str, reason: str, hint: str = "") -> FieldsRefused:
    return FieldsRefused((FieldProblem(0, name[:200], reason, hint),))
