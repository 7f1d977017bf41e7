"""The Arrow door: an IPC stream of record batches, columns matched by name. Pure; pyarrow is an extra.

Read from strangers, so: plain columns only, no compression (a few bytes could stand for gigabytes), every batch
validated in full before a value of it is looked at, and no more values than a body of JSON could hold.
"""

from __future__ import annotations

import struct
from math import isnan
from typing import Any

from wherry.contract.wire import ARROW, FieldProblem
from wherry.errors import BodyUnreadable, FieldsRefused, MediaWrong
from wherry.server.doors.door import MOST_CELLS, Asked, Encode, Sent
from wherry.server.doors.native import Native

MOST_COLUMNS = 10_000
SEND = "send an Arrow IPC stream of plain columns, uncompressed"


class Arrow:
    """Reads an Arrow IPC stream for one signature."""

    name, media = "arrow", (ARROW,)

    def __init__(self, native: Native) -> None:
        self.native = native

    def read(self, sent: Sent) -> tuple[Asked, Encode | None]:
        return self.decode(sent.body), None

    def decode(self, body: bytes) -> Asked:
        """The rows that `body` holds. Raises BodyUnreadable, FieldsRefused, MediaWrong."""
        try:
            import pyarrow
            from pyarrow import ipc
        except ImportError as error:
            hint = "pip install 'wherry[parquet]' where the service runs, or send CSV or JSON"
            raise MediaWrong(f"{ARROW} needs pyarrow, which is not installed here", hint=hint) from error
        if compressed(body):
            raise BodyUnreadable("the stream is compressed", hint=SEND)
        names: list[str] = []
        rows: list[list[Any]] = []
        try:
            with ipc.open_stream(pyarrow.BufferReader(body)) as stream:
                names = list(stream.schema.names)
                for name, kind in zip(names, stream.schema.types, strict=True):
                    if not plain(kind, pyarrow.types):
                        raise FieldsRefused((FieldProblem(0, name[:200], f"is of the type {kind}"[:80], SEND),))
                if len(names) > MOST_COLUMNS:
                    raise BodyUnreadable("the stream has too many columns", hint=SEND)
                for batch in stream:
                    if (len(rows) + batch.num_rows) * max(1, len(names)) > MOST_CELLS:
                        raise BodyUnreadable(f"the stream has over {MOST_CELLS:,} values", hint="send fewer rows")
                    batch.validate(full=True)
                    columns = [cells(column, pyarrow.types) for column in batch.columns]
                    rows += [list(row) for row in zip(*columns, strict=True)]
        except (pyarrow.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
            raise BodyUnreadable("the body is not an Arrow IPC stream", hint=SEND) from error
        return self.native.table(names, rows)


def plain(kind: Any, types: Any) -> bool:
    """Whether a column of this type holds numbers, booleans or texts, or texts in a dictionary as pandas has them."""
    if types.is_dictionary(kind):
        kind = kind.value_type
        return bool(types.is_string(kind) or types.is_large_string(kind))
    tests = (types.is_boolean, types.is_integer, types.is_floating, types.is_string, types.is_large_string)
    return any(test(kind) for test in tests)


def cells(column: Any, types: Any) -> list[Any]:
    """The values of a column. NaN means missing, as pandas has it."""
    if types.is_dictionary(column.type):
        known = column.dictionary.to_pylist()  # each text once, however often it is used
        return [None if index is None else known[index] for index in column.indices.to_pylist()]
    values: list[Any] = column.to_pylist()
    if types.is_floating(column.type):
        return [None if value is None or isnan(value) else float(value) for value in values]
    return values


def compressed(body: bytes) -> bool:
    """Whether a batch of the stream says that its buffers are compressed; pyarrow would unpack them unasked.

    The metadata of each message is a flatbuffer: Message{version, header_type, header, bodyLength}, whose header is a
    RecordBatch{length, nodes, buffers, compression} or a DictionaryBatch{id, data: RecordBatch, isDelta}.
    """
    place = 0
    try:
        while place + 8 <= len(body):
            mark, size = struct.unpack_from("<Ii", body, place)
            place += 8
            if mark != 0xFFFFFFFF:  # streams before 0.15: no mark, the length alone
                size, place = mark, place - 4
            if size <= 0:
                return False
            message = body[place : place + size]
            table = struct.unpack_from("<I", message)[0]
            kind = message[field(message, table, 1)]
            if kind in (2, 3):
                header = follow(message, field(message, table, 2))
                batch = follow(message, field(message, header, 1)) if kind == 2 else header
                if field(message, batch, 3):
                    return True
            length = field(message, table, 3)
            place += size + max(0, struct.unpack_from("<q", message, length)[0] if length else 0)
    except (struct.error, IndexError) as error:
        raise BodyUnreadable("the body is not an Arrow IPC stream", hint=SEND) from error
    return False


def field(message: bytes, table: int, index: int) -> int:
    """The place of a table's field; 0 when it is not there."""
    vtable = table - struct.unpack_from("<i", message, table)[0]
    size = struct.unpack_from("<H", message, vtable)[0]
    if 4 + 2 * index >= size:
        return 0
    offset: int = struct.unpack_from("<H", message, vtable + 4 + 2 * index)[0]
    return table + offset if offset else 0


def follow(message: bytes, place: int) -> int:
    return int(place + struct.unpack_from("<I", message, place)[0])
