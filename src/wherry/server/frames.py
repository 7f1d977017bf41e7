"""How a segment of the spool is written: frames that prove themselves, so that damage costs only what it hit.

A frame is what one commit wrote of one kind: a head (magic, CRC-32, length, sequence, rows; little-endian) and a list
of entries or of truths in MessagePack; the CRC covers all after it. A frame without rows says something about its
segment: the first one what it holds, one without a payload its end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

MAGIC = b"\xf7WR1"
_HEAD = struct.Struct("<4sIIQI")
_REST = struct.Struct("<IQI")
HEAD_BYTES = _HEAD.size
_CRC_END = 8  # magic and CRC themselves are not covered


class Frame(NamedTuple):
    """A frame that proved itself: bytes [start, end) of its segment; rows numbered from `sequence`."""

    start: int
    end: int
    sequence: int
    rows: int
    payload: memoryview

    @property
    def seals(self) -> bool:
        """Whether nothing follows it in its segment."""
        return not self.rows and not len(self.payload)


class Damage(NamedTuple):
    """Bytes [start, end) that no frame accounts for."""

    start: int
    end: int


def head(payload: bytes, sequence: int, rows: int) -> bytes:
    """The bytes that go before `payload` to make a frame of it."""
    rest = _REST.pack(len(payload), sequence, rows)
    return MAGIC + crc32(payload, crc32(rest)).to_bytes(4, "little") + rest


def seal(sequence: int) -> bytes:
    """The frame that ends a segment after which rows are numbered from `sequence`."""
    return head(b"", sequence, 0)


def frames(data: bytes) -> Iterator[Frame | Damage]:
    """Everything in `data`, in order and without a gap. Damage at the very end may be a frame still being written."""
    view, at, lost = memoryview(data), 0, 0
    while at < len(data):
        found = _frame_at(view, at)
        if found is not None:
            if lost < at:
                yield Damage(lost, at)
            yield found
            at = lost = found.end
        else:
            following = data.find(MAGIC, at + 1)
            at = following if following >= 0 else len(data)
    if lost < len(data):
        yield Damage(lost, len(data))


def _frame_at(view: memoryview, at: int) -> Frame | None:
    body = at + HEAD_BYTES
    if body > len(view):
        return None
    magic, check, length, sequence, rows = _HEAD.unpack_from(view, at)
    if magic != MAGIC or body + length > len(view):
        return None
    if crc32(view[at + _CRC_END : body + length]) != check:
        return None
    return Frame(at, body + length, sequence, rows, view[body : body + length])
