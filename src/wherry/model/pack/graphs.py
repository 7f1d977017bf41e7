"""An ONNX graph of a table's columns, as what packing keeps: what it takes is stated in it, what it answers is asked.

Nothing of it runs code. Graphs for pictures are packed in wherry.model.pack.pictures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wherry.contract.events import Note, Tell, silent
from wherry.contract.signature import ColumnType, OutputSpec, Signature
from wherry.contract.wire import Cell, Row
from wherry.errors import BundleUnreadable, DataUnreadable, ModelUnknown, ModelUnsafe, SampleUnfit, UsageRefused
from wherry.model.flavors import onnx
from wherry.model.flavors.kept import Kept, Truth
from wherry.model.proving.evidence import Reference
from wherry.model.reading.graph_head import head_of
from wherry.model.reading.graphs import has_external_data

FILE = "model.onnx"
MOST_ASKED = 4096  # rows whose answers say what an answer is
TYPES: dict[str, ColumnType] = {
    **dict.fromkeys(("tensor(float)", "tensor(double)", "tensor(float16)"), "number"),
    **dict.fromkeys(("tensor(int64)", "tensor(int32)"), "integer"),
    "tensor(string)": "string",
    "tensor(bool)": "boolean",
}
# How far, as a share of itself, an answer may lie from itself among other rows, or on another machine.
PRECISION = {"tensor(double)": 1e-6, "tensor(float16)": 1e-2}
SINGLE = 1e-4
DYNAMIC = (
    "export it with an open first axis: dynamic_shapes=({0: torch.export.Dim.DYNAMIC},) in PyTorch, [None, n] in "
    "initial_types of skl2onnx"
)
Original = Callable[[Signature], Reference]


def refuse_external(content: bytes, path: str) -> None:
    """Raises ModelUnsafe for a graph that keeps tensors in other files, wherever they lie."""
    if has_external_data(content):
        hint = f"""python -c 'import onnx; onnx.save(onnx.load("{path}"), "{path}")' puts all of it into the file"""
        raise ModelUnsafe(path, "keeps part of its weights in other files", hint)


def session(content: bytes, path: str) -> Any:
    """What answers with a graph that somebody brings. Raises ModelUnsafe, ModelUnknown."""
    head_of(content, path)  # of what is cut off, nothing else can be said
    refuse_external(content, path)
    try:
        return onnx.session(content, path)
    except BundleUnreadable as error:
        reason, hint = onnx.why(str(error.__cause__))
        raise ModelUnknown(path, "this ONNX model", reason, hint) from error


def kept(
    content: bytes,
    path: str,
    labels: tuple[str, ...] = (),
    *,
    name: str = "ONNX graph",
    original: Original | None = None,
    otherwise: str = "",
    tell: Tell = silent,
) -> Kept:
    """What packing keeps of a graph. labels: the classes that its numbers are of, and tell is told how they are read;
    original: what it was made of, and otherwise: what to do where that answers differently.

    Raises ModelUnknown, ModelUnsafe; UsageRefused for a graph of pictures.
    """
    graph = session(content, path)
    inputs, outputs = graph.get_inputs(), graph.get_outputs()
    refuse_inputs(inputs, path)
    refuse_outputs(outputs, path)
    widths = [onnx.width_of(each) for each in inputs]
    several = len(inputs) > 1
    names = tuple(
        named
        for each, width in zip(inputs, widths, strict=True)
        for named in ([each.name] if width == 1 else [f"{each.name}_{place}" for place in range(width)])
    )
    types = tuple(TYPES[each.type] for each, width in zip(inputs, widths, strict=True) for _ in range(width))
    answers = Answers(content, path, outputs, labels, tell)
    return Kept(
        name=name,
        form="onnx",
        flavor="onnx",
        file=FILE,
        data=content,
        names=names if several else None,
        count=None if several else widths[0] or None,
        types=types or (TYPES[inputs[0].type],),
        reads=answers.read,
        precision=max(PRECISION.get(each.type, SINGLE) for each in (*inputs, *outputs)),
        scorer=lambda signature: onnx.OnnxScorer(content, signature, path),
        original=original,
        otherwise=otherwise,
    )


def refuse_inputs(inputs: Sequence[Any], path: str) -> None:
    """Raises ModelUnknown for inputs that no columns of a table fill."""
    said = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)[:300]
    if len(inputs) == 1 and len(inputs[0].shape) == 4:
        raise UsageRefused(
            f"{path} takes pictures: {said}", hint="--labels FILE, with the name of each class on a line"
        )
    for each in inputs:
        if each.type not in TYPES:
            hint = "cells are float, double, float16, int64, int32, bool or string: export it with a Cast in front"
            raise ModelUnknown(path, "the graph", f"takes {each.name} as {each.type}, which no column has", hint)
        if len(each.shape) not in (1, 2):
            hint = "a row is one value a column: [n, columns], or [n, 1] for each column"
            raise ModelUnknown(path, "the graph", f"does not take rows of a table: {said}", hint)
        if isinstance(each.shape[0], int) and each.shape[0] != 1:
            raise ModelUnknown(path, "the graph", f"takes {each.shape[0]} rows at once, and no other number", DYNAMIC)
        if len(inputs) > 1 and not onnx.width_of(each):
            hint = "state the number of columns of each input where it is exported"
            raise ModelUnknown(path, "the graph", f"does not say how many columns {each.name} has", hint)


def refuse_outputs(outputs: Sequence[Any], path: str) -> None:
    """Raises ModelUnknown for outputs that no reply carries."""
    for each in outputs:
        if each.type not in TYPES and not each.type.startswith("seq(map("):
            hint = "an answer is a number, a text, true or false: export it with a Cast behind"
            raise ModelUnknown(path, "the graph", f"answers {each.name} as {each.type}", hint)
        if each.type in TYPES and len(each.shape) > 2:
            hint = "one number, or one list of numbers, a row: flatten what it returns"
            raise ModelUnknown(path, "the graph", f"answers {each.name} in the shape {each.shape}", hint)


class Answers:
    """What a graph answers, as it shows when it is asked."""

    def __init__(self, content: bytes, path: str, outputs: Sequence[Any], labels: tuple[str, ...], tell: Tell) -> None:
        self.content, self.path, self.outputs, self.labels, self.tell = content, path, outputs, labels, tell

    def read(self, signature: Signature, rows: Sequence[Row], truth: Truth) -> OutputSpec:
        """What an answer is. Raises ModelUnknown, SampleUnfit, DataUnreadable."""
        found = self.asked(signature, rows[:MOST_ASKED])
        label = [place for place, each in enumerate(self.outputs) if not onnx.holds_shares(each)]
        if len(found) == 2 and len(label) == 1 and width(found[1 - label[0]]) > 1:
            return self.classes(found[label[0]], found[1 - label[0]], truth)
        if len(found) == 1 and self.labels:
            return self.named(onnx.table(found[0]))
        if self.labels:
            hint = "leave --labels out, or export the graph with one output"
            raise ModelUnknown(self.path, "the graph", f"has {len(found)} outputs, and labels name one", hint)
        kinds = [TYPES.get(each.type, "other") for each in self.outputs]
        if len(found) == 1 and kinds[0] in ("integer", "string", "boolean") and width(found[0]) == 1:
            return OutputSpec("class", TYPES[self.outputs[0].type])
        if {"string", "other"} & set(kinds):
            said = ", ".join(f"{each.name} {each.type}" for each in self.outputs)
            hint = "a label and a number for each class, or numbers alone: export it with the outputs that are wanted"
            raise ModelUnknown(self.path, "the graph", f"answers with {said}, which no one answer holds", hint)
        widths = [width(each) for each in found]
        if len(found) == 1:
            return OutputSpec("number", "number", width=widths[0])
        names = [
            name
            for each, wide in zip(self.outputs, widths, strict=True)
            for name in ([each.name] if wide == 1 else [f"{each.name}_{place}" for place in range(wide)])
        ]
        return OutputSpec("number", "number", width=len(names), names=tuple(names))

    def asked(self, signature: Signature, rows: Sequence[Row]) -> list[Any]:
        """Every output for these rows. Raises SampleUnfit, ModelUnknown."""
        asking = onnx.OnnxScorer(self.content, signature, self.path)
        names = [each.name for each in self.outputs]
        try:
            found = asking.run(names, asking.feed(rows))
        except Exception as error:  # whatever ONNX Runtime says of the user's data
            said = onnx.short(str(error))
            if len(rows) > 1 and self.answers_one(asking, rows[0]):
                reason = f"answers one row, and not {len(rows)} at once ({said})"
                raise ModelUnknown(self.path, "the graph", reason, DYNAMIC) from error
            hint = "give rows as the model takes them, with --data"
            raise SampleUnfit(self.path, f"does not take the rows of the sample: {said}", hint) from error
        for each, name in zip(found, names, strict=True):
            shape = (len(each),) if isinstance(each, list) else each.shape
            if len(shape) > 2 or not shape or shape[0] != len(rows):
                reason = f"answers {len(rows)} rows with {name} in the shape {tuple(shape)}"
                raise ModelUnknown(
                    self.path, "the graph", reason, "one answer for each row, the rows on the first axis"
                )
        return found

    def answers_one(self, asking: onnx.OnnxScorer, row: Row) -> bool:
        try:
            asking.run(asking.names, asking.feed([row]))
        except Exception:  # noqa: BLE001  # whatever it says, it does not
            return False
        return True

    def named(self, found: Any) -> OutputSpec:
        """Classes that somebody has named, of one number each; of two, the second one's may stand alone."""
        if len(self.labels) not in ({found.shape[1]} if found.shape[1] > 1 else {2}):
            reason = f"has {len(self.labels)} labels, and the graph answers with {found.shape[1]} numbers"
            raise DataUnreadable(self.path, reason, "one line for each class, in their order")
        softmax = not probable(found)
        self.tell(Note(self.reading(found, softmax=softmax)))
        return OutputSpec("class", "string", self.labels, probabilities=True, softmax=softmax)

    def reading(self, found: Any, *, softmax: bool) -> str:
        """As what numbers are read that somebody gave names of classes."""
        seen = f"on the sample they lie from {found.min():.3g} to {found.max():.3g}"
        if found.shape[1] > 1:
            how = "logits, of which softmax makes probabilities" if softmax else "probabilities"
            return f"the graph's {found.shape[1]} numbers are read as {how}; {seen}"
        if softmax:
            how = f"logits: above 0 is {self.labels[1]}, and sigmoid makes its probability"
        else:
            how = f"probabilities of {self.labels[1]}, above 0.5 of which it is the answer"
        return f"the graph's numbers, one a row, are read as {how}; {seen}"

    def classes(self, label: Any, shares: Any, truth: Truth) -> OutputSpec:
        """A label, and a number for each class."""
        said = np.ravel(label).tolist()
        kind: ColumnType = "string" if isinstance(said[0], str) else "boolean" if said[0] is True else "integer"
        if isinstance(shares, list):  # ZipMap says which is whose
            classes: tuple[Cell, ...] | None = tuple(shares[0])
            shares = np.array(onnx.listed(shares, list(shares[0])))
        else:
            classes = self.in_order(said, shares, truth)
        if not probable(onnx.table(shares)):
            return OutputSpec("class", kind)
        if classes is None:
            hint = (
                "--data with rows of every class, and --target COLUMN; or --labels FILE, a class a line in their order"
            )
            raise ModelUnknown(self.path, "the graph", "does not say which of its probabilities is whose", hint)
        return OutputSpec("class", kind, classes, probabilities=True)

    def in_order(self, said: list[Any], shares: Any, truth: Truth) -> tuple[Cell, ...] | None:
        """The classes in the order of their shares: the label that goes with the largest share of each place."""
        count = shares.shape[1]
        best = shares.argmax(axis=1).tolist()
        seen: dict[int, Cell] = {}
        for place in set(best):
            [(label, _)] = Counter(each for each, at in zip(said, best, strict=True) if at == place).most_common(1)
            seen[place] = label
        if len(set(seen.values())) < len(seen):
            return None
        whole = isinstance(said[0], int)
        known = tuple(
            sorted({each for each in truth or () if each is not None}, key=lambda each: (str(type(each)), each))
        )
        lists: list[tuple[Any, ...]] = [
            tuple(seen[place] for place in sorted(seen)),
            head_of(self.content, self.path).classes,
            tuple(int(each) for each in self.labels) if whole and all(map(str.isdigit, self.labels)) else self.labels,
            known,
            tuple(range(count)) if whole else (),
        ]
        for each in lists:
            if len(each) == count and all(each[place] == label for place, label in seen.items()):
                return each
        return None


def width(found: Any) -> int:
    """How many values an output has for one row."""
    if isinstance(found, list):
        return len(found[0])
    return 1 if found.ndim < 2 else int(found.shape[1])


def probable(found: Any) -> bool:
    """Whether rows of numbers are probabilities; one number a row is one where it lies between 0 and 1."""
    between = bool((found >= 0).all() and (found <= 1 + 1e-3).all())
    return between and (found.shape[1] == 1 or bool(np.allclose(found.sum(axis=1), 1, atol=1e-2)))
