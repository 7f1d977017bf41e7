"""Fields at fault as lines for a person: what is wrong alike on many rows is said once."""

from __future__ import annotations

from collections.abc import Sequence

from wherry.errors import FieldAtFault

TITLE = "some fields do not fit the model"
# What the columns of a table decide, for every row of it.
OF_COLUMNS = ("is missing", "is not a column of this model")


def told(problems: Sequence[FieldAtFault], rows: range, table: bool) -> tuple[str, str]:
    """The problems of `rows` (empty: not known how many were asked) as a sentence and a hint."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for problem in problems:
        alike.setdefault((problem.field, problem.reason, problem.hint), []).append(problem.row)
    several = len(rows) > 1 or rows.start > 0 or any(problem.row for problem in problems)
    if len(alike) == 1:
        ((one, found),) = alike.items()
        return f"{where(found, one[1], rows, table) if several else ''}{named(one)}", one[2]
    lines = [
        f"{where(found, one[1], rows, table) if several else ''}{named(one)}" + (f" ({one[2]})" if one[2] else "")
        for one, found in alike.items()
    ]
    return "\n  ".join([TITLE, *lines]), ""


def named(one: tuple[str, str, str]) -> str:
    return f"{one[0]} {one[1]}" if one[0] else one[1]


def where(found: Sequence[int], reason: str, rows: range, table: bool) -> str:
    """The rows with one problem: every row, row 3, rows 3 to 9, rows 1, 4, 5 and 7 more."""
    if rows.start == 0 and len(rows) > 1 and (len(found) == len(rows) or (table and reason in OF_COLUMNS)):
        return "every row: "
    first, last = found[0], found[-1]
    if first == last:
        return f"row {first}: "
    if last - first == len(found) - 1:
        return f"rows {first} to {last}: "
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return f"rows {', '.join(map(str, found[:5]))}{more}: "
