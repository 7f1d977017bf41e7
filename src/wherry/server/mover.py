"""Reads the spool's segments in order and puts their rows into a sink, each once."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import msgspec

from wherry.server import segments
from wherry.server.frames import Damage, Frame, frames
from wherry.server.ids import row_id
from wherry.server.journal import Entry, Feedback
from wherry.server.segments import Origin
from wherry.server.sinks import Progress, RowsRefused, SinkUnclear

BATCH_ROWS = 5000
BATCH_BYTES = 16 * 1024 * 1024  # of the spool: large rows make small batches
Row = tuple[Any, ...]
Cells = Sequence[Any]

_decode = msgspec.msgpack.Decoder(list[Entry]).decode
_decode_feedback = msgspec.msgpack.Decoder(list[Feedback]).decode
_json = msgspec.json.Encoder().encode


class Store(Protocol):
    """What of a sink is needed here."""

    def progress(self, spool: str) -> Progress | None: ...

    def store(self, rows: list[Row], spool: str, progress: Progress, truths: list[Row]) -> Progress: ...


class Batch:
    """Rows of one transaction, by the table that they are for."""

    def __init__(self) -> None:
        self.predictions: list[Row] = []
        self.truths: list[Row] = []

    def __len__(self) -> int:
        return len(self.predictions) + len(self.truths)

    def singly(self) -> Iterator[tuple[list[Row], list[Row]]]:
        """One row at a time, as what `Store.store` takes for predictions and for truths."""
        for row in self.predictions:
            yield [row], []
        for row in self.truths:
            yield [], [row]


class Mover:
    """The reading end of a spool. What it has done stands in the sink alone, in the same transaction as the rows.

    careful: store rows one by one, and put aside those that the database does not take while it takes others.
    """

    def __init__(self, folder: Path, sink: Store, *, batch_rows: int = BATCH_ROWS, careful: bool = False) -> None:
        self._folder = folder
        self._sink = sink
        self._batch_rows = batch_rows
        self._careful = careful
        state = segments.read_state(folder)
        self._spool = state.spool if state else ""
        self._origin: Origin | None = None
        self._path: Path | None = None
        self.progress = sink.progress(self._spool) or Progress()
        if not self._resume():
            first = self._first_row(state.next if state else 0)
            self.progress = self.progress._replace(segment="", position=0, sequence=first)

    def step(self) -> bool:
        """Move what the current segment has; whether anything was there. Finished segments are removed."""
        try:
            if self._path is None and not self._next_segment():
                return False
            assert self._path is not None
            followed = self._followed()  # asked before reading: what is read then is all there will ever be
            with self._path.open("rb") as file:
                file.seek(self.progress.position)
                data = file.read()
        except FileNotFoundError:  # its owner removes a segment that got no rows
            self._path = None
            return False
        moved, sealed = self._take(data, complete=followed)
        if sealed or followed:
            self._path.unlink(missing_ok=True)
            self._path = None
            return True
        return moved

    def _first_row(self, otherwise: int) -> int:
        for path in segments.segments(self._folder):
            number = segments.first_sequence(path)
            if number is not None:
                return number
        return otherwise

    def _resume(self) -> bool:
        """Find the segment that the progress is about; those before it are done. False when it is there no more."""
        found = segments.segments(self._folder)
        for index, path in enumerate(found):
            origin = self._read_origin(path)
            if origin is not None and origin.segment == self.progress.segment:
                for done in found[:index]:
                    done.unlink(missing_ok=True)
                self._path, self._origin = path, origin
                return True
        return False

    def _next_segment(self) -> bool:
        found = segments.segments(self._folder)
        if not found:
            return False
        origin = self._read_origin(found[0])
        if origin is None and len(found) == 1:
            return False  # it is being made just now
        self._path, self._origin = found[0], origin
        self.progress = self.progress._replace(segment=origin.segment if origin else "", position=0)
        return True

    def _read_origin(self, path: Path) -> Origin | None:
        with path.open("rb") as file:
            first = next(frames(file.read(1 << 20)), None)
        return segments.origin_of(first) if isinstance(first, Frame) else None

    def _followed(self) -> bool:
        return segments.segments(self._folder)[-1:] != [self._path]

    def _take(self, data: bytes, complete: bool) -> tuple[bool, bool]:
        """Store the rows in `data`; whether there were any, and whether the segment was sealed behind them."""
        moved, base, at = False, self.progress.position, self.progress
        batch, begin = Batch(), 0
        end, sequence, poison = at.position, at.sequence, at.poison  # a named tuple a frame would cost as much as it
        for part in frames(data):
            if isinstance(part, Damage):
                if part.end == len(data) and not complete:
                    break
                name = f"{self._path.stem if self._path else ''}-{base + part.start}.damaged"
                segments.quarantine(self._folder, name, data[part.start : part.end])
                end = base + part.end
                continue
            # Rows that no frame brought were lost to damage: their numbers are missing.
            poison += max(part.sequence - sequence, 0)
            sequence = part.sequence + part.rows
            end = base + part.end
            if part.rows:
                poison += self._add(part, batch)
                moved = True
            if part.seals or len(batch) >= self._batch_rows or part.end - begin >= BATCH_BYTES:
                self._store(batch, at._replace(position=end, sequence=sequence, poison=poison))
                at, batch, begin = self.progress, Batch(), part.end
                poison = at.poison
            if part.seals:
                return True, True
        done = at._replace(position=end, sequence=sequence, poison=poison)
        if done != self.progress:
            self._store(batch, done)
        return moved, False

    def _add(self, frame: Frame, batch: Batch) -> int:
        """Add a frame's rows to `batch`; how many could not be made out of it."""
        if self._origin is not None:
            try:
                batch.predictions += rows_of(_decode(frame.payload), self._origin, frame.sequence)
                return 0
            except (msgspec.DecodeError, ValueError):
                pass
            try:
                batch.truths += [truth_of(feedback) for feedback in _decode_feedback(frame.payload)]
                return 0
            except (msgspec.DecodeError, ValueError):
                pass
        # All of a segment in one file: where one frame means nothing to this version, none of thousands may.
        name = f"{self._path.stem if self._path else ''}.msgpack"
        segments.quarantine(self._folder, name, bytes(frame.payload), more=True)
        return frame.rows

    def _store(self, batch: Batch, at: Progress) -> None:
        if not self._careful:
            try:
                self.progress = self._sink.store(batch.predictions, self._spool, at, batch.truths)
                return
            except RowsRefused:
                pass
        self._store_singly(batch, at)

    def _store_singly(self, batch: Batch, at: Progress) -> None:
        """The database refuses something in `batch`: find it, put it aside, and store the others."""
        held = self.progress
        stored = 0
        refused: list[tuple[Row, Exception]] = []
        for rows, truths in batch.singly():
            try:
                held = self._sink.store(rows, self._spool, held, truths)
                stored += 1
            except RowsRefused as error:
                refused.append(((rows or truths)[0], error))
            except SinkUnclear as error:
                if not self._careful:
                    raise
                refused.append(((rows or truths)[0], error))
        unclear = [error for _, error in refused if isinstance(error, SinkUnclear)]
        if unclear and not stored:  # it takes none: that is not for the sake of a row
            raise unclear[0]
        for row, reason in refused:
            about = {"reason": str(reason), "row": [str(value) for value in row]}
            segments.quarantine(self._folder, f"{row[0]}.json", json.dumps(about, indent=1).encode())
        at = at._replace(poison=at.poison + len(refused), duplicates=held.duplicates)
        self.progress = self._sink.store([], self._spool, at, [])


