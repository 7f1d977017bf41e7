"""How a picture becomes the numbers that a model takes: declared once, kept in the bundle, used wherever one is asked.

A picture travels as base64 in JSON, and as its own bytes elsewhere. No pixel is decoded in this room.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

Format: TypeAlias = Literal["jpeg", "png", "webp"]
Layout: TypeAlias = Literal["NCHW", "NHWC"]
Colours: TypeAlias = Literal["RGB", "BGR"]
Filter: TypeAlias = Literal["nearest", "bilinear", "bicubic", "lanczos"]

FORMATS: tuple[Format, ...] = ("jpeg", "png", "webp")
MOST_PIXELS = 25_000_000  # a camera's picture; decoded whole, as a PNG is, it takes 75 MB
LEAST_PIXELS = 320 * 320  # of the limit: those that a bundle keeps must pass it
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as most published models were trained
# One grey point as PNG, in base64: the smallest request there is.
POINT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg=="


class Preparation(Struct, frozen=True, kw_only=True):
    """What is done to a picture before the model sees it, in this order: turned upright, made RGB, scaled until its
    shorter side has `resize` points, and cut to the middle `width` x `height` (resize 0: stretched to that); then each
    colour, from 0 to 255, is divided by `scale`, less its mean, divided by its std (both in the order of `colours`).
    """

    width: int
    height: int
    resize: int = 0
    filter: Filter = "bilinear"
    scale: float = 255.0
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    layout: Layout = "NCHW"
    colours: Colours = "RGB"
    formats: tuple[Format, ...] = FORMATS
    pixels: int = MOST_PIXELS  # width times height that a picture may have as it is sent


Three = Annotated[tuple[float, ...], Meta(min_length=3, max_length=3)]
Positive = Annotated[tuple[Annotated[float, Meta(gt=0)], ...], Meta(min_length=3, max_length=3)]


class PictureModel(Struct, frozen=True, kw_only=True):
    """An ONNX graph that classifies pictures: what `wherry pack` cannot read from the graph itself."""

    labels: Annotated[
        str, Meta(description="file with the name of each class on a line; given: the model takes pictures")
    ] = ""
    size: Annotated[
        Annotated[tuple[int, ...], Meta(min_length=2, max_length=2)] | None,
        Meta(description="width and height that the model takes; unset: as the graph says"),
    ] = None
    resize: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(
            description="points of the shorter side when the middle is cut out; 0: no cut, the whole is stretched; "
            "unset: the size divided by 0.875"
        ),
    ] = None
    filter: Annotated[Filter, Meta(description="how points are mixed when a picture is scaled")] = "bilinear"
    scale: Annotated[
        float, Meta(gt=0, description="what colours from 0 to 255 are divided by, before the mean is taken off")
    ] = 255.0
    mean: Annotated[Three, Meta(description="mean of each colour, taken off")] = MEAN
    std: Annotated[Positive, Meta(description="standard deviation of each colour, divided by")] = STD
    layout: Annotated[
        Layout | None, Meta(description="order of the graph's axes; unset: by where it has three of something")
    ] = None
    colours: Annotated[Colours, Meta(description="order of the colours")] = "RGB"
    formats: Annotated[tuple[Format, ...], Meta(min_length=1, description="formats of pictures that are taken")] = (
        FORMATS
    )
    pixels: Annotated[
        int,
        Meta(ge=LEAST_PIXELS, description="most points of a picture, width times height, known before it is decoded"),
    ] = MOST_PIXELS
    top: Annotated[int, Meta(ge=1, le=100, description="how many classes a reply names, the likeliest first")] = 5
    softmax: Annotated[
        bool | None, Meta(description="turn what the graph answers into probabilities; unset: if they are none yet")
    ] = None


def recognised(data: bytes) -> Format | None:
    """The format that bytes begin as, of those that can be read."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    return "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None
