"""What a pickle holds, read without running any of it, and whether every name in it is on the fixed list.

The verdict is about names, not about intent: "only known types" says that loading looks up nothing but what `known`
lists; anything else "can run code". A stream that cannot be followed to its last byte is never called safe.
"""

from __future__ import annotations

import sys
from typing import Literal

import msgspec

from wherry.model.reading.interpreter import Interpreter, unknown_names
from wherry.model.reading.standins import CutOff, Unreadable, Value
from wherry.model.reading.summary import Summary, summarise

# What HistGradientBoosting keeps for categories. Not on the list: a partial calls whatever function it is given.
BOOSTING = frozenset({"functools.partial", "sklearn.utils.validation.check_array"})

Verdict = Literal["known", "code", "unreadable"]


class Contents(msgspec.Struct, frozen=True):
    """What a model file holds: the verdict with its reasons, every name it looks up, and what the names make."""

    verdict: Verdict
    names: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    summary: Summary = Summary()
    arrays_apart: bool = False  # joblib's arrays lie between the opcodes
    cut_off: bool = False  # the file stops before the stream does: no loader can read it

    def sentence(self) -> str:
        """The verdict in words."""
        if self.verdict == "known":
            return "only known types"
        if self.verdict == "unreadable":
            return f"cannot be read safely: {self.reasons[0]}"
        named = [*self.unknown, *self.reasons]
        more = f" and {len(named) - 8} more" if len(named) > 8 else ""
        usual = " (boosting with categories brings these, and other code can too)" if {*named} == BOOSTING else ""
        return "can run code: " + ", ".join(named[:8]) + more + usual

    def of_scripts(self) -> tuple[str, ...]:
        """What it needs of the script that trained it, and what no other program has."""
        script = sys.modules["__main__"]
        names = (name.removeprefix("__main__.") for name in self.unknown if name.startswith("__main__."))
        return tuple(name for name in names if not hasattr(script, name.partition(".")[0]))


def read(content: bytes) -> Contents:
    """What the pickle (or uncompressed joblib) stream in `content` holds. Nothing of it is run."""
    reader = Interpreter(content)
    try:
        value: Value = reader.run()
    except Unreadable as error:
        return unreadable(reader, str(error), cut_off=isinstance(error, CutOff))
    if reader.place != len(content):
        return unreadable(reader, f"{len(content) - reader.place:,} bytes follow its end")
    unknown = unknown_names(reader.globals)
    return Contents(
        verdict="code" if unknown or reader.refusals else "known",
        names=tuple(sorted(str(name) for name in reader.globals)),
        unknown=unknown,
        reasons=tuple(reader.refusals),
        summary=summarise(value),
        arrays_apart=reader.wrapped,
    )


def unreadable(reader: Interpreter, reason: str, *, cut_off: bool = False) -> Contents:
    return Contents(
        "unreadable",
        tuple(sorted(str(name) for name in reader.globals)),
        unknown_names(reader.globals),
        (reason, *reader.refusals),
        arrays_apart=reader.wrapped,
        cut_off=cut_off,
    )
