"""What can go wrong with a database, by what to do about it."""

from __future__ import annotations


class SinkAway(Exception):
    """The database takes nothing now; trying again later may help."""


class SinkDenied(SinkAway):
    """This account may not do that."""


class SinkUnclear(SinkAway):
    """The database does not take these rows, and it cannot be told whether they or it are the cause."""


class RowsRefused(Exception):
    """The database does not take these rows, today or later."""
