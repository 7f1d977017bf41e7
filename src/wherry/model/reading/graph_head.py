"""What an ONNX file says of itself: its inputs and outputs, the operators it needs, and who wrote it. Nothing is run.

The onnx library is no part of an image and onnxruntime none of every desk, so the few fields that matter are read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from wherry.errors import ModelUnsafe
from wherry.model.reading.graphs import EIGHT, FOUR, GRAPH, SIZED, VARINT, varint

TYPES = {
    1: "float", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "double", 12: "uint32", 13: "uint64", 16: "bfloat16",
}  # fmt: skip  # onnx.TensorProto.DataType; a table reads better than one a line
# Fields of ModelProto, GraphProto and the messages below them.
IR, PRODUCER, PRODUCER_VERSION, OPSET = 1, 2, 3, 8
INITIALIZER, INPUT, OUTPUT = 5, 11, 12
TENSOR_NAME = 8
NODE, ATTRIBUTE, NAME, INTS, STRINGS = 1, 5, 1, 8, 9
CLASS_LABELS = re.compile(r"classlabels_(int64s|ints|strings)")


class Tensor(msgspec.Struct, frozen=True):
    """An input or an output. shape: the size of each axis, 0 where it is open; None where the file does not say."""

    name: str
    type: str
    shape: tuple[int, ...] | None

    def __str__(self) -> str:
        axes = "" if self.shape is None else f" [{', '.join(str(size) if size else '?' for size in self.shape)}]"
        return f"{self.name}: {self.type}{axes}"


class Head(msgspec.Struct, frozen=True):
    """Of a graph. opsets: the version of each domain of operators, that of ONNX itself as ai.onnx.

    classes: the labels of the last classifier among its operators, in the order of its numbers.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    opsets: dict[str, int]
    ir: int
    producer: str
    classes: tuple[int | str, ...] = ()

    @property
    def of_pictures(self) -> bool:
        """Whether its one input is a stack of pictures."""
        return len(self.inputs) == 1 and len(self.inputs[0].shape or ()) == 4


def head_of(data: bytes, path: str) -> Head:
    """What the file says. Raises ModelUnsafe, with `path`, when it ends too early or is no graph after all."""
    try:
        return read(memoryview(data))
    except (IndexError, ValueError, RecursionError) as error:
        hint = "copy or download it again, whole; or export it again"
        raise ModelUnsafe(path, "is an ONNX model that is damaged, or ends too early", hint) from error


def read(data: memoryview) -> Head:
    inputs: list[Tensor] = []
    outputs: list[Tensor] = []
    constants: set[str] = set()
    opsets: dict[str, int] = {}
    classes: tuple[int | str, ...] = ()
    ir = 0
    said = {PRODUCER: "", PRODUCER_VERSION: ""}
    for field, value in fields(data):
        if field == GRAPH and isinstance(value, memoryview):
            for inner, part in fields(value):
                if inner == INITIALIZER and isinstance(part, memoryview):
                    constants.add(text(dict(fields(part)).get(TENSOR_NAME)))
                elif inner in (INPUT, OUTPUT) and isinstance(part, memoryview):
                    (inputs if inner == INPUT else outputs).append(tensor(part))
                elif inner == NODE and isinstance(part, memoryview):
                    classes = classes_of(part) or classes
        elif field == OPSET and isinstance(value, memoryview):
            domain = dict(fields(value))
            version = domain.get(2, 0)
            opsets[text(domain.get(1)) or "ai.onnx"] = version if isinstance(version, int) else 0
        elif field == IR and isinstance(value, int):
            ir = value
        elif field in said and isinstance(value, memoryview):
            said[field] = text(value)
    producer = " ".join(each for each in said.values() if each)
    # Constants may stand among the inputs, too: nobody gives those.
    taken = tuple(each for each in inputs if each.name not in constants)
    return Head(taken, tuple(outputs), opsets, ir, producer, classes)


def classes_of(node: memoryview) -> tuple[int | str, ...]:
    """The labels that a classifier's operator states."""
    for field, attribute in fields(node):
        if field != ATTRIBUTE or not isinstance(attribute, memoryview):
            continue
        parts = list(fields(attribute))
        if not CLASS_LABELS.fullmatch(text(dict(parts).get(NAME))):
            continue
        found: list[int | str] = []
        for inner, value in parts:
            if inner == STRINGS:
                found.append(text(value))
            elif inner == INTS and isinstance(value, int):
                found.append(value)
            elif inner == INTS and isinstance(value, memoryview):  # packed
                place = 0
                while place < len(value):
                    number, place = varint(value, place)
                    found.append(number)
        if found:
            return tuple(found)
    return ()


def tensor(data: memoryview) -> Tensor:
    """A ValueInfoProto."""
    about = dict(fields(data))
    kind = about.get(2)
    held = dict(fields(kind)) if isinstance(kind, memoryview) else {}
    inner = held.get(1)  # a tensor; what is none is a sequence or a map
    if not isinstance(inner, memoryview):
        return Tensor(text(about.get(1)), "sequence", None)
    parts = dict(fields(inner))
    shape = parts.get(2)
    axes = None
    if isinstance(shape, memoryview):
        sizes = [dict(fields(axis)).get(1, 0) for _, axis in fields(shape) if isinstance(axis, memoryview)]
        axes = tuple(size if isinstance(size, int) else 0 for size in sizes)
    number = parts.get(1)
    return Tensor(text(about.get(1)), TYPES.get(number if isinstance(number, int) else 0, "another type"), axes)


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Each field of a message: its number, and a whole number or its bytes. Raises IndexError, ValueError."""
    place = 0
    while place < len(data):
        tag, place = varint(data, place)
        kind = tag & 7
        if kind == VARINT:
            value, place = varint(data, place)
            yield tag >> 3, value
            continue
        if kind not in (SIZED, EIGHT, FOUR):
            raise ValueError("no protocol buffer")
        size, place = varint(data, place) if kind == SIZED else (8 if kind == EIGHT else 4, place)
        if place + size > len(data):
            raise ValueError("cut short")
        yield tag >> 3, data[place : place + size]
        place += size


def text(value: int | memoryview | None) -> str:
    return bytes(value).decode(errors="replace") if isinstance(value, memoryview) else ""
