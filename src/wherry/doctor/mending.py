"""Edits as a diff, and into the files: each file is written whole or not at all, its line ends and its mode kept."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from wherry.doctor.rule import Edit


class Mended(msgspec.Struct, frozen=True):
    """One file before and after; before is None for a file that is made."""

    path: str
    before: bytes | None
    after: bytes

    def diff(self) -> Iterator[str]:
        """The change as `diff -u` tells it."""
        old = [] if self.before is None else self.before.decode().splitlines()
        new = self.after.decode().splitlines()
        origin = "/dev/null" if self.before is None else f"a/{self.path}"
        yield from difflib.unified_diff(old, new, origin, f"b/{self.path}", lineterm="")


def mended(root: Path, edits: Iterable[Edit]) -> list[Mended]:
    """What the files would be after `edits`. Of two edits of one line the first counts."""
    files: dict[str, list[Edit]] = {}
    for edit in edits:
        files.setdefault(edit.file, []).append(edit)
    return [of_file(root, path, wanted) for path, wanted in sorted(files.items())]


def of_file(root: Path, path: str, edits: list[Edit]) -> Mended:
    where = root / path
    before = where.read_bytes() if where.is_file() else None
    text = (before or b"").decode()
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines(keepends=True)
    taken: set[int] = set()
    for edit in sorted(edits, key=lambda edit: -edit.first):
        span = set(range(edit.first, edit.last + 1))
        if span & taken:
            continue
        taken |= span
        lines[edit.first - 1 : edit.last] = [f"{line}{end}" for line in edit.lines]
    after = "".join(lines)
    if before is not None and not text.endswith("\n") and after.endswith(end):
        after = after.removesuffix(end)  # the file had no newline at its end, and gets none
    return Mended(path, before, after.encode())


def write(root: Path, files: Iterable[Mended]) -> None:
    """Put each file in its place at once; a file that changed since it was read is left alone.

    Raises OSError; a file is then as it was.
    """
    for file in files:
        where = root / file.path
        now = where.read_bytes() if where.is_file() else None
        if now != file.before:
            raise OSError(f"{file.path} changed while it was read: nothing was written to it")
        handle, name = tempfile.mkstemp(dir=where.parent, prefix=f".{where.name}.")
        new = Path(name)
        try:
            with os.fdopen(handle, "wb") as sink:
                sink.write(file.after)
                sink.flush()
                os.fsync(sink.fileno())
            new.chmod(where.stat().st_mode & 0o7777 if file.before is not None else 0o644)
            new.replace(where)
        finally:
            new.unlink(missing_ok=True)
