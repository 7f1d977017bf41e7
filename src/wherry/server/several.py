"""Several models in one process: what each is given of the settings, and what all of them keep and do together."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from wherry.contract.events import Tell
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project, Shadow
from wherry.contract.reply import Reply
from wherry.server.batching import Batcher
from wherry.server.journal import Counts, Journal, open_journal
from wherry.server.loading import Loaded
from wherry.server.predictions import Predictions

LANES = 100  # the spools of one model's worker processes; then those of the next model begin
LEAST_SPOOL = 1024 * 1024


class Work(Protocol):
    """Predictions that are asked and not answered yet, of one model or of several."""

    @property
    def idle(self) -> bool: ...

    @property
    def waiting_rows(self) -> int: ...

    @property
    def busy_since(self) -> float: ...

    def look(self) -> None: ...

    def close(self) -> None: ...


class Together:
    """The work of several models."""

    def __init__(self) -> None:
        self.parts: list[Predictions] = []

    @property
    def idle(self) -> bool:
        return all(part.idle for part in self.parts)

    @property
    def waiting_rows(self) -> int:
        return sum(part.waiting_rows for part in self.parts)

    @property
    def busy_since(self) -> float:
        """Since when the longest call goes on; 0: none does."""
        return min((part.busy_since for part in self.parts if part.busy_since), default=0.0)

    def look(self) -> None:
        for part in self.parts:
            part.look()

    def close(self) -> None:
        for part in self.parts:
            part.close()

    def taken_beside(self, place: int) -> Callable[[], float]:
        """The share of what may wait that all but one of them hold."""

        others: list[Batcher] = []
        pictures: list[Predictions] = []

        def taken() -> float:  # asked for every request: what waits is looked at where it is kept
            if not others:
                parts = [part for each, part in enumerate(self.parts) if each != place]
                others.extend([part.batcher for part in parts])
                pictures.extend([part for part in parts if part.pictures is not None])
            share = 0.0
            for batcher in others:
                if batcher.waiting_rows:
                    share += batcher.waiting_rows / batcher.burst_rows
            for part in pictures:
                share += (part.waiting_rows - part.batcher.waiting_rows) / part.batcher.burst_rows
            return share

        return taken


def apart(project: Project, manifest: Manifest) -> Project:
    """The settings of a model that stands beside the first, whose the shapes of replies and the shadow are."""
    replace = msgspec.structs.replace
    store = replace(project.store, views={})
    if store.inputs == "named":
        named = tuple(name for name in store.input_columns if name in manifest.signature.names)
        store = replace(store, input_columns=named, inputs="named" if named else "off")
    return replace(project, reply=Reply(), serve=replace(project.serve, shadow=Shadow()), store=store)


def open_journals(
    loaded: Loaded, project: Project, state: Path, tell: Tell, *, desk: bool = True, lane: int = 0
) -> Journal:
    """The journal of each model, as `open_journal` opens one; together they take the room that the spool may."""
    if not loaded.others:
        return open_journal(project, loaded.manifest, state, tell, desk=desk, lane=lane)
    limit = max(project.store.spool_limit // len(loaded.all), LEAST_SPOOL)
    whole = msgspec.structs.replace(project, store=msgspec.structs.replace(project.store, spool_limit=limit))
    opened: list[Journal] = []
    with contextlib.ExitStack() as stack:
        for place, each in enumerate(loaded.all):
            own = apart(whole, each.manifest) if place else whole
            journal = open_journal(own, each.manifest, state, tell, desk=desk, lane=place * LANES + lane)
            stack.callback(journal.close)
            opened.append(journal)
        stack.pop_all()
    return Journals(opened)


class Journals:
    """Those of several models; what belongs to none of them in particular is done by the first."""

    def __init__(self, each: list[Journal]) -> None:
        self.each, first = tuple(each), each[0]
        self.where, self.read = first.where, first.read
        self.append, self.append_feedback, self.commit = first.append, first.append_feedback, first.commit

    def start(self) -> None:
        for journal in self.each:
            journal.start()

    def counts(self) -> Counts:
        """What became of the rows of all."""
        parts = [msgspec.structs.astuple(journal.counts()) for journal in self.each]
        return Counts(*map(sum, zip(*parts, strict=True)))

    def refusing(self) -> bool:
        return any(journal.refusing() for journal in self.each)

    def close(self) -> None:
        with contextlib.ExitStack() as stack:
            for journal in self.each:
                stack.callback(journal.close)
