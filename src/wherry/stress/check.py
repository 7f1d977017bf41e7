"""Whether an answer is the right one. Bytes of right answers are remembered, so that most checks are one compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from wherry.contract.golden import same
from wherry.stress.plan import NOTHING, Ask


class Checker:
    """Holds answers against what they must be."""

    def __init__(self, asks: Sequence[Ask], rtol: float, atol: float) -> None:
        self.expected = [ask.expected for ask in asks]
        self.known: list[bytes | None] = [None] * len(asks)
        self.rtol, self.atol = rtol, atol
        self.needed = any(ask.expected is not NOTHING for ask in asks)

    def right(self, number: int, body: bytes) -> bool:
        """Whether `body` answers ask `number` as it must."""
        if body == self.known[number]:
            return True
        want = self.expected[number]
        if want is NOTHING:
            return True
        if not same(want, prediction_in(body), self.rtol, self.atol):
            return False
        self.known[number] = body
        return True


def prediction_in(body: bytes) -> Any:
    """The one prediction of a native reply; NOTHING when it is something else."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NOTHING
    return value.get("prediction", NOTHING) if isinstance(value, dict) else NOTHING
