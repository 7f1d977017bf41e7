"""The spool's folder: numbered segment files, what each holds, and what stands beside them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import msgspec

from wherry.server.frames import Frame, frames, head

STATE = "state.json"  # the spool's id and the number of its next row
OWNER = "owner.lock"  # held by the service that writes
WRITER = "writer.lock"  # held by the process that reads
QUARANTINE = "quarantine"  # bytes that no frame accounts for, and rows that no database takes
_NAME = re.compile(r"^[0-9]{12}\.seg$")


class Origin(msgspec.Struct, frozen=True):
    """What all rows of one segment have in common; the payload of its first frame."""

    spool: str
    segment: str
    host: str
    model_name: str
    model_version: str
    model_digest: str
    signature_hash: str
    columns: tuple[str, ...]


class State(msgspec.Struct, frozen=True):
    """What outlives the segments: the spool's id, and the sequence of its next row when it was last closed."""

    spool: str
    next: int = 0


class Tail(msgspec.Struct, frozen=True):
    """How a segment ends: bytes that hold together, the sequence after them, and whether it was sealed."""

    end: int
    sequence: int
    sealed: bool


def segments(folder: Path) -> list[Path]:
    """The segment files, oldest first."""
    return sorted(path for path in folder.iterdir() if _NAME.match(path.name))


def after(path: Path | None, folder: Path) -> Path:
    """The name of the segment that follows `path`."""
    return folder / f"{int(path.stem) + 1 if path else 1:012d}.seg"


def size_of(folder: Path) -> int:
    """Bytes that the segments take."""
    total = 0
    with os.scandir(folder) as found:
        for entry in found:
            if _NAME.match(entry.name):
                try:
                    total += entry.stat().st_size
                except FileNotFoundError:  # the writer has just removed it
                    continue
    return total


def first_frame(origin: Origin, sequence: int) -> bytes:
    """How a segment begins whose rows are numbered from `sequence`."""
    payload = msgspec.msgpack.encode(origin)
    return head(payload, sequence, 0) + payload


def origin_of(frame: Frame) -> Origin | None:
    """What a segment's first frame says; None when it is another frame."""
    if frame.rows or frame.seals:
        return None
    try:
        return msgspec.msgpack.decode(frame.payload, type=Origin)
    except msgspec.DecodeError:
        return None


def first_sequence(path: Path) -> int | None:
    """The number of the segment's first row; None when its first frame cannot be read."""
    with path.open("rb") as file:
        begin = next(frames(file.read(1 << 20)), None)
    return begin.sequence if isinstance(begin, Frame) else None


def tail_of(path: Path, sequence: int) -> Tail:
    """How the segment ends; `sequence` is taken when no frame tells one."""
    end, sealed = 0, False
    for part in frames(path.read_bytes()):
        if isinstance(part, Frame):
            end, sequence, sealed = part.end, part.sequence + part.rows, part.seals
    return Tail(end, sequence, sealed)


def quarantine(folder: Path, name: str, data: bytes, *, more: bool = False) -> None:
    """Put damaged bytes where a person can look at them; `more`: behind what lies there under that name."""
    aside = folder / QUARANTINE
    aside.mkdir(mode=0o700, exist_ok=True)
    with (aside / name).open("ab" if more else "wb") as file:
        file.write(data)


def cut(path: Path, end: int) -> int:
    """Cut off what follows `end`, having put it aside; how many bytes that were."""
    with path.open("r+b") as file:
        file.seek(end)
        torn = file.read()
        if torn:
            quarantine(path.parent, f"{path.stem}-{end}.torn", torn)
            file.truncate(end)
            os.fsync(file.fileno())
    return len(torn)


def read_state(folder: Path) -> State | None:
    try:
        return msgspec.json.decode((folder / STATE).read_bytes(), type=State)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write_state(folder: Path, state: State) -> None:
    """Replace the state in one step."""
    fresh = folder / f"{STATE}.new"
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(state))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / STATE)
