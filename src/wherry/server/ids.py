"""Ids of predictions: UUIDv7, so that they sort by time; a row's id is its request's with the row's number."""

from __future__ import annotations

import os
import random

LENGTH = 36  # of a request's id
VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))  # the two highest bits of this digit are 10
MOST = 4096  # ids that differ in their number alone
NUMBERS = [f"{number:03x}" for number in range(MOST)]


def new_id(time_ns: int) -> str:
    """A new UUIDv7 for a request received at `time_ns` (UTC, nanoseconds since 1970)."""
    return new_ids(time_ns, 1)[0]


def new_tail() -> str:
    """What stands between an id's time and its number: 62 random bits."""
    chance = random.randbytes(8).hex()  # seeded by the system, and again after a fork; an id is no secret
    return f"-7{chance[:3]}-{VARIANT[chance[3]]}{chance[4:7]}-{chance[7:]}"


class Leads:
    """What ids of one process share: a millisecond, and 62 random bits that change whenever all numbers were used."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin anew, also in a process that was forked: its parent goes on with the old ones."""
        self.tail = new_tail()
        self.used, self.moment, self.lead = 0, -1, ""

    def take(self, time_ns: int, count: int) -> list[str]:
        """`count` new UUIDv7 of one moment, in order: random bits of this process, and a number (RFC 9562, 6.2)."""
        moment = time_ns // 1_000_000
        if moment != self.moment or self.used + count > MOST:
            if count > MOST:
                return self.take(time_ns, MOST) + self.take(time_ns, count - MOST)
            self.begin(moment, count)
        start, lead = self.used, self.lead
        self.used = end = start + count
        return [lead + number for number in NUMBERS[start:end]]

    def begin(self, moment: int, count: int) -> None:
        """Another millisecond, or other bits where there are no more numbers."""
        if self.used + count > MOST:
            self.renew()
        text = f"{moment & 0xFFFF_FFFF_FFFF:012x}"
        self.moment, self.lead = moment, f"{text[:8]}-{text[8:]}{self.tail}"


LEADS = Leads()
new_ids = LEADS.take
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LEADS.renew)


def in_order(id: str) -> tuple[str, int, str]:
    """What ids sort by: the request's, then the row's number, which texts of one length sort by."""
    return id[:LENGTH], len(id), id


def row_id(request: str, row: int) -> str:
    """The id of row `row` (from 0) of the request whose id is `request`: that id itself for row 0, else ID-ROW."""
    return f"{request}-{row}" if row else request
