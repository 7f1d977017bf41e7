"""ONNX graphs, answered by ONNX Runtime on one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from wherry.contract.manifest import Manifest
from wherry.contract.signature import OutputSpec, Signature
from wherry.contract.wire import Cell, Outputs, Row
from wherry.errors import BundleUnreadable
from wherry.model import bundle
from wherry.model.matrix import matrix
from wherry.model.reading.graphs import has_external_data

DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
# A missing text: graphs have no null. Of the private use area, so that no honest text is it.
MISSING_TEXT = "\ue000missing"
QUIET = 3  # errors only: what ONNX Runtime warns about, a user cannot mend


def load(path: Path, manifest: Manifest) -> OnnxScorer:
    """The scorer of a graph in a verified bundle. Raises BundleUnreadable, also when it refers to other files."""
    return OnnxScorer(bundle.model_bytes(path, manifest), manifest.signature, str(path))


class OnnxScorer:
    """Answers with a graph whose first output is the prediction and whose second, if any, the probabilities.

    Its inputs are either one 2-D tensor with all columns, or one n x 1 tensor a column under the column's name.
    """

    def __init__(self, data: bytes, signature: Signature, path: str = "model.onnx") -> None:
        graph = session(data, path)
        self.feed = feeder(graph.get_inputs(), signature, path)
        output = signature.output
        names = [each.name for each in graph.get_outputs()]
        self.names = names[: 2 if output.probabilities and output.width == 1 else 1]
        self.run = graph.run
        self.decode = decoder(output)

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        found = self.run(self.names if probabilities else self.names[:1], self.feed(rows))
        return Outputs(self.decode(found[0]), found[1].tolist() if len(found) > 1 else None)


def session(data: bytes, path: str, threads: int = 1) -> Any:
    """What answers with a graph. Raises BundleUnreadable, also when the graph refers to other files."""
    if has_external_data(data):
        raise BundleUnreadable(path, "keeps part of its data in other files, which is never read")
    onnxruntime.disable_telemetry_events()  # what is served is nobody else's business
    try:
        return onnxruntime.InferenceSession(data, options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no class of its own to catch
        raise BundleUnreadable(path, f"is no graph that ONNX Runtime reads: {error}") from error


def options(threads: int = 1) -> Any:
    """Threads that sleep when there is nothing to do. One for small graphs: more would fight the service itself."""
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = QUIET
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chosen.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return chosen


def feeder(inputs: Sequence[Any], signature: Signature, path: str) -> Callable[[Sequence[Row]], dict[str, Any]]:
    """What makes a graph's inputs of rows."""
    dtypes = {each.name: DTYPES.get(each.type) for each in inputs}
    if None in dtypes.values():
        raise BundleUnreadable(path, f"has an input of a type that no column has: {[each.type for each in inputs]}")
    if len(inputs) == 1 and (len(signature.columns) > 1 or inputs[0].name not in signature.names):
        only, dtype = next(iter(dtypes.items()))
        width = len(signature.columns)
        if dtype in (np.float32, np.float64):
            return lambda rows: {only: matrix(rows).astype(dtype).reshape(len(rows), width)}
        return lambda rows: {only: np.array(rows, dtype=dtype).reshape(len(rows), width)}
    places = {name: place for place, name in enumerate(signature.names)}
    if not set(dtypes) <= set(places):
        raise BundleUnreadable(path, f"has inputs that are no columns: {sorted(set(dtypes) - set(places))}")
    wanted = [(name, places[name], dtype) for name, dtype in dtypes.items()]

    def columns(rows: Sequence[Row]) -> dict[str, Any]:
        by_column = list(zip(*rows, strict=True))
        return {name: column(by_column[place], dtype) for name, place, dtype in wanted}

    return columns


def column(cells: Sequence[Cell], dtype: Any) -> Any:
    """One n x 1 tensor."""
    if dtype is np.object_:
        cells = [MISSING_TEXT if cell is None else cell for cell in cells]
    return np.array(cells, dtype=dtype).reshape(-1, 1)


def decoder(output: OutputSpec) -> Callable[[Any], list[Any]]:
    """What makes plain answers of a graph's first output."""
    if output.kind == "number":
        return numbers if output.width == 1 else lambda found: [[float(x) for x in row] for row in found.tolist()]
    if output.kind == "cluster" or all(type(label) in (int, str) for label in output.classes):
        return lambda found: found.ravel().tolist() if output.width == 1 else found.tolist()
    # A graph has no labels that are booleans or fractions: it answers with whole numbers for them.
    labels = {int(label): label for label in output.classes if label is not None}
    return lambda found: [labels.get(int(each)) for each in found.ravel().tolist()]


def numbers(found: Any) -> list[Any]:
    return found.astype(np.float64).ravel().tolist()  # type: ignore[no-any-return]  # an array, as ONNX Runtime says
