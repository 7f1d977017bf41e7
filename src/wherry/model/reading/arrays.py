"""numpy's dtypes, shapes, arrays and scalars as a stream states them: held to be honest, then read as plain values."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from wherry.model.reading.standins import Array, Dtype, Global, Made, Pairs, Value

# Bytes an item for the kinds whose dtype string gives them.
SIZED = frozenset("biufcSVmM")
ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")


class Unsound(ValueError):
    """A stream says something about an array that no honest writer says."""


def dtype_of(value: Value) -> Dtype:
    """The dtype that a pickled numpy.dtype stands for.

    Raises Unsound for one whose state contradicts its name: numpy takes sizes and flags from the state without a
    check, so that a false one makes a reader step over bytes that are opcodes, or numpy take bytes for pointers.
    """
    if not (isinstance(value, Made) and value.maker.module == "numpy" and value.maker.name == "dtype"):
        raise Unsound("an array's dtype is no numpy.dtype")
    args = value.args
    if not (isinstance(args, tuple) and len(args) == 3 and isinstance(args[0], str)):
        raise Unsound("a dtype is made in an unusual way")
    if not (args[1] in (False, 0) and args[2] in (True, 1)):
        raise Unsound("a dtype would change the one that numpy shares")
    name = args[0].lstrip("<>|=")
    kind, digits = name[:1], name[1:]
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise Unsound(f"a dtype is called {args[0]!r:.40}")
    if len(value.states) != 1:
        raise Unsound("a dtype has no state, or more than one")
    state = value.states[0]
    if not (isinstance(state, tuple) and len(state) >= 8 and state[0] in (3, 4) and state[1] in ("<", ">", "|", "=")):
        raise Unsound("a dtype's state is of an unknown version")
    _, order, subarray, names, fields, elsize, _, flags = state[:8]
    if not isinstance(flags, int) or subarray is not None:
        raise Unsound("a dtype's state is not a simple one")
    if kind == "O":
        if flags != 63 or names is not None or fields is not None:
            raise Unsound("a dtype says object and denies it")
        return Dtype("|O", 8, True)
    if flags & 1:
        raise Unsound("a dtype says it holds objects and is of another kind")
    size = int(digits)
    if kind == "U":
        size *= 4
    elif kind not in SIZED:
        raise Unsound(f"a dtype is called {args[0]!r:.40}")
    if elsize not in (-1, size):
        raise Unsound("a dtype's size contradicts its name")
    if fields is not None:
        check_fields(kind, names, fields, size)
    return Dtype(f"{order}{name}" if kind != "V" else f"|V{size}", size, False)


def check_fields(kind: str, names: Value, fields: Value, size: int) -> None:
    """Hold a record's fields against its size. Raises Unsound."""
    if kind != "V" or not isinstance(names, tuple) or not isinstance(fields, Pairs):
        raise Unsound("a dtype has fields and is no record")
    for _, place in fields.entries:
        if not (isinstance(place, tuple) and len(place) >= 2 and isinstance(place[1], int)):
            raise Unsound("a record's field has no place")
        inner = dtype_of(place[0])
        if inner.has_object or not 0 <= place[1] <= size - inner.itemsize:
            raise Unsound("a record's field lies outside it")


def shape_of(value: Value) -> tuple[int, ...]:
    """`value` as an array's shape. Raises Unsound."""
    shape = tuple(scalar(part) for part in value) if isinstance(value, tuple) and len(value) <= 32 else None
    if shape is None or not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**40 for n in shape):
        raise Unsound("an array has no plain shape")
    if math.prod(shape) >= 2**48:
        raise Unsound("an array is larger than any memory")
    return shape


def scalar(value: Value) -> Value:
    """A numpy scalar as the plain number, boolean or text that it is; anything else as it stands."""
    if isinstance(value, Made) and value.maker.name == "scalar" and value.maker.module in ARRAY_MODULES:
        args = value.args
        raw = bytes_of(args[1]) if isinstance(args, tuple) and len(args) == 2 else None
        if raw is not None:
            try:
                return values_of(raw, dtype_of(args[0]))[0]
            except (Unsound, ValueError, TypeError, IndexError):
                return value
    return value


def cells(value: Value, limit: int = 10_000) -> list[Any] | None:
    """The cells of a small one-dimensional array as plain values; None when `value` is no such array."""
    if isinstance(value, list):
        return [scalar(part) for part in value[:limit]]
    if isinstance(value, Array):
        if value.inner is not None:
            return cells(value.inner, limit)
        if value.raw is None or len(value.shape) != 1 or value.shape[0] > limit or value.dtype.itemsize == 0:
            return None
        return plain(bytes(value.raw), value.dtype)
    if isinstance(value, Made) and value.maker.name in ("_reconstruct", "_frombuffer"):
        return rebuilt_cells(value, limit)
    return None


def rebuilt_cells(value: Made, limit: int) -> list[Any] | None:
    """The cells of an array that numpy pickled by itself."""
    if value.maker.name == "_frombuffer" and isinstance(value.args, tuple) and len(value.args) == 4:
        raw, dtype, shape = value.args[:3]
    elif value.states and isinstance(value.states[0], tuple) and len(value.states[0]) == 5:
        _, shape, dtype, _, raw = value.states[0]
    else:
        return None
    if not (isinstance(shape, tuple) and len(shape) == 1):
        return None
    if isinstance(raw, list):
        return [scalar(part) for part in raw[:limit]]
    blob = bytes_of(raw)
    try:
        found = dtype_of(dtype)
    except Unsound:
        return None
    return plain(blob, found) if blob is not None and len(blob) <= limit * found.itemsize else None


def bytes_of(value: Value) -> bytes | None:
    """`value` as bytes, also where protocols 0 to 2 wrote them as a text to be encoded; None when it is neither."""
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if isinstance(value, Made) and value.maker == Global("_codecs", "encode"):
        args = value.args
        if isinstance(args, tuple) and args and isinstance(args[0], str):
            try:
                return args[0].encode("latin-1")
            except UnicodeEncodeError:
                return None
    return None


def plain(raw: bytes, dtype: Dtype) -> list[Any] | None:
    if dtype.has_object or dtype.code[1:2] in "VmM":
        return None
    try:
        return values_of(raw, dtype)
    except (ValueError, TypeError):
        return None


def values_of(raw: bytes, dtype: Dtype) -> list[Any]:
    """The items in `raw`. Raises ValueError or TypeError."""
    if dtype.code[1:2] == "U":  # numpy would make texts of code points that are no characters, or break
        order = {"<": "le", ">": "be"}.get(dtype.code[0], sys.byteorder[0] + "e")
        starts = range(0, len(raw), dtype.itemsize)
        return [raw[at : at + dtype.itemsize].decode(f"utf-32-{order}").rstrip("\0") for at in starts]
    values: list[Any] = np.frombuffer(raw, dtype=dtype.code).tolist()
    return values
