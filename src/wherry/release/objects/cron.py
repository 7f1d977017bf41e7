"""When a schedule runs: five fields as cron has them, held against what Kubernetes takes. Pure."""

from __future__ import annotations

import re

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 6))
NAMES = {
    "month": {name: k + 1 for k, name in enumerate(MONTHS)},
    "day of the week": dict(zip(DAYS, range(7), strict=True)),
}
WORDS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?P<low>\*|\?|\w+)(?:-(?P<high>\w+))?(?:/(?P<step>\d+))?")
ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


def trouble(text: str) -> str:
    """Why Kubernetes would not take it, or why it would never run; empty when nothing is wrong."""
    if text.startswith("@"):
        return "" if text in WORDS else f"{text} is none of {', '.join(WORDS)}"
    if re.match(r"(CRON_)?TZ=", text):
        return "the time zone stands in time_zone"
    parts = text.split()
    if len(parts) != len(FIELDS):
        return f"has {len(parts)} fields, not five: minute, hour, day of the month, month, day of the week"
    values = []
    for part, (name, least, most) in zip(parts, FIELDS, strict=True):
        try:
            values.append(meant(part, name, least, most))
        except ValueError as error:
            return f"its {name} {error}"
    days, months = values[2], values[3]
    if parts[4] in ("*", "?") and not any(day <= LONGEST[month - 1] for day in days for month in months):
        return "never comes: no such month has that day"
    return ""


def meant(text: str, name: str, least: int, most: int) -> frozenset[int]:
    """The values that a field stands for. Raises ValueError with the rest of a sentence."""
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"is {text!r}, which is no value, range, list or step")
        step = int(match["step"] or 1)
        if step == 0:
            raise ValueError(f"is {text!r}, a step of 0")
        if match["low"] in ("*", "?"):
            if match["high"]:
                raise ValueError(f"is {text!r}, which is no value, range, list or step")
            low, high = least, most
        else:
            low = number(match["low"], name, least, most)
            high = number(match["high"], name, least, most) if match["high"] else (most if match["step"] else low)
        if low > high:
            raise ValueError(f"is {text!r}, which runs backwards")
        found.update(range(low, high + 1, step))
    return frozenset(found)


def number(text: str, name: str, least: int, most: int) -> int:
    named = NAMES.get(name, {}).get(text.lower())
    if named is not None:
        return named
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ValueError(f"is {text}, not from {least} to {most}")
    return int(text)
