"""The two short texts that a user types: a shape of load and an objective. An error names the place. Pure."""

from __future__ import annotations

import re

from wherry.errors import ExpressionRefused
from wherry.stress import shape as shapes
from wherry.stress.objective import Limit
from wherry.stress.shape import Shape

NUMBER = r"\d+(?:\.\d+)?|\.\d+"
SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "": 1.0}
TO_MS = {"us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1000.0}
KINDS = "constant, step:100,200,400, ramp:100-1000, spike:100-1000@10s+5s, sine:100-1000/20s or trace:FILE"
SLO_HINT = '--slo "p99<50ms,errors<0.1%"'


class Reader:
    """Reads a text from left to right and says where it broke."""

    def __init__(self, text: str, flag: str, hint: str, place: int = 0) -> None:
        self.text, self.flag, self.hint, self.place = text, flag, hint, place

    @property
    def done(self) -> bool:
        return self.place >= len(self.text)

    def blanks(self) -> None:
        while not self.done and self.text[self.place] == " ":
            self.place += 1

    def take(self, pattern: str, expected: str) -> str:
        """The text that `pattern` fits here. Raises ExpressionRefused."""
        self.blanks()
        found = re.compile(pattern).match(self.text, self.place)
        if found is None:
            raise self.refusal(f"expected {expected}")
        self.place = found.end()
        self.blanks()
        return found[0]

    def number(self, expected: str) -> float:
        return float(self.take(NUMBER, expected))

    def length(self, expected: str) -> float:
        """A length of time in seconds: 10s, 500ms, 2m; a bare number is seconds."""
        amount = self.number(expected)
        begun = self.place
        unit = self.take("[a-z]*", "a unit")
        if unit not in SECONDS:
            self.place = begun
            raise self.refusal("expected ms, s, m or h")
        return amount * SECONDS[unit]

    def end(self) -> None:
        if not self.done:
            raise self.refusal("expected nothing more")

    def refusal(self, reason: str) -> ExpressionRefused:
        return ExpressionRefused(self.flag, self.text, self.place + 1, reason, self.hint)


def read_duration(text: str, flag: str = "--duration") -> float:
    """Seconds. Raises ExpressionRefused."""
    reader = Reader(text, flag, f"{flag} 30s")
    seconds = reader.length("a number")
    while not reader.done:  # 4m30s
        seconds += reader.length("a number, or nothing more")
    if seconds <= 0:
        raise ExpressionRefused(flag, text, 1, "must be longer than nothing", f"{flag} 30s")
    return seconds


def read_shape(text: str, seconds: float) -> Shape:
    """The shape that `text` describes, `seconds` long; a trace and `constant` are read elsewhere.

    Raises ExpressionRefused.
    """
    reader = Reader(text, "--shape", f"a shape is {KINDS}")
    begun = reader.place
    kind = reader.take(r"[a-z]*", "a name")
    if kind not in ("step", "ramp", "spike", "sine"):
        reader.place = begun
        raise reader.refusal(f"{kind or text!r} is no shape")
    reader.take(":", f"':' after {kind}")
    if kind == "step":
        rates = [reader.number("a rate")]
        while not reader.done:
            reader.take(",", "',' and the next rate")
            rates.append(reader.number("a rate"))
        return shapes.step(tuple(rates), seconds, text)
    low = reader.number("the lowest rate")
    reader.take("-", "'-' and the highest rate")
    high = reader.number("the highest rate")
    if kind == "ramp":
        made = shapes.ramp(low, high, seconds, text)
    elif kind == "sine":
        reader.take("/", "'/' and the period")
        place = reader.place
        period = reader.length("the period")
        if period <= 0:
            reader.place = place
            raise reader.refusal("a period is longer than nothing")
        made = shapes.sine(low, high, period, seconds, text)
    else:
        reader.take("@", "'@' and when it begins")
        begin = reader.length("when it begins")
        reader.take(r"\+", "'+' and how long it lasts")
        made = shapes.spike(low, high, begin, reader.length("how long it lasts"), seconds, text)
    reader.end()
    return made


def read_objective(text: str) -> tuple[Limit, ...]:
    """Every limit that `text` sets, in its order. Raises ExpressionRefused."""
    reader = Reader(text, "--slo", SLO_HINT)
    limits = [read_limit(reader)]
    while not reader.done:
        reader.take(",", "',' and the next limit")
        limits.append(read_limit(reader))
    return tuple(limits)


def read_limit(reader: Reader) -> Limit:
    reader.blanks()
    begun = reader.place
    name = reader.take(r"p\d+(?:\.\d+)?|[a-z]*", "what is measured")
    if name.startswith("p") and name[1:] and not 0 < float(name[1:]) < 100:
        reader.place = begun + 1
        raise reader.refusal("expected a percentile above 0 and under 100")
    if not name.startswith("p") and name not in ("max", "mean", "errors", "rate"):
        reader.place = begun
        raise reader.refusal("expected p50, p99, p99.9, max, mean, errors or rate")
    if name == "p":
        raise reader.refusal("expected a percentile above 0 and under 100")
    at = reader.place
    sign = reader.take("<=|<|>=|>", "< or >")
    if (name == "rate") != sign.startswith(">"):
        reader.place = at
        raise reader.refusal(
            f"{name} is held {'above' if name == 'rate' else 'below'} a limit: expected "
            f"{'>' if name == 'rate' else '<'}"
        )
    value = reader.number("a number")
    unit_at = reader.place
    unit = reader.take(r"[a-zµ%/]*", "a unit")
    units, expected = {
        "errors": ({"%": 1.0}, "%, as in errors<0.1%"),
        "rate": ({"": 1.0, "/s": 1.0}, "nothing or /s, as in rate>990/s"),
    }.get(name, (TO_MS, "ms, s or us, as in p99<50ms"))
    if unit not in units:
        reader.place = unit_at
        raise reader.refusal(f"expected {expected}")
    shown = reader.text[begun : reader.place].replace(" ", "")
    return Limit(shown, name, sign, value * units[unit])
