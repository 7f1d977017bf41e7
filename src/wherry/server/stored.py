"""The journal that keeps: a spool to write to, and the process that empties it into the database."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import socket
from pathlib import Path

import msgspec

from wherry.contract.events import Note, Tell
from wherry.contract.manifest import Manifest
from wherry.contract.names import ENV_SPOOL_ENDS
from wherry.contract.project import Project
from wherry.errors import ExtraMissing, StoreUnreachable
from wherry.server.asking import Asker
from wherry.server.destination import DRIVERS, Destination, scheme_of
from wherry.server.history import Query, kept_of
from wherry.server.inputs import Reduce, kept_columns, reducing
from wherry.server.journal import Counts
from wherry.server.keeper import Keeper, Report, Task
from wherry.server.segments import Origin
from wherry.server.spool import Spool

SPOOL = "spool"


class StoredJournal:
    """Journal over a spool; see `wherry.server.journal.Journal` for what each method promises."""

    def __init__(
        self,
        spool: Spool,
        keeper: Keeper,
        where: str,
        tell: Tell,
        asker: Asker | None = None,
        reduce: Reduce | None = None,
    ) -> None:
        self.where = where
        self._asker = asker
        self.append = spool.append if reduce is None else lambda entry: spool.append(reduce(entry))
        self.append_feedback = spool.append_feedback
        self.commit = spool.commit
        self.refusing = spool.refusing
        self._spool = spool
        self._keeper = keeper
        self._tell = tell

    def start(self) -> None:
        self._keeper.start()

    def counts(self) -> Counts:
        begin = self._keeper.begin or Report(done=self._spool.waiting_from)
        latest = self._keeper.latest or begin
        dropped, following = self._spool.dropped, self._spool.next
        poison = latest.poison - begin.poison
        return Counts(
            accepted=following - begin.done + dropped,
            stored=latest.done - begin.done - poison,
            pending=following - latest.done,
            dropped=dropped,
            poison=poison,
            duplicates=latest.duplicates - begin.duplicates,
        )

    def read(self, query: Query) -> bytes:
        if self._asker is None:
            raise StoreUnreachable(self.where, "it is only written to here")
        return self._asker.ask(query)

    def close(self) -> None:
        if self._asker is not None:
            self._asker.end()
        try:
            self._spool.close()
        finally:
            self._keeper.close(waiting=self.counts().pending > 0)
            left = self.counts().pending
            if left:
                self._tell(Note(leaving(left, self._spool.folder, os.environ.get(ENV_SPOOL_ENDS, "")), warn=True))


def leaving(rows: int, folder: Path, ends_with: str) -> str:
    """What becomes of rows that no database has taken when the service ends."""
    if ends_with:
        return f"{rows:,} predictions wait in {folder}, and are lost when this {ends_with} is gone"
    return f"{rows:,} predictions wait in {folder}; the next start stores them"


def open_journal(
    target: Destination, project: Project, manifest: Manifest, state: Path, tell: Tell, *, desk: bool, lane: int
) -> StoredJournal | None:
    """What `wherry.server.journal.open_journal` promises; None when the libraries for it are not there."""
    if not installed(target, tell):
        return None
    store = project.store
    columns = manifest.signature.names
    reduce = reducing(store, columns, state, desk=desk)
    if target.warning:
        tell(Note(target.warning, warn=True, hint=f"predictions go to {target.shown}"))
    spool = Spool(
        state / SPOOL / str(lane),
        origin_of(manifest, kept_columns(store, columns)),
        mode=store.mode,
        drop=(store.when_full or ("drop" if store.mode == "fast" else "refuse")) == "drop",
        limit=store.spool_limit,
    )
    if spool.torn:
        tell(Note(f"{spool.torn} bytes of a write that never ended were put aside in {spool.folder}", warn=True))
    # Of several workers one looks after the database.
    task = Task(str(spool.folder.absolute()), target.url)
    if lane == 0:
        task = msgspec.structs.replace(task, keep=kept_of(store), views=store.views)
    keeper = Keeper(task, tell)
    return StoredJournal(spool, keeper, target.shown, tell, Asker(target.url, target.shown), reduce)


def installed(target: Destination, tell: Tell) -> bool:
    """Whether SQLAlchemy and the driver are there. Raises ExtraMissing when the store was asked for, else tells."""
    driver, extra = DRIVERS.get(scheme_of(target.url), ("sqlalchemy", "serve"))
    lacking = next((name for name in ("sqlalchemy", driver) if importlib.util.find_spec(name) is None), None)
    if lacking is None:
        return True
    missing = ExtraMissing("SQLAlchemy" if lacking == "sqlalchemy" else lacking, extra, "keeping predictions")
    if target.asked:
        raise missing
    tell(Note(f"predictions are not kept: {missing}", warn=True, hint=missing.hint))
    return False


def origin_of(manifest: Manifest, columns: tuple[str, ...]) -> Origin:
    """What the rows of this service have in common; `columns` are those of their cells."""
    signature = msgspec.json.encode(manifest.signature, order="sorted")
    return Origin(
        spool="",
        segment="",
        host=socket.gethostname(),
        model_name=manifest.name,
        model_version=manifest.version,
        model_digest=manifest.digest,
        signature_hash=hashlib.sha256(signature).hexdigest(),
        columns=columns,
    )
