"""A bundle loaded once, and what proves that a process may answer with it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wherry.contract.manifest import Manifest
from wherry.contract.wire import Row
from wherry.server.pictures import BATCH
from wherry.server.predictor import Cost, measure
from wherry.server.problems import example

if TYPE_CHECKING:
    from wherry.model.loaded import Model

MOST_MEASURED = 64  # rows in one call, when it is measured what they cost


class Proof(msgspec.Struct, frozen=True):
    """That the model answered as when it was packed, and what an answer costs. golden: how many rows said so."""

    golden: int
    cost: Cost
    seconds: float

    @property
    def said(self) -> str:
        if self.golden:
            return f"{self.golden} golden rows answered as when it was packed"
        return "no golden rows: one warm-up answer, which is finite, is all that was proven"


class Loaded:
    """A model that was read and verified. It has not answered anything yet: pools of threads start with the first
    answer, and would not survive a fork.
    """

    def __init__(self, bundle: Path, name: str = "", digest: str = "") -> None:
        """name: what it answers to; empty: as it was packed. digest: as `load` has it."""
        from wherry.model.loaded import load  # numpy comes with it: after the number of threads is set

        start = time.perf_counter()
        self.model: Model = load(bundle, digest)
        if name:
            self.model.manifest = msgspec.structs.replace(self.model.manifest, name=name)
        self.manifest: Manifest = self.model.manifest
        self.seconds = time.perf_counter() - start

    def prove(self, cost: Cost | None = None) -> Proof:
        """Have the golden rows answered, and measure what that costs unless it is known.

        Raises GoldenDiffers; without golden rows, ModelFailed unless an answer is finite.
        """
        start = time.perf_counter()
        golden = self.model.golden
        if golden.rows:
            self.model.replay()
        else:
            self.model.score([warm_row(self.manifest)])
        if cost is None:
            rows = list(golden.rows) or [warm_row(self.manifest)]
            most = MOST_MEASURED if self.manifest.signature.picture is None else BATCH
            cost = measure(self.model, in_order(rows, golden.columns, self.manifest), most=most)
        return Proof(len(golden.rows), cost, time.perf_counter() - start)


def warm_row(manifest: Manifest) -> Row:
    return tuple(example(manifest.signature).values())


def in_order(rows: list[Row], columns: tuple[str, ...], manifest: Manifest) -> list[Row]:
    """Golden rows as the signature orders them."""
    if not columns:
        return rows
    return manifest.signature.check([dict(zip(columns, row, strict=True)) for row in rows]).rows
