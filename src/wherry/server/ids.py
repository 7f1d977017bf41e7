"""Ids of predictions: UUIDv7, so that they sort by time; a row's id is its request's with the row's number."""

from __future__ import annotations

import random

VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # the two highest bits of this digit are 10


def new_id(time_ns: int) -> str:
    """A new UUIDv7 for a request received at `time_ns` (UTC, nanoseconds since 1970)."""
    return new_ids(time_ns, 1)[0]


def new_ids(time_ns: int, count: int) -> list[str]:
    """`count` new UUIDv7 of one moment: cheaper together."""
    moment = f"{time_ns // 1_000_000 & 0xFFFF_FFFF_FFFF:012x}"
    lead = f"{moment[:8]}-{moment[8:]}-7"
    # Seeded by the system, and again after a fork; an id is no secret, and a system call would cost each request 1 us.
    chance = random.randbytes(10 * count).hex()
    ids = []
    for place in range(0, 20 * count, 20):
        part = chance[place : place + 19]
        ids.append(f"{lead}{part[:3]}-{VARIANT[part[3]]}{part[4:7]}-{part[7:]}")
    return ids


def row_id(request: str, row: int) -> str:
    """The id of row `row` (from 0) of the request whose id is `request`: that id itself for row 0, else ID-ROW."""
    return f"{request}-{row}" if row else request
