"""A graph that says which colour a picture has most of, and pictures to ask it about; no picture is a file here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

COLOURS = {"red": (220, 30, 20), "green": (20, 200, 40), "blue": (10, 40, 230)}
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def graph(
    layout: str = "NCHW", side: int = 32, *, softmax: bool = False, batch: int | str = "n", steep: float = 3
) -> Any:
    """An ONNX model: the mean of each colour, times `steep`, as numbers or as probabilities."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    shape = [batch, 3, side, side] if layout == "NCHW" else [batch, side, side, 3]
    axes = np.array([2, 3] if layout == "NCHW" else [1, 2], np.int64)
    nodes = [
        helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0),
        helper.make_node("Gemm", ["m", "w"], ["y"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["y"], ["p"], axis=1))
    made = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("p" if softmax else "y", TensorProto.FLOAT, [batch, 3])],
        [
            numpy_helper.from_array(axes, "axes"),
            numpy_helper.from_array((np.eye(3) * steep).astype(np.float32), "w"),
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def written(folder: Path, **options: Any) -> Path:
    """The graph as colours.onnx in `folder`, its labels beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in COLOURS))
    path = folder / "colours.onnx"
    path.write_bytes(graph(**options).SerializeToString())
    return path


def picture(
    colour: str | tuple[int, ...], size: tuple[int, int] = (60, 40), kind: str = "PNG", **options: Any
) -> bytes:
    """A picture of one colour."""
    from PIL import Image

    value = COLOURS[colour] if isinstance(colour, str) else colour
    return encoded(Image.new({1: "L", 3: "RGB", 4: "RGBA"}[len(value)], size, value), kind, **options)


def encoded(image: Any, kind: str = "PNG", **options: Any) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def form(*fields: tuple[str, bytes], boundary: str = "cut-here") -> tuple[bytes, dict[str, str]]:
    """An upload as browsers and curl write it: its body, and the header that goes with it."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a.jpg"\r\n'
        f"Content-Type: image/jpeg\r\n\r\n".encode()
        + data
        + b"\r\n"
        for name, data in fields
    ]
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), {
        "Content-Type": f"multipart/form-data; boundary={boundary}"
    }
