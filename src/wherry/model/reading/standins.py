"""What a pickle stream is made of once nothing in it is run: inert stand-ins for classes, calls and arrays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

# A value of the stream: a plain str, bytes, bytearray, int, float, bool, None, list, tuple, or one of the stand-ins.
Value: TypeAlias = Any


@dataclass(frozen=True)
class Global:
    """A name that the stream looks up in a module."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False)
class Made:
    """What calling `maker` with `args` would make; its states, items and entries in the order they would be set."""

    maker: Global
    args: Value
    states: list[Value] = field(default_factory=list)
    items: list[Value] = field(default_factory=list)
    entries: list[tuple[Value, Value]] = field(default_factory=list)

    def attributes(self) -> dict[str, Value]:
        """The attributes that the states set, by name."""
        found: dict[str, Value] = {}
        for state in self.states:
            parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
            for part in parts:
                if isinstance(part, Pairs):
                    found.update((key, value) for key, value in part.entries if isinstance(key, str))
        return found


@dataclass(eq=False)
class Pairs:
    """A dict, kept as pairs: a key of a stream nobody vouched for is never hashed."""

    entries: list[tuple[Value, Value]] = field(default_factory=list)


@dataclass(eq=False)
class Group:
    """A set or a frozenset."""

    items: list[Value] = field(default_factory=list)


@dataclass(eq=False)
class Array:
    """An array whose bytes lie in the stream (`raw`), or an object array read as a pickle of its own (`inner`)."""

    dtype: Dtype
    shape: tuple[int, ...]
    raw: memoryview | None = None
    inner: Value = None


@dataclass(frozen=True)
class Dtype:
    """What a stream says a numpy dtype is."""

    code: str  # with byte order: "<f8", "|O8", "|V64"
    itemsize: int
    has_object: bool


class Unreadable(Exception):
    """The stream cannot be followed to its end."""


class CutOff(Unreadable):
    """The stream has no end: the file stops before."""


def walk(value: Value) -> Iterator[Made]:
    """Every stand-in of a call below `value`, each once, without recursion."""
    seen: set[int] = set()
    waiting: list[Value] = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, (str, bytes, int, float, Global, type(None))) or id(here) in seen:
            continue
        seen.add(id(here))
        if isinstance(here, Made):
            yield here
            waiting.extend([here.args, *here.states, *here.items])
            waiting.extend(part for pair in here.entries for part in pair)
        elif isinstance(here, Pairs):
            waiting.extend(part for pair in here.entries for part in pair)
        elif isinstance(here, Group):
            waiting.extend(here.items)
        elif isinstance(here, Array):
            waiting.append(here.inner)
        elif isinstance(here, (list, tuple)):
            waiting.extend(here)
