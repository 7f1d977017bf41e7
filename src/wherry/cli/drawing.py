"""Lines drawn over themselves on a terminal, and the small pictures they are made of; by hand, without rich.

A line may carry colours; they take no room.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TextIO

BLOCKS = "▁▂▃▄▅▆▇█"
DOTS = 20  # pods that are drawn one by one
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Drawing:
    """What stands at the bottom of a terminal: each picture over the one before it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.drawn = 0

    def draw(self, lines: Sequence[str], width: int, height: int = 0) -> None:
        """Show `lines`, none wider than `width`, no more than `height` of them (0: all)."""
        shown = [fitted(line, width) for line in (lines[: height - 1] if height else lines)]
        up = f"\x1b[{self.drawn}A" if self.drawn else ""
        self.stream.write(up + "".join(f"\r{line}\x1b[0m\x1b[K\n" for line in shown) + "\x1b[J")
        self.stream.flush()
        self.drawn = len(shown)

    def close(self) -> None:
        """Take the picture away."""
        if self.drawn:
            self.stream.write(f"\x1b[{self.drawn}A\x1b[J")
            self.stream.flush()
            self.drawn = 0


def fitted(line: str, width: int) -> str:
    """`line` cut to what is seen in `width`."""
    seen, parts = 0, []
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        if _COLOUR.fullmatch(part):
            parts.append(part)
            continue
        parts.append(part[: max(0, width - seen)])
        seen += len(part)
    return "".join(parts)


def painted(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if text else ""


def sparks(values: Iterable[float]) -> str:
    """A line of blocks, the highest value full."""
    known = list(values)
    top = max(known, default=0.0) or 1.0
    return "".join(BLOCKS[min(7, int(7.999 * value / top))] for value in known)


def dots(ready: int, wanted: int) -> str:
    """A dot a pod: full when it is ready."""
    shown = min(ready, DOTS)
    return painted("●" * shown, "32") + painted("○" * max(0, min(wanted, DOTS) - shown), "33")
