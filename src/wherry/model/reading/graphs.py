"""What the bytes of an ONNX graph say: whether they are one, and whether it keeps tensors in other files.

Such a graph names a path, and reading it would read whatever lies there: CVE-2022-25882, CVE-2024-27318 and after. The
onnx library is no part of an image, so the few fields that matter are walked here.
"""

from __future__ import annotations

# Of each message in onnx.proto, the fields through which a tensor can be reached, and what each of them holds.
INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
GRAPH = 7  # of a model
EXTERNAL_DATA, DATA_LOCATION = 13, 14
VARINT, EIGHT, SIZED, FOUR = 0, 1, 2, 5


def looks_like_onnx(data: bytes) -> bool:
    """A protobuf message whose first fields are those of onnx.ModelProto: ir_version, then producer, opset or graph."""
    fields = []
    place = 0
    for _ in range(3):
        try:
            tag, place = varint(data, place)
            fields.append(tag >> 3)
            if tag & 7 == 0:
                value, place = varint(data, place)
                if tag >> 3 == 1 and not 1 <= value <= 1000:
                    return False
            elif tag & 7 == 2:
                length, place = varint(data, place)
                place += length
            else:
                return False
        except IndexError:
            break
        if place > len(data):
            if fields[-1] == GRAPH:  # cut off within the graph, which is most of any file
                break
            return False
    return (
        len(fields) >= 2 and fields[0] == 1 and all(field in (1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25) for field in fields)
    )


def has_external_data(data: bytes) -> bool:
    """True for a graph with a tensor in another file, and for bytes that are no protocol buffer."""
    # Every such tensor names its file under the key "location"; a forest's million numbers need no walk to see that.
    if b"location" not in data:
        return False
    try:
        return reaches_out(memoryview(data), "model")
    except (IndexError, ValueError, RecursionError):
        return True


def reaches_out(data: memoryview, kind: str) -> bool:
    place = 0
    while place < len(data):
        tag, place = varint(data, place)
        field, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, place = varint(data, place)
            if kind == "tensor" and field == DATA_LOCATION and value != 0:
                return True
        elif wire == SIZED:
            size, place = varint(data, place)
            if place + size > len(data):
                raise ValueError("cut short")
            inner = INSIDE[kind].get(field)
            if kind == "tensor" and field == EXTERNAL_DATA:
                return True
            if inner is not None and reaches_out(data[place : place + size], inner):
                return True
            place += size
        elif wire in (EIGHT, FOUR):
            place += 8 if wire == EIGHT else 4
        else:
            raise ValueError("no protocol buffer")
    return False


def varint(data: bytes | memoryview, place: int) -> tuple[int, int]:
    """The number at `place`, and where it ends. Raises IndexError when the bytes end before it does."""
    value = 0
    for shift in range(0, 64, 7):
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise IndexError
