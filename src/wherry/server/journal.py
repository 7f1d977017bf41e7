"""Every answer kept: entries are appended in a turn of the event loop, and committed before its replies leave."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from wherry.contract.events import Tell
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.contract.wire import Row
from wherry.server.destination import destination
from wherry.server.history import Query


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One answered request, as it is kept: one row of the store for each of its rows.

    id: of row 0, from `wherry.server.ids.new_id`; `wherry.server.ids.row_id(id, k)` is that of row k.
    time_ns: UTC, nanoseconds since 1970, when the request had been read. latency_s: seconds until its reply was made.
    rows: cells in the order of the signature's columns. predictions, probabilities: as in `Outputs`; no predictions
    when the model failed (`status` says how the request was answered).
    """

    id: str
    request_id: str
    time_ns: int
    door: str
    status: int
    latency_s: float
    rows: Sequence[Row]
    predictions: Sequence[Any]
    probabilities: Sequence[Sequence[float]] | None = None


class Feedback(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What turned out to be true about one prediction; counted as a row of the store like any other.

    id: of this statement, from `wherry.server.ids.new_id`. prediction_id: of one row, as `row_id` makes it.
    """

    id: str
    prediction_id: str
    time_ns: int
    truth: Any


class Counts(msgspec.Struct, frozen=True):
    """Rows since this service started, with those that it found waiting.

    accepted = stored + pending + dropped + poison, always. `duplicates` counts rows that the database already had.
    """

    accepted: int = 0
    stored: int = 0
    pending: int = 0
    dropped: int = 0
    poison: int = 0
    duplicates: int = 0


class Journal(Protocol):
    """Keeps what was answered. Used from one thread: the event loop's."""

    @property
    def where(self) -> str:
        """Where the rows end up, for people; empty when they are not kept."""

    def append(self, entry: Entry) -> None:
        """Take an entry up; nothing is promised before the next `commit`."""

    def append_feedback(self, feedback: Feedback) -> None:
        """Take a truth up, as `append` does an entry."""

    def commit(self) -> None:
        """Hand everything appended since the last commit over, in one write: call it before those replies leave.

        Cheap when nothing was appended. Raises StoreFailed or DiskFull when the entries cannot be kept and may not be
        dropped: then none of them is acknowledged (answer 503), all are forgotten, and later commits may succeed.
        """

    def start(self) -> None:
        """Begin moving what is kept into the database; call it once the service is ready."""

    def counts(self) -> Counts:
        """What became of the rows so far; cheap, from any thread."""

    def refusing(self) -> bool:
        """Whether what was committed last could not be kept, and nothing says that the next could; from any thread."""

    def read(self, query: Query) -> bytes:
        """The stored records that `query` means, a JSON array; takes a while, from one thread at a time.

        Raises StoreUnreachable.
        """

    def close(self) -> None:
        """Hand over what is left, let the database take it for at most ten seconds, and release the folder."""


class NoJournal:
    """Keeps nothing, at no cost."""

    where = ""

    def append(self, entry: Entry) -> None: ...

    def append_feedback(self, feedback: Feedback) -> None: ...

    def commit(self) -> None: ...

    def start(self) -> None: ...

    def counts(self) -> Counts:
        return Counts()

    def refusing(self) -> bool:
        return False

    def read(self, query: Query) -> bytes:
        return b"[]"

    def close(self) -> None: ...


def open_journal(
    project: Project, manifest: Manifest, state: Path, tell: Tell, *, desk: bool = True, lane: int = 0
) -> Journal:
    """The journal that the project asks for: NoJournal when the store is off.

    Call it before the port opens, in the process that appends; then `start()` once ready. `state` is the folder
    .wherry. In an image (`desk` false) the store is off unless a url is set. Each worker process has a `lane` of its
    own, from 0. Raises SettingsRefused (of inputs: something that this model has not, or no key), StoreRefused (a
    database this version cannot write to), ExtraMissing (the store was asked for and SQLAlchemy is not installed),
    SpoolHeld (another service uses the folder; its pid is named), StoreFailed, DiskFull.
    """
    target = destination(project.store, os.environ, state, desk=desk)
    if target is None:
        return NoJournal()
    from wherry.server import stored  # the store's parts are not loaded where it is off

    return stored.open_journal(target, project, manifest, state, tell, desk=desk, lane=lane) or NoJournal()