def rows_of(entries: list[Entry], origin: Origin, sequence: int) -> list[Row]:
    """The entries' rows, numbered from `sequence`, as values in the order of the table's columns. Raises ValueError."""
    write = writing(origin.columns)
    made: list[Row] = []
    for entry in entries:
        if entry.rows and len(entry.rows[0]) != len(origin.columns):
            raise ValueError("a row has more or fewer cells than there are columns")
        request, created, door = storable(entry.request_id), moment(entry.time_ns), storable(entry.door)
        latency = round(entry.latency_s * 1000, 3)
        for index, (cells, output) in enumerate(zip(entry.rows, outputs_of(entry), strict=True)):
            made.append(
                (
                    row_id(entry.id, index),
                    request,
                    created,
                    origin.model_name,
                    origin.model_version,
                    origin.model_digest,
                    origin.signature_hash,
                    write(cells),
                    output,
                    entry.status,
                    latency,
                    door,
                    origin.host,
                    sequence,
                )
            )
            sequence += 1
    return made


@functools.lru_cache(maxsize=8)
def writing(columns: tuple[str, ...]) -> Callable[[Cells], str]:
    """What makes a JSON object of a row's cells."""
    names = {f"c{place}": name for place, name in enumerate(columns)}
    try:  # a class for these columns: three times as fast as a dictionary a row
        made = msgspec.defstruct("Inputs", list(names), rename=names, gc=False)
    except ValueError:  # a name that JSON would have to escape
        return lambda cells: _json(dict(zip(columns, cells, strict=True))).decode()
    return lambda cells: _json(made(*cells)).decode()


def truth_of(feedback: Feedback) -> Row:
    """A truth, as values in the order of its table's columns."""
    return (
        storable(feedback.id),
        storable(feedback.prediction_id),
        moment(feedback.time_ns),
        _json(feedback.truth).decode(),
    )


def storable(text: str) -> str:
    """`text` without NUL, which PostgreSQL has in no text; in JSON it is written out."""
    return text.replace("\0", "\\0") if "\0" in text else text


def moment(time_ns: int) -> str:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{utc(seconds)}.{rest // 1000:06d}"


@functools.lru_cache(maxsize=64)
def utc(seconds: int) -> str:
    """A time as SQLite's own functions and the other databases read it."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def outputs_of(entry: Entry) -> list[str | None]:
    """Each row's output as JSON text; None for rows that were not answered."""
    if not entry.predictions:
        return [None] * len(entry.rows)
    if entry.probabilities is None:
        return [_json({"prediction": prediction}).decode() for prediction in entry.predictions]
    return [
        _json({"prediction": prediction, "probabilities": odds}).decode()
        for prediction, odds in zip(entry.predictions, entry.probabilities, strict=True)
    ]
