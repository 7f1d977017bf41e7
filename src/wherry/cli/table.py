"""Tables as text: columns two blanks apart, no frames, so that they read alike on a terminal and in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

GAP = "  "


def lines(
    head: Sequence[str], rows: Iterable[Sequence[Any]], *, width: int = 0, right: Sequence[str] = ()
) -> Iterator[str]:
    """`rows` under `head`; columns named in `right` are flush right; the last is cut at `width` (0: never)."""
    body = [[cell_text(cell) for cell in row] for row in rows]
    head = [title.upper() for title in head]
    flush = [title in {name.upper() for name in right} for title in head]
    widths = [max(len(row[place]) for row in [head, *body]) for place in range(len(head))]
    for row in [head, *body] if any(head) else body:
        cells = [
            text.rjust(space) if flushed else text.ljust(space)
            for text, space, flushed in zip(row, widths, flush, strict=True)
        ]
        yield cut(GAP.join(cells).rstrip(), width)


def pairs(facts: Iterable[tuple[str, Any]], *, width: int = 0, indent: int = 0) -> Iterator[str]:
    """Facts one a line, their values aligned; what is long, or has several lines, goes on below itself."""
    known = [(name, cell_text(value)) for name, value in facts if value not in (None, "")]
    space = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        lead = f"{' ' * indent}{name.ljust(space)}{GAP}"
        room = max(width - len(lead), 20) if width else 0
        for line in value.splitlines():
            for part in folded(line, room, 2):
                yield f"{lead}{part}".rstrip()
                lead = " " * len(lead)


def folded(text: str, width: int, indent: int) -> list[str]:
    """`text` in lines of at most `width` (0: one line), all but the first indented."""
    import textwrap

    return textwrap.wrap(text, width, subsequent_indent=" " * indent, break_on_hyphens=False) if width else [text]


def cut(text: str, width: int) -> str:
    return text if not width or len(text) <= width else text[: width - 1] + "…"


def cell_text(value: Any) -> str:
    """A cell as a person reads it: no None, numbers to four significant places, lists with commas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, (list, tuple)):
        return ", ".join(cell_text(part) for part in value)
    return str(value)


def number(value: float) -> str:
    """`value` with four significant places and no needless exponent."""
    if value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.4g}"


def size(count: float) -> str:
    """Bytes as a person reads them: 12 kB, 3.4 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Seconds as a person reads them: 12 ms, 3.4 s, 2 min 5 s."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def count(number_of: int, noun: str) -> str:
    """1 row, 2 rows."""
    return f"{number_of:,} {noun}{'' if number_of == 1 else 's'}"
