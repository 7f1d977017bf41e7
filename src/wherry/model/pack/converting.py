"""Packing a model of PyTorch or Keras: made an ONNX graph, which is kept only when it is proven to answer like it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wherry.contract.events import Tell
from wherry.contract.signature import Signature
from wherry.contract.wire import Row
from wherry.errors import ModelUnknown, SampleUnfit
from wherry.model.flavors.converted import Converted
from wherry.model.flavors.onnx import OnnxScorer, Run
from wherry.model.pack import graphs
from wherry.model.pack.keeping import Unconverted
from wherry.model.pack.subject import Given
from wherry.model.proving.convert import Stored
from wherry.model.reading.files import ModelFile
from wherry.model.reading.kinds import CALLED, Kind

if TYPE_CHECKING:
    from wherry.model.tables.sampled import Described

FLAVORS: dict[Kind, str] = {"pt2": "torch", "torchscript": "torch", "keras": "keras"}


class Program:
    """Such a model as a Subject; the library is asked once the sample is there."""

    def __init__(self, file: ModelFile, labels: tuple[str, ...], tell: Tell) -> None:
        self.file, self.labels, self.tell = file, labels, tell
        with quiet():
            self.flavor = flavor_of(file.kind)
        self.name = CALLED[file.kind]
        self.inner: Unconverted | None = None

    def describe(self, given: Given) -> Described:
        """Raises ModelUnknown, SampleUnfit, ExtraMissing."""
        if given.sample is None:
            reason = "is kept as an ONNX graph, and without rows nothing shows that it answers alike"
            raise SampleUnfit(self.file.path, reason, "give rows like those it was trained on: --data FILE")
        width = np.shape(given.sample)[1]
        with quiet():
            made: Converted = self.flavor.converted(self.file, width)
        self.name = made.name
        kept = graphs.kept(
            made.graph,
            self.file.path,
            self.labels,
            name=made.name,
            original=lambda signature: Original(made, signature, self.file.path),
            otherwise=made.otherwise,
            tell=self.tell,
        )
        self.inner = Unconverted(kept)
        return self.inner.describe(given)

    def store(self, signature: Signature, rows: Sequence[Row], *, allow_pickle: bool, tell: Tell) -> Stored:
        if self.inner is None:
            raise RuntimeError("described first, then stored")
        with quiet():
            return self.inner.store(signature, rows, allow_pickle=allow_pickle, tell=tell)


class Original(OnnxScorer):
    """Answers as the library does, with what the graph is fed and by how the graph's answers are read."""

    def __init__(self, made: Converted, signature: Signature, path: str) -> None:
        super().__init__(made.graph, signature, path, run=running(made, path))

    def gaps(self, rows: Sequence[Row]) -> list[float]:
        """How far the best class of each row is from the second best."""
        shares = self.score(rows).probabilities
        if shares is None:
            return [float("inf")] * len(rows)
        best = [sorted(each, reverse=True) for each in shares]
        return [each[0] - each[1] for each in best]


def running(made: Converted, path: str) -> Run:
    """The library in a graph's place."""
    graph = graphs.session(made.graph, path)
    inputs, outputs = ([each.name for each in side] for side in (graph.get_inputs(), graph.get_outputs()))

    def run(names: list[str], given: dict[str, Any]) -> list[Any]:
        found = made.asks([given[name] for name in inputs])
        if len(found) != len(outputs):
            reason = f"answers with {len(found)} tensors, and the graph made of it with {len(outputs)}"
            raise ModelUnknown(path, made.name, reason, made.otherwise)
        return [found[outputs.index(name)] for name in names]

    return run


def flavor_of(kind: Kind) -> Any:
    """The module that has the library. Keras calculates by whatever library is named; that is PyTorch where it is the
    one that is there and nobody names another."""
    if kind == "keras" and importlib.util.find_spec("tensorflow") is None:
        os.environ.setdefault("KERAS_BACKEND", "torch")
    return importlib.import_module(f"wherry.model.flavors.{FLAVORS[kind]}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what these libraries tell of themselves while they convert: the answers are compared anyhow."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
