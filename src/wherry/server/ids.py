"""Ids of predictions: UUIDv7, so that they sort by time; a row's id is its request's with the row's number."""

from __future__ import annotations

import random

VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # the two highest bits of this digit are 10
NUMBERS = [f"{number:03x}" for number in range(4096)]


def new_id(time_ns: int) -> str:
    """A new UUIDv7 for a request received at `time_ns` (UTC, nanoseconds since 1970)."""
    return new_ids(time_ns, 1)[0]


def new_ids(time_ns: int, count: int) -> list[str]:
    """`count` new UUIDv7 of one moment, in order: 62 random bits that they share, and a number (RFC 9562, 6.2)."""
    if count > len(NUMBERS):
        return new_ids(time_ns, len(NUMBERS)) + new_ids(time_ns, count - len(NUMBERS))
    moment = f"{time_ns // 1_000_000 & 0xFFFF_FFFF_FFFF:012x}"
    # Seeded by the system, and again after a fork; an id is no secret, and a system call would cost each request 1 us.
    chance = random.randbytes(8).hex()
    lead = f"{moment[:8]}-{moment[8:]}-7{chance[:3]}-{VARIANT[chance[3]]}{chance[4:7]}-{chance[7:]}"
    return [lead + number for number in NUMBERS[:count]]


def row_id(request: str, row: int) -> str:
    """The id of row `row` (from 0) of the request whose id is `request`: that id itself for row 0, else ID-ROW."""
    return f"{request}-{row}" if row else request
