"""Named counts in memory that processes share: one writes, another reads, and a successor goes on counting.

A process that is killed loses nothing of what it counted: its counts are not its own memory.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence

NAME = 256  # bytes of a name, in UTF-8
CELLS = 4096  # counts of one board
PLACES = CELLS * 8  # where the names begin


class Board:
    """Up to CELLS numbers by name, in memory that forked processes share. Only one process may write at a time."""

    def __init__(self) -> None:
        # Anonymous and shared: no file, and pages that were never written take no memory.
        self.memory = mmap.mmap(-1, PLACES + CELLS * NAME)
        self.cells = memoryview(self.memory)[:PLACES].cast("d")
        self.places: dict[str, int] = {}
        self.used = 0

    def place(self, name: str) -> int:
        """The index in `cells` of the count called `name`, which begins as 0."""
        self.learn()
        found = self.places.get(name)
        if found is None:
            text = name.encode()
            if len(text) > NAME or self.used == CELLS:
                raise ValueError(f"no room on the board for {name}")
            start = PLACES + self.used * NAME
            found = self.places[name] = self.used
            self.used += 1
            # The first byte last: a reader takes a name whose first byte is 0 for the end of the list.
            self.memory[start + 1 : start + len(text)] = text[1:]
            self.memory[start] = text[0]
        return found

    def learn(self) -> None:
        """Take up the names that another process wrote since."""
        while self.used < CELLS:
            start = PLACES + self.used * NAME
            if self.memory[start] == 0:
                return
            name = self.memory[start : start + NAME].rstrip(b"\0").decode()
            self.places[name] = self.used
            self.used += 1

    def read(self) -> dict[str, float]:
        """Every count by name."""
        self.learn()
        return {name: self.cells[place] for name, place in self.places.items()}


def total(boards: Sequence[Board]) -> dict[str, float]:
    """The counts of all boards, added up by name."""
    found: dict[str, float] = {}
    for board in boards:
        for name, value in board.read().items():
            found[name] = found.get(name, 0.0) + value
    return found
