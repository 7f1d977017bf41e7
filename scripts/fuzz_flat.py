"""Holds the compiled reader of records against msgspec, with every address that it reads watched.

python scripts/fuzz_flat.py [SECONDS] [--source FILE]    60 seconds; exit 1 at the first body that breaks the law

The source is compiled into a temporary folder, as sanitized.py does it.
"""

from __future__ import annotations

import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.server.doors.native import compiled

SOURCE = Path(__file__).resolve().parent.parent / "src" / "wherry" / "server" / "doors" / "_flat.c"
SCHEMAS: tuple[dict[str, bool], ...] = (  # names, and whether each holds integers alone
    {"a": False},
    {"n": True},
    {"": False, "a": True, "ab": False, "abc": False, "abcd": True, "abcde": False},
    {
        "mean_1": False,
        "mean_10": False,
        "mean_100": False,
        "mean": False,
        "höhe": False,
        "身長 in cm": False,
        "/:,{}": True,
    },
    {f"the mean of column number {place:02}": place % 3 == 0 for place in range(30)},
)
SEPARATORS = ((", ", ": "), (",", ":"), (" ,\n", " :\t"), (",", ": "))
LETTERS = b'0123456789012345678900...--+eE,:{}"" \n\r\ta\\\x00\xff/[]_xNn'


class Law:
    """What a reader says to a body is None, or bit for bit what msgspec reads."""

    def __init__(self, reader: Callable[[tuple[str, ...], tuple[bool, ...]], Any], schema: dict[str, bool]) -> None:
        columns = tuple(Column(name, "integer" if whole else "number") for name, whole in schema.items())
        decoders = compiled(Signature(columns, OutputSpec("number", "number")), ignore_unknown=False)
        assert decoders is not None
        self.decode = decoders.one
        self.pack = struct.Struct(f"{len(columns)}d").pack
        self.read = reader(tuple(schema), tuple(schema.values())).read

    def holds(self, body: bytes) -> bool:
        """Whether the reader read it. Raises AssertionError with the body that breaks the law."""
        read = self.read(body)
        if read is None:
            return False
        try:
            expected = self.pack(*msgspec.structs.astuple(self.decode(body)))
        except msgspec.MsgspecError as error:
            raise AssertionError(f"{body!r} was read, which msgspec refuses: {error}") from error
        assert read == expected, f"{body!r} was read as {read.hex()}, and by msgspec as {expected.hex()}"
        return True


def number(chance: random.Random) -> str:
    """A number as JSON has it, or nearly."""
    digits = str(chance.getrandbits(chance.randrange(1, 68)))
    point = chance.randrange(len(digits) + 1)
    forms: tuple[Callable[[], str], ...] = (
        lambda: repr(chance.gauss(0, 1)),
        lambda: repr(chance.gauss(0, 10.0 ** chance.randrange(-15, 25))),
        lambda: repr(struct.unpack("d", chance.randbytes(8))[0]),
        lambda: f"{chance.gauss(0, 100):.{chance.randrange(6)}f}",
        lambda: str(chance.randrange(-1000, 1000)),
        lambda: digits,
        lambda: f"{digits[:point] or 0}.{digits[point:]}",
        lambda: f"0.{'0' * chance.randrange(25)}{digits}",
        lambda: f"{digits}e{chance.randrange(-40, 40)}",
        lambda: f"{digits[:point]}.{digits[point:]}E{chance.choice('+-')}{chance.randrange(40):02}",
        lambda: chance.choice(
            ("-0", "-0.0", "0e5", "0.0e-999", "00", "01", "1.", ".5", "+1", "1e", "0x1", "NaN", "1_0", "")
        ),
    )
    return chance.choice(forms)()


def bodies(schema: dict[str, bool], chance: random.Random) -> Iterator[bytes]:
    """A record, whole, and with this and that done to its bytes."""
    names = list(schema)
    if chance.random() < 0.3:
        chance.shuffle(names)
    comma, colon = chance.choice(SEPARATORS)
    likely = [str(chance.randrange(-99, 99)) if schema[name] else repr(chance.gauss(0, 1)) for name in names]

    def written(texts: list[str]) -> bytes:
        fields = comma.join(f'"{name}"{colon}{text}' for name, text in zip(names, texts, strict=True))
        return f"{{{fields}}}".encode()

    body = written(likely)
    yield body
    for _ in range(10):
        place = chance.randrange(len(names))
        yield written([*likely[:place], number(chance), *likely[place + 1 :]])
    for _ in range(20):
        changed = bytearray(body)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            place = chance.randrange(len(changed) + 1)
            match chance.randrange(7):
                case 0:
                    changed.insert(place, chance.choice(LETTERS))
                case 1:
                    del changed[place : place + chance.choice((1, 1, 1, 2, 9))]
                case 2:
                    changed[place : place + 1] = bytes((chance.choice(LETTERS),))
                case 3:
                    changed[place : place + 1] = chance.randbytes(1)
                case 4:
                    del changed[place:]
                case 5:
                    part = changed[place : place + chance.randrange(40)]
                    there = chance.randrange(len(changed) + 1)
                    changed[there:there] = part
                case _:
                    end = place + chance.randrange(1, 24)
                    changed[place:end] = number(chance).encode()
        yield bytes(changed)


def fuzz(flat: Any, seconds: float, seed: int) -> str:
    """What was tried, in a line. Raises AssertionError at a body that breaks the law."""
    chance = random.Random(seed)
    laws = [(schema, Law(flat.Reader, schema)) for schema in SCHEMAS]
    tried = read = 0
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        schema, law = chance.choice(laws)
        for body in bodies(schema, chance):
            tried += 1
            read += law.holds(body)
    return f"{tried:,} bodies, {read:,} of them read, as msgspec reads them"


if __name__ == "__main__":
    from sanitized import run

    sys.exit(run(__doc__, (SOURCE,), fuzz))
