from collections.abc import Callable
from typing import Any

class Quick:
    """Answers the requests that a sum of their record decides: see _quick.c, compiled where there is a compiler."""

    until: float

    def __new__(
        cls,
        read: Callable[[bytes], bytes | None],
        decide: int,
        weights: bytes,
        bias: bytes,
        ranges: bytes,
        bounds: bytes,
        tails: tuple[bytes, ...],
        middle: bytes,
        counts: memoryview[float],
        places: tuple[int, ...],
    ) -> Quick:
        """As `quick.leased` has them; weights, bias, ranges and bounds are float64 of this machine.

        weights: k sums of n columns, one after the other. ranges: of n columns the lowest, then the highest. Raises
        ValueError where they do not fit, or are too many.
        """
    def answer(self, body: bytes, started: float) -> bytes | None:
        """The reply to `body`, whose header was complete at `started` (monotonic seconds); None: Python answers."""
    def lease(self, begun: bytes, tail: bytes, until: float) -> None:
        """Answer until the monotonic clock says `until`: with `begun` before the ids, and `tail` in them."""

class Line:
    """What a connection begins with."""

    state: int
    since: float
    fresh: bool
    owed: Any
    held: bool
    writable: bool
    write: Callable[[bytes], object]
    ways: dict[bytes, tuple[Quick, int]]

    def data_received(self, data: bytes) -> None:
        """Answer what a Quick answers; have `read` see everything else."""
