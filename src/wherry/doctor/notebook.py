"""The Python in a notebook: its code cells one after the other, with the line of the file that each line stands on."""

from __future__ import annotations

import json
import re

import msgspec


class Cells(msgspec.Struct, frozen=True):
    """text: the code; lines: for each line of it, the line of the notebook's file; shell: lines behind a `!`."""

    text: str
    lines: tuple[int, ...]
    shell: tuple[tuple[int, str], ...] = ()


def python_of(text: str) -> Cells | None:
    """The code of a notebook; None when it is none. Lines for the shell or for IPython become `pass`."""
    try:
        cells = json.loads(text)["cells"]
        sources = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    written = text.splitlines()
    code: list[str] = []
    lines: list[int] = []
    shell: list[tuple[int, str]] = []
    place = 0
    for source in sources:
        whole = "".join(source) if isinstance(source, list) else str(source)
        for line in whole.splitlines():
            place = found(written, line, place)
            if magic := re.match(r"(\s*)[!%](.*)", line):
                if line.lstrip().startswith("!"):
                    shell.append((place + 1, magic[2].strip()))
                line = f"{magic[1]}pass"
            code.append(line)
            lines.append(place + 1)
    return Cells("\n".join(code) + "\n", tuple(lines), tuple(shell))


def found(written: list[str], line: str, place: int) -> int:
    """The line of the file, from `place` on, that holds `line` as JSON writes it; `place` where none does."""
    for form in (json.dumps(line)[1:-1], json.dumps(line, ensure_ascii=False)[1:-1]):
        for number in range(place, len(written)):
            if form and form in written[number]:
                return number
    return place
