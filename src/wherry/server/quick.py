"""Records for a classifier that only adds and compares, answered by compiled code as they are read.

Nothing waits for a batch, as the sums of one row take less than a request takes to wait, and hardly an object is made.
What is in any doubt, and all that somebody keeps or notes, goes the way that everything goes without a compiler.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from wherry.contract.wire import Outputs, Sums
from wherry.server.doors.door import Encode
from wherry.server.ids import new_tail
from wherry.server.metrics import CLASSES, LATENCIES, Metrics, Ranges
from wherry.server.replies import BETWEEN, Replies, size_lines

if TYPE_CHECKING:
    from wherry.server.protocol import Exchange

try:
    from wherry.server import _quick
except ImportError:  # not compiled here, or not for this platform: nothing is answered so
    _quick = None  # type: ignore[assignment]  # a module, or none

LEASE = 0.25  # seconds until a request goes the other way again, which brings another date and another id
DECIDE = ("sign", "argmax", "votes")  # as _quick.c numbers them


class Leased(msgspec.Struct, frozen=True):
    """What answers, and what it borrows from the service for a while."""

    quick: _quick.Quick
    replies: Replies

    def renew(self, exchange: Exchange) -> None:
        """Let it answer for another while, if that has passed; `exchange` came the other way."""
        if exchange.started >= self.quick.until:
            begun = self.replies.beginning(exchange.connection.port)
            self.quick.lease(begun, new_tail().encode(), exchange.started + LEASE)


def leased(
    compared: Sums,
    read: Callable[[bytes], bytes | None],
    encode: Encode,
    ranges: Ranges,
    metrics: Metrics,
    replies: Replies,
) -> Leased | None:
    """What answers so for one model; None where that is not compiled, or the model is too large.

    read: a body's cells as float64, or None. encode: what makes a reply's body of a class alone.
    """
    classes = compared.classes
    if _quick is None or len(classes) > CLASSES:
        return None
    written = [encode(Outputs([each]), "") for each in classes]
    bodies = [body for body in written if isinstance(body, bytes)]
    try:
        quick = _quick.Quick(
            read=read,
            decide=DECIDE.index(compared.decide),
            weights=compared.weights,
            bias=compared.bias,
            ranges=float64(ranges.lows + ranges.highs),
            bounds=float64(LATENCIES),
            tails=tuple(size_lines(len(body)) + body for body in bodies),
            middle=BETWEEN,
            counts=metrics.cells,
            places=metrics.quick_places(classes),
        )
    except ValueError:  # too many columns or sums, or no room on the board
        return None
    return Leased(quick, replies)


def float64(values: Sequence[float]) -> bytes:
    """Values as float64 of this machine."""
    return array("d", values).tobytes()
