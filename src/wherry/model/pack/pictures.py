"""From an ONNX graph and a file of labels to a bundle that classifies pictures; what the graph cannot say is declared.

Nothing of it runs code: a graph is a file of numbers with a specification.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from wherry.contract.events import Note, Tell, silent
from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import FORMAT, Conversion, Golden, Manifest, Measured, Origin
from wherry.contract.names import BASELINE_FILE, BUNDLE_DIR, EXAMPLE_FILE, GOLDEN_FILE
from wherry.contract.pictures import POINT, Layout, PictureModel, Preparation
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Outputs
from wherry.errors import DataUnreadable, FileMissing, ModelUnknown, ModelUnsafe, PictureRefused
from wherry.model import bundle, requirements
from wherry.model.flavors.pictures import PictureScorer
from wherry.model.golden import finite
from wherry.model.pack import baseline, naming
from wherry.model.pack.graphs import probable, session
from wherry.model.pack.recipe import measured_and_written, stage
from wherry.model.pack.samples import drawn, reduced
from wherry.model.pictures import Studio
from wherry.model.reading import files
from wherry.model.reading.kinds import CALLED

FIELD = "image"
MODEL_FILE = "model.onnx"
MOST_GOLDEN = 4
MOST_SAMPLES = 64
USUAL_CROP = 0.875  # of the shorter side, the part that published models see
# Sums of millions of products differ between processors, and pictures between versions of their decoder.
RTOL, ATOL = 1e-3, 1e-4


def pack_graph(
    path: Path,
    declared: PictureModel,
    *,
    data: Path | None = None,
    to: Path = Path(BUNDLE_DIR),
    name: str | None = None,
    version: str = "1",
    tell: Tell = silent,
) -> Manifest:
    """Turn the ONNX file at `path`, which takes pictures, into a bundle.

    data: a picture, or a folder of them, of which a few become golden rows, made small; without it they are drawn.
    Raises ModelUnknown, ModelUnsafe, DataUnreadable, FileMissing, BundleUnreadable, FolderTaken, DiskFull.
    """
    label, number = naming.given(name) if name is not None else naming.of_file(path), naming.version(version)
    bundle.refuse_other_folder(to, Path(os.path.realpath(to)))
    with stage(tell, f"reading {path}"):
        file = files.read(path)
        if file.kind != "onnx":
            hint = "[model.image] and --labels are for an ONNX model; leave them out"
            raise ModelUnknown(str(path), CALLED[file.kind], "is not what takes pictures", hint)
        shape = shape_of(file.content, str(path), declared)
        labels = naming.labels_of(Path(declared.labels))
    prepare = preparation(declared, shape)
    column = Column(FIELD, "image", example=POINT, prepare=prepare)
    output = OutputSpec("class", "string", labels, probabilities=True, top=min(declared.top, len(labels)))
    with stage(tell, "asking it for pictures"):
        pictures = samples(data, prepare)
        raw = PictureScorer(file.content, Studio(prepare), output, str(path)).raw(pictures)
        check_width(raw, labels, declared.labels)
        softmax = not probable(raw) if declared.softmax is None else declared.softmax
        output = msgspec.structs.replace(output, softmax=softmax)
        answers = PictureScorer(file.content, Studio(prepare), output, str(path)).score(pictures)
    if not all(finite(list(shares)) for shares in answers.probabilities or ()):
        raise ModelUnsafe(str(path), "answers with numbers that are not finite", "check scale, mean and std")
    if softmax:
        tell(Note("the graph answers with numbers that are no probabilities: softmax makes them some"))
    asked = telling(pictures, answers)
    manifest = Manifest(
        format=FORMAT,
        name=label,
        version=number,
        digest="",
        flavor="pictures",
        model=MODEL_FILE,
        signature=Signature((column,), output),
        golden=Golden(GOLDEN_FILE, len(asked.rows), RTOL, ATOL),
        baseline=BASELINE_FILE,
        requirements=requirements.here("onnx", ("pillow",)),
        files={},
        origin=Origin("ONNX graph", path.name, file.sha256),
        conversion=Conversion("onnx"),
        measured=Measured(0.0, 0),
    )
    seen = baseline.Baseline(len(pictures), {}, baseline.spread(answers.predictions, numeric=False))
    written = {
        MODEL_FILE: file.content,
        GOLDEN_FILE: msgspec.json.encode(asked),
        BASELINE_FILE: msgspec.json.encode(seen),
        EXAMPLE_FILE: msgspec.json.format(msgspec.json.encode({FIELD: asked.rows[0][0]})) + b"\n",
    }
    return measured_and_written(to, manifest, written, tell)


class Shape(msgspec.Struct, frozen=True):
    """What the graph takes; 0 where it takes any."""

    layout: Layout
    width: int
    height: int


def shape_of(content: bytes, path: str, declared: PictureModel) -> Shape:
    """What the graph takes, as it says; and as is declared where it does not. Raises ModelUnknown, BundleUnreadable."""
    graph = session(content, path)
    inputs = graph.get_inputs()
    said = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)[:300]
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
        hint = "a model of pictures has one input, [n, 3, height, width] or [n, height, width, 3], of float32"
        raise ModelUnknown(path, "the graph", f"does not take pictures: its inputs are {said}", hint)
    sizes = [side if isinstance(side, int) else 0 for side in inputs[0].shape]
    if sizes[0] > 1:
        hint = "export it with a dynamic first axis"
        raise ModelUnknown(path, "the graph", f"takes {sizes[0]} pictures at once, and no other number", hint)
    layout = declared.layout
    if layout is None:
        if (sizes[1] == 3) == (sizes[3] == 3):
            hint = '[model.image] layout = "NCHW", or "NHWC"'
            raise ModelUnknown(path, "the graph", f"does not say which axis holds the colours: {said}", hint)
        layout = "NCHW" if sizes[1] == 3 else "NHWC"
    height, width = sizes[2:] if layout == "NCHW" else sizes[1:3]
    if declared.size is None and not (width and height):
        hint = "[model.image] size = [224, 224]"
        raise ModelUnknown(path, "the graph", f"does not say how large its pictures are: {said}", hint)
    if declared.size is not None and (width or declared.size[0], height or declared.size[1]) != declared.size:
        hint = f"[model.image] size = [{width}, {height}], or leave it out"
        raise ModelUnknown(path, "the graph", f"takes pictures of {width} x {height}", hint)
    return Shape(layout, *(declared.size or (width, height)))


def preparation(declared: PictureModel, shape: Shape) -> Preparation:
    """What is done to each picture."""
    resize = declared.resize
    if resize is None:
        resize = round(max(shape.width, shape.height) / USUAL_CROP)
    red, green, blue = declared.mean
    of_red, of_green, of_blue = declared.std
    return Preparation(
        width=shape.width,
        height=shape.height,
        resize=resize,
        filter=declared.filter,
        scale=declared.scale,
        mean=(red, green, blue),
        std=(of_red, of_green, of_blue),
        layout=shape.layout,
        colours=declared.colours,
        formats=declared.formats,
        pixels=declared.pixels,
    )


def check_width(raw: Any, labels: Sequence[str], path: str) -> None:
    """Raises DataUnreadable unless the graph has as many classes as there are labels."""
    width = raw.shape[1] if raw.ndim == 2 else 0
    if width != len(labels):
        has = f"the graph answers with {width} classes" if width else f"the graph answers in the shape {raw.shape}"
        raise DataUnreadable(path, f"has {len(labels)} labels, and {has}", "one line for each class, in their order")


def samples(data: Path | None, prepare: Preparation) -> list[tuple[str]]:
    """Rows that the model can be asked, each a small picture in base64."""
    if data is None:
        found = drawn(prepare.formats)
    else:
        paths = sorted(path for path in data.rglob("*") if path.is_file())[:MOST_SAMPLES] if data.is_dir() else [data]
        found = []
        for path in paths:
            try:
                found.append(reduced(path.read_bytes(), prepare))
            except FileNotFoundError as error:
                raise FileMissing(str(path), "picture, or folder of pictures") from error
            except PictureRefused as error:
                raise DataUnreadable(str(path), f"{error}", error.hint) from error
        if not found:
            raise DataUnreadable(str(data), "holds no pictures", "give a folder of pictures, or leave --data out")
    return [(base64.b64encode(each).decode(),) for each in found]


def telling(rows: Sequence[tuple[str]], answers: Outputs) -> GoldenRows:
    """The rows that are answered most clearly, so that no other machine answers them otherwise."""
    shares = answers.probabilities or []
    best = [sorted(each, reverse=True)[:2] for each in shares]
    clear = sorted(range(len(rows)), key=lambda row: best[row][0] - (best[row][1:] or [0.0])[0], reverse=True)
    kept = sorted(clear[:MOST_GOLDEN])
    return GoldenRows(
        (FIELD,),
        tuple(rows[row] for row in kept),
        tuple(answers.predictions[row] for row in kept),
        tuple(tuple(shares[row]) for row in kept),
    )
