"""ONNX graphs, answered by ONNX Runtime on one thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime

from wherry.contract.manifest import Manifest
from wherry.contract.signature import OutputSpec, Signature
from wherry.contract.wire import Cell, Outputs, Row
from wherry.errors import BundleUnreadable
from wherry.model import bundle
from wherry.model.matrix import classified, matrix
from wherry.model.reading.graphs import has_external_data

DTYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
# A missing text: graphs have no null. Of the private use area, so that no honest text is it.
MISSING_TEXT = "\ue000missing"
QUIET = 4  # an error is raised, which is enough; and what ONNX Runtime warns about, a user cannot mend
NOISE = (
    re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : "),
    re.compile(r"Load model from .*? failed:"),
    re.compile(r"\S*/onnxruntime/\S+ (?:\S+ )??(?=[A-Z])"),
    re.compile(r".* Status Message: "),
)
FRACTIONS = (np.float16, np.float32, np.float64)

Run: TypeAlias = Callable[[list[str], dict[str, Any]], list[Any]]


def load(path: Path, manifest: Manifest) -> OnnxScorer:
    """The scorer of a graph in a verified bundle. Raises BundleUnreadable, also when it refers to other files."""
    return OnnxScorer(bundle.model_bytes(path, manifest), manifest.signature, str(path))


class OnnxScorer:
    """Answers with a graph: a label and perhaps a number for each class, or numbers.

    Its inputs are one 2-D tensor with all columns, one n x 1 tensor a column under the column's name, or several
    tensors that share the columns out, in their order. A graph for one row at a time is asked row by row.
    `run` answers in the graph's place: what the graph was made of, while the two are held against each other.
    """

    def __init__(self, data: bytes, signature: Signature, path: str = "model.onnx", run: Run | None = None) -> None:
        graph = session(data, path)
        inputs = graph.get_inputs()
        self.feed = feeder(inputs, signature, path)
        self.names, self.decode = decoder(graph.get_outputs(), signature.output)
        self.shares = signature.output.probabilities and len(self.names) == 2
        self.run = run or graph.run
        if alone(inputs):
            self.run = row_by_row(self.run)

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        names = self.names[:1] if self.shares and not probabilities else self.names
        return self.decode(self.run(names, self.feed(rows)))


def session(data: bytes, path: str, threads: int = 1) -> Any:
    """What answers with a graph. Raises BundleUnreadable, also when the graph refers to other files."""
    if has_external_data(data):
        raise BundleUnreadable(path, "keeps part of its data in other files, which is never read")
    onnxruntime.disable_telemetry_events()  # what is served is nobody else's business
    try:
        return onnxruntime.InferenceSession(data, options(threads), providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has no class of its own to catch
        raise BundleUnreadable(path, f"is no graph that ONNX Runtime reads: {error}") from error


def why(said: str) -> tuple[str, str]:
    """What ONNX Runtime says of a graph that it does not read, in short, and what to do about it."""
    here, reason = f"ONNX Runtime {onnxruntime.__version__}", short(said)
    if "IR version" in said or "opset" in said.lower():
        hint = "pip install --upgrade onnxruntime, or export it for an older opset (opset_version, target_opset)"
        return f"is of a newer version of ONNX than {here} reads: {reason}", hint
    if "is not a registered function/op" in said or "No Op registered" in said:
        return f"has an operator that {here} does not have: {reason}", "export it with ONNX's own operators alone"
    if "NOT_IMPLEMENTED" in said:
        return f"has an operator that {here} cannot calculate: {reason}", "export it in float32"
    return f"is not read by {here}: {reason}", "export it again, and look at it: onnx.checker.check_model(FILE)"


def short(said: str) -> str:
    """The first line of what ONNX Runtime says, without its codes and the place in its sources."""
    first = (said.strip().splitlines() or ["it does not say why"])[0]
    for noise in NOISE:
        first = noise.sub("", first)
    return first[:300]


def options(threads: int = 1) -> Any:
    """Threads that sleep when there is nothing to do. One for small graphs: more would fight the service itself."""
    chosen = onnxruntime.SessionOptions()
    chosen.intra_op_num_threads = threads
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = QUIET
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    chosen.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return chosen


def alone(inputs: Sequence[Any]) -> bool:
    """Whether a graph was exported for one row at a time."""
    return any(each.shape and each.shape[0] == 1 for each in inputs)


def row_by_row(run: Run) -> Run:
    """The same, for a graph that takes no more than one row."""

    def asked(names: list[str], given: dict[str, Any]) -> list[Any]:
        count = len(next(iter(given.values())))
        each = [run(names, {name: cells[row : row + 1] for name, cells in given.items()}) for row in range(count)]
        return [stacked(found) for found in zip(*each, strict=True)]

    return asked


def stacked(found: Sequence[Any]) -> Any:
    """The answers to one row each as the answer to all of them."""
    if isinstance(found[0], list):  # ZipMap's
        return [one for each in found for one in each]
    return np.concatenate([np.reshape(each, (1, -1)) for each in found])


def width_of(taken: Any) -> int:
    """How many columns an input takes; 0 where it takes any number."""
    if len(taken.shape) < 2:
        return 1
    return taken.shape[1] if isinstance(taken.shape[1], int) else 0


def feeder(inputs: Sequence[Any], signature: Signature, path: str) -> Callable[[Sequence[Row]], dict[str, Any]]:
    """What makes a graph's inputs of rows."""
    dtypes = {each.name: DTYPES.get(each.type) for each in inputs}
    if None in dtypes.values():
        raise BundleUnreadable(path, f"has an input of a type that no column has: {[each.type for each in inputs]}")
    places = {name: place for place, name in enumerate(signature.names)}
    if len(inputs) == 1 and (len(places) > 1 or inputs[0].name not in places) and len(inputs[0].shape) > 1:
        only, dtype = next(iter(dtypes.items()))
        width = len(signature.columns)
        if dtype in FRACTIONS:
            return lambda rows: {only: matrix(rows).astype(dtype).reshape(len(rows), width)}
        return lambda rows: {only: np.array(rows, dtype=dtype).reshape(len(rows), width)}
    flat = {each.name for each in inputs if len(each.shape) < 2}
    if set(dtypes) <= set(places):
        wanted = [(name, slice(places[name], places[name] + 1), dtype) for name, dtype in dtypes.items()]
    elif sum(map(width_of, inputs)) == len(places):
        ends = np.cumsum([width_of(each) for each in inputs]).tolist()
        starts = [0, *ends[:-1]]
        wanted = [(name, slice(*span), dtypes[name]) for name, *span in zip(dtypes, starts, ends, strict=True)]
    else:
        raise BundleUnreadable(path, f"has inputs that are no columns: {sorted(set(dtypes) - set(places))}")

    def columns(rows: Sequence[Row]) -> dict[str, Any]:
        by_column = list(zip(*rows, strict=True))
        made = {}
        for name, span, dtype in wanted:
            blocks = [column(cells, dtype) for cells in by_column[span]]
            tensor = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
            made[name] = tensor.ravel() if name in flat else tensor
        return made

    return columns


