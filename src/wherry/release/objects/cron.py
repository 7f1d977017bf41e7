"""When a schedule runs: five fields as cron has them, held against what Kubernetes takes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("day of the week", 0, 6))
NAMES = {
    "month": {name: k + 1 for k, name in enumerate(MONTHS)},
    "day of the week": dict(zip(DAYS, range(7), strict=True)),
}
WORDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LONGEST_WAIT = timedelta(days=8 * 366)  # from one 29th of February to the next over a year that has none
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


def following(text: str, zone: str, after: datetime) -> datetime | None:
    """When it runs next; None where that cannot be told, as of a time zone that this machine does not know."""
    try:
        times = _times(WORDS.get(text, text).split(), after.astimezone(ZoneInfo(zone)))
        return next((one for one in times if one > after), None)
    except (ValueError, ZoneInfoNotFoundError):
        return None


def _times(parts: list[str], local: datetime) -> Iterator[datetime]:
    """Each moment from the day of `local` on. What a clock that is put forward leaps over comes an hour later."""
    minutes, hours, days, months, weekdays = (meant(part, *field) for part, field in zip(parts, FIELDS, strict=True))
    any_day, any_weekday = parts[2] in ("*", "?"), parts[4] in ("*", "?")

    def runs(on: date) -> bool:
        of_month, of_week = on.day in days, (on.weekday() + 1) % 7 in weekdays
        either = of_month or of_week if not (any_day or any_weekday) else of_month and of_week
        return on.month in months and either

    day = local.date()
    while day - local.date() < LONGEST_WAIT:
        if runs(day):
            for hour in sorted(hours):
                for minute in sorted(minutes):
                    yield datetime.combine(day, time(hour, minute), local.tzinfo)
        day += timedelta(days=1)
