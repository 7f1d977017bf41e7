"""Ids of predictions: UUIDv7, so that they sort by time; a row's id is its request's with the row's number."""

from __future__ import annotations

import random

_VERSION = 0x7 << 76
_VARIANT = 0x2 << 62
_RANDOM = (0xFFF << 64) | 0x3FFF_FFFF_FFFF_FFFF


def new_id(time_ns: int) -> str:
    """A new UUIDv7 for a request received at `time_ns` (UTC, nanoseconds since 1970)."""
    number = (time_ns // 1_000_000 & 0xFFFF_FFFF_FFFF) << 80 | _VERSION | _VARIANT
    # Seeded by the system, and again after a fork; an id is no secret, and a system call would cost each request 1 us.
    text = f"{number | random.getrandbits(80) & _RANDOM:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def row_id(request: str, row: int) -> str:
    """The id of row `row` (from 0) of the request whose id is `request`: that id itself for row 0, else ID-ROW."""
    return f"{request}-{row}" if row else request
