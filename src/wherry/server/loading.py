"""A bundle loaded once, and what proves that a process may answer with it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from wherry.contract.chains import distinct
from wherry.contract.defaults import filled, unfit
from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import Manifest
from wherry.contract.project import Project
from wherry.contract.wire import Cell, Row
from wherry.errors import SettingsRefused
from wherry.server.metrics import Metrics, model_labels
from wherry.server.pictures import BATCH
from wherry.server.predictor import Cost, Predictor, measure
from wherry.server.problems import example

if TYPE_CHECKING:
    from wherry.model.loaded import Model

MOST_MEASURED = 64  # rows in one call, when it is measured what they cost


class Proof(msgspec.Struct, frozen=True):
    """That the model answered as when it was packed, and what an answer costs. golden: how many rows said so.

    others: the same of the models that are served beside it. steps: of a chain, how many there are.
    """

    golden: int
    cost: Cost
    seconds: float
    others: tuple[Proof, ...] = ()
    steps: int = 0

    @property
    def said(self) -> str:
        if self.steps:
            return f"its {self.steps} steps are proven above, and answered one after the other"
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
        self.folder = bundle
        self.model: Model = load(bundle, digest)
        if name:
            self.model.manifest = msgspec.structs.replace(self.model.manifest, name=name)
        self.manifest: Manifest = self.model.manifest
        self.seconds = time.perf_counter() - start
        self.begun = time.time_ns()  # since when is counted: before the first fork, and so the same in all workers
        self.others: tuple[Loaded, ...] = ()  # what is served beside it

    @property
    def all(self) -> tuple[Loaded, ...]:
        """Every model of the service; this one first."""
        return (self, *self.others)

    @property
    def labels(self) -> str:
        """What tells this model's counts from those of others, where there are others."""
        return model_labels(self.manifest.name, self.manifest.version) if self.others else ""

    def fill(self, defaults: Mapping[str, Cell]) -> None:
        """Have records leave out the columns of `defaults`. Raises SettingsRefused for those that do not fit."""
        manifest = self.manifest
        if wrong := tuple(unfit(defaults, manifest.signature)):
            raise SettingsRefused(wrong, "the model and the settings")
        manifest = msgspec.structs.replace(manifest, signature=filled(manifest.signature, defaults))
        self.manifest = self.model.manifest = manifest

    def predictor(self, metrics: Metrics) -> Predictor:
        """What answers; what it counts by itself goes to `metrics`."""
        return self.model

    def prove(self, cost: Cost | None = None, others: Sequence[Proof] = ()) -> Proof:
        """Have the golden rows answered, and measure what that costs unless it is known; of the others likewise.

        Raises GoldenDiffers; without golden rows, ModelFailed unless an answer is finite.
        """
        start = time.perf_counter()
        golden = self.model.golden
        if golden.rows:
            self.model.replay()
        else:
            self.model.score([warm_row(self.manifest)])
        if cost is None:
            rows, most = sample(self.manifest, golden)
            cost = measure(self.model, rows, most=most)
        seconds, known = time.perf_counter() - start, [each.cost for each in others]
        beside = [each.prove(it) for each, it in zip_longest(self.others, known[: len(self.others)])]
        return Proof(len(golden.rows), cost, seconds, tuple(beside))


def beside(first: Loaded, project: Project) -> Loaded:
    """`first`, and beside it the models that its bundle holds, and those that the project declares.

    Raises as `Loaded` does, SettingsRefused, BundlesClash.
    """
    from wherry.model.bundle import inner

    if project.serve.defaults:
        first.fill(project.serve.defaults)
    chain = project.serve.chain
    further = [*inner(first.folder, first.manifest), *map(Path, project.serve.bundles)]
    first.others = tuple(Loaded(folder) for folder in further)
    if chain.steps:
        from wherry.server.chain import LoadedChain

        first.others = (*first.others, LoadedChain(chain, first.all))
    distinct([each.manifest for each in first.all], [str(each.folder) for each in first.all])
    return first


def sample(manifest: Manifest, golden: GoldenRows) -> tuple[list[Row], int]:
    """Rows to measure a model with, and how many of them in one call."""
    rows = in_order(list(golden.rows) or [warm_row(manifest)], golden.columns, manifest)
    return rows, MOST_MEASURED if manifest.signature.picture is None else BATCH


def warm_row(manifest: Manifest) -> Row:
    return tuple(example(manifest.signature).values())


def in_order(rows: list[Row], columns: tuple[str, ...], manifest: Manifest) -> list[Row]:
    """Golden rows as the signature orders them."""
    if not columns:
        return rows
    return manifest.signature.check([dict(zip(columns, row, strict=True)) for row in rows]).rows