def column(cells: Sequence[Cell], dtype: Any) -> Any:
    """One n x 1 tensor."""
    if dtype is np.object_:
        cells = [MISSING_TEXT if cell is None else cell for cell in cells]
    return np.array(cells, dtype=dtype).reshape(-1, 1)


def decoder(outputs: Sequence[Any], spec: OutputSpec) -> tuple[list[str], Callable[[list[Any]], Outputs]]:
    """Which outputs of a graph are asked for, a label before the shares, and what makes answers of them."""
    names = [each.name for each in outputs]
    if spec.kind == "number" and spec.names and len(names) > 1:
        return names, lambda found: Outputs(np.concatenate([table(each) for each in found], axis=1).tolist())
    if spec.probabilities and spec.width == 1:
        shares = next((each.name for each in outputs if holds_shares(each)), "")
        label = next((name for name in names if name != shares), "")
        classes = list(spec.classes)
        if not label:  # numbers alone, whose classes somebody has named
            return [shares], lambda found: classified(likened(table(found[0]), softmax=spec.softmax), classes)
        plain = labels(spec)
        return [label, shares], lambda found: Outputs(
            plain(found[0]), listed(found[1], classes) if len(found) > 1 else None
        )
    plain = labels(spec)
    sole = next((each.name for each in outputs if spec.kind != "number" and not holds_shares(each)), names[0])
    return [sole], lambda found: Outputs(plain(found[0]))


def holds_shares(output: Any) -> bool:
    """Whether an output can be a number for each class: fractions, or what ZipMap makes of them."""
    return DTYPES.get(output.type) in FRACTIONS or output.type.startswith("seq(map(")


def listed(found: Any, classes: list[Cell]) -> list[list[float]]:
    """A number for each class, in their order."""
    if isinstance(found, list):  # ZipMap's
        return [[each[label] for label in classes] for each in found]
    return found.tolist()  # type: ignore[no-any-return]  # an array, as ONNX Runtime says


def table(found: Any) -> Any:
    """n x width float64 of an output."""
    return np.asarray(found, dtype=np.float64).reshape(len(found), -1)


def likened(found: Any, *, softmax: bool) -> Any:
    """n x classes as shares of one. Of a model that has one number for two classes, that is the second one's."""
    if found.shape[1] > 1:
        return shared(found) if softmax else found
    return 1 / (1 + np.exp(-found[:, 0])) if softmax else found[:, 0]


def shared(found: Any) -> Any:
    """Numbers of any size as shares of one, row by row."""
    grown = np.exp(found - found.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)


def labels(output: OutputSpec) -> Callable[[Any], list[Any]]:
    """What makes plain answers of an output that holds predictions."""
    if output.kind == "number":
        return numbers if output.width == 1 else lambda found: [[float(x) for x in row] for row in found.tolist()]
    if output.kind == "cluster" or all(type(label) in (int, str) for label in output.classes):
        return lambda found: found.ravel().tolist() if output.width == 1 else found.tolist()
    # A graph has no labels that are booleans or fractions: it answers with whole numbers for them.
    known = {int(label): label for label in output.classes if label is not None}
    return lambda found: [known.get(int(each)) for each in found.ravel().tolist()]


def numbers(found: Any) -> list[Any]:
    return found.astype(np.float64).ravel().tolist()  # type: ignore[no-any-return]  # an array, as ONNX Runtime says
