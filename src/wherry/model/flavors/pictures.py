"""Pictures, classified by an ONNX graph on as many threads as this process may use cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from wherry.contract.manifest import Manifest
from wherry.contract.signature import OutputSpec
from wherry.contract.wire import Outputs, Row
from wherry.errors import BundleUnreadable
from wherry.model import bundle
from wherry.model.flavors.onnx import session, shared
from wherry.model.pictures import Studio

# Set by whoever starts the process, for all its numerical libraries, before they are imported.
THREADS = "OMP_NUM_THREADS"


def load(path: Path, manifest: Manifest) -> PictureScorer:
    """The scorer of a graph in a verified bundle. Raises BundleUnreadable, also when it refers to other files."""
    column, output = manifest.signature.picture, manifest.signature.output
    if column is None or column.prepare is None or not output.classes:
        raise BundleUnreadable("manifest.json", "has a model of pictures, and does not say how they are prepared")
    return PictureScorer(bundle.model_bytes(path, manifest), Studio(column.prepare), output, str(path))


class PictureScorer:
    """Answers with a graph of one input, n pictures, whose first output has a number for each class."""

    def __init__(self, data: bytes, studio: Studio, output: OutputSpec, path: str = "model.onnx") -> None:
        self.studio, self.output, self.path = studio, output, path
        self.threads = max(1, int(os.environ.get(THREADS) or 1))
        self.data: bytes | None = data
        if self.threads == 1:
            self.graph  # noqa: B018  # read now: what it takes in memory is shared by processes that are forked from here

    @cached_property
    def graph(self) -> Any:
        """The session. With several threads it is made when it is first asked: threads do not survive a fork."""
        data, self.data = self.data, None
        return session(data or b"", self.path, self.threads)

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        """Cells are base64, bytes, or pictures that are ready. Raises PictureRefused for one that is none."""
        found = self.raw(rows)
        shares = shared(found) if self.output.softmax else found
        classes = self.output.classes
        return Outputs([classes[place] for place in shares.argmax(axis=1).tolist()], shares.tolist())

    def raw(self, rows: Sequence[Row]) -> Any:
        """n x classes: what the graph answers, as it stands.

        Each picture is a call of its own, several at a time: calls side by side use the cores better than the threads
        of one call do, and several pictures in one call cost what they cost alone.
        """
        graph = self.graph
        taken, given = graph.get_inputs()[0].name, graph.get_outputs()[0].name

        def answer(row: Row) -> Any:
            return graph.run([given], {taken: self.studio.ready(row[0]).numbers[np.newaxis]})[0]

        return np.concatenate(side_by_side(answer, rows, self.threads))


def side_by_side(work: Callable[[Row], Any], rows: Sequence[Row], threads: int) -> list[Any]:
    """What `work` makes of each row, on so many threads; raises what it raised for the first row that it could not do.

    Threads are begun for each call: none is there to survive a fork, and one that hangs keeps no process from ending.
    """
    found: list[Any] = [None] * len(rows)
    places = iter(range(len(rows)))  # the next row to be done, whoever asks

    def share() -> None:
        for place in places:
            try:
                found[place] = work(rows[place])
            except Exception as error:  # noqa: BLE001  # raised below, where somebody waits for it
                found[place] = error

    others = [threading.Thread(target=share, daemon=True) for _ in range(min(threads, len(rows)) - 1)]
    for each in others:
        each.start()
    share()
    for each in others:
        each.join()
    for each in found:
        if isinstance(each, Exception):
            raise each
    return found
