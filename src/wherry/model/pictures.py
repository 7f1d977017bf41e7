"""Pictures as they were sent, made into what a model takes; the only module that imports Pillow.

What strangers send is looked at before it is decoded: its format by its first bytes, its size by its header. Pillow's
readers are called one by one, never by its own guess, so no other format is ever read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from contextlib import nullcontext
from threading import Lock
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from wherry.contract.pictures import Filter, Format, Preparation, recognised
from wherry.errors import ExtraMissing, PictureFormatWrong, PictureTooLarge, PictureUnreadable

try:
    from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin
except ImportError as error:
    raise ExtraMissing("Pillow", "image", "reading pictures") from error

Numbers: TypeAlias = NDArray[np.float32]

READERS: dict[Format, Any] = {
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}
FILTERS: dict[Filter, Any] = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
LARGE = 4_000_000  # points that are decoded, of which each takes four bytes, and eight where it can be seen through
BLOCK = 64 * 2**20  # bytes of a large picture that are asked for at once: the C library gives so many back when freed
BAND = 500_000  # points of one that are worked on at a time
# What is done to a picture that a camera was turned for, by the value of EXIF's orientation.
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TURNED = frozenset({5, 6, 7, 8})  # of these, width and height change places
# Formats that are recognised to be named in a refusal.
OTHERS = (
    (b"GIF8", "GIF"), (b"BM", "BMP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"%PDF", "PDF"), (b"<svg", "SVG"),
    (b"\0\0\1\0", "ICO"), (b"8BPS", "PSD"),
)  # fmt: skip  # a table reads better than one name a line


class Picture(msgspec.Struct, frozen=True, gc=False):
    """A picture that is ready for the model: `numbers` in its layout; and what is told of it once it is gone."""

    numbers: Any
    format: Format
    width: int
    height: int
    size: int
    sha256: str

    def __str__(self) -> str:
        """What is kept of it: never the picture itself."""
        return f"{self.format} {self.width}x{self.height}, {self.size} bytes, sha256:{self.sha256}"


class Studio:
    """Makes pictures ready as one model's preparation says; from any thread, and most of it beside other threads."""

    def __init__(self, prepare: Preparation) -> None:
        self.prepare = prepare
        self.one_at_a_time = Lock()
        Image.core.set_block_size(BLOCK)  # type: ignore[attr-defined]  # what PILLOW_BLOCK_SIZE sets
        values = np.arange(256, dtype=np.float64) / prepare.scale
        # Each colour has 256 values, so what is calculated of them is looked up.
        self.tables = [
            ((values - mean) / std).astype(np.float32) for mean, std in zip(prepare.mean, prepare.std, strict=True)
        ]

    def ready(self, cell: Any) -> Picture:
        """The picture that a cell holds: base64, bytes, or one that is ready already.

        Raises PictureUnreadable, PictureFormatWrong, PictureTooLarge.
        """
        if isinstance(cell, Picture):
            return cell
        data = cell if isinstance(cell, bytes) else of_base64(cell)
        kind = self.format_of(data)
        try:
            image = self.opened(data, kind)
            width, height = image.size
            points = self.cut(image)
        except (PictureTooLarge, PictureUnreadable):
            raise
        except Exception as error:  # whatever Pillow raises over bytes from strangers, they are no picture
            raise PictureUnreadable(f"is no {kind} picture that can be read: {reason_of(error)}") from error
        return Picture(self.numbers(points), kind, width, height, len(data), hashlib.sha256(data).hexdigest())

    def upright(self, data: bytes) -> Any:
        """All of a picture that was found to be one, as a person would look at it, in RGB."""
        image = self.opened(data, self.format_of(data))
        turn = orientation(image)
        image = coloured(image)
        return on_white(image.transpose(UPRIGHT[turn]) if turn in UPRIGHT else image)

    def format_of(self, data: bytes) -> Format:
        """What the bytes begin as, if that is taken."""
        allowed = self.prepare.formats
        if not data:
            raise PictureUnreadable("is empty")
        kind = recognised(data)
        if kind is None or kind not in allowed:
            raise PictureFormatWrong(kind or other(data), allowed)
        return kind

    def opened(self, data: bytes, kind: Format) -> Any:
        """The picture, of which the header alone is read, its size within the limit."""
        if kind == "webp":  # its reader makes room for all of the picture at once
            self.check_size(*webp_size(data))
        image = READERS[kind](io.BytesIO(data))
        self.check_size(*image.size)
        return image

    def check_size(self, width: int, height: int) -> None:
        if width < 1 or height < 1:
            raise PictureUnreadable("has no points")
        if width * height > self.prepare.pixels:
            raise PictureTooLarge(width, height, self.prepare.pixels)

    def cut(self, image: Any) -> Any:
        """The part of the picture that the model sees, in its size, upright and in RGB."""
        prepare = self.prepare
        turn = orientation(image) if image.format == "JPEG" else 1  # of others it may stand behind all the points
        wide, high = (image.size[1], image.size[0]) if turn in TURNED else image.size
        # The sides that the whole picture will have: a JPEG is decoded no larger than needed for that.
        sides = (prepare.width, prepare.height)
        if prepare.resize:
            shrink = prepare.resize / min(wide, high)
            sides = (max(sides[0], int(wide * shrink)), max(sides[1], int(high * shrink)))
        image.draft("RGB", (sides[1], sides[0]) if turn in TURNED else sides)
        with self.one_at_a_time if image.width * image.height > LARGE else nullcontext():
            turn, whole = orientation(image), coloured(image)
            if turn in UPRIGHT:
                whole = whole.transpose(UPRIGHT[turn])
            size = (prepare.width, prepare.height)
            small = shrunk(whole, size, FILTERS[prepare.filter], self.middle(*whole.size))
            for each in (image, whole):
                each.close()  # and its memory is there for the next
        return on_white(small)

    def middle(self, wide: int, high: int) -> tuple[float, float, float, float]:
        """The part of a picture of this size that is kept."""
        prepare = self.prepare
        if not prepare.resize:
            return 0, 0, wide, high
        shrink = prepare.resize / min(wide, high)
        across, down = min(wide, prepare.width / shrink), min(high, prepare.height / shrink)
        left, top = (wide - across) / 2, (high - down) / 2
        return left, top, left + across, top + down

    def numbers(self, image: Any) -> Numbers:
        """The picture's points as the model's layout has them."""
        prepare = self.prepare
        points = np.asarray(image)
        if prepare.layout == "NCHW":
            made = np.empty((3, prepare.height, prepare.width), dtype=np.float32)
            planes = [made[place] for place in range(3)]
        else:
            made = np.empty((prepare.height, prepare.width, 3), dtype=np.float32)
            planes = [made[:, :, place] for place in range(3)]
        order = (0, 1, 2) if prepare.colours == "RGB" else (2, 1, 0)
        for plane, colour, table in zip(planes, order, self.tables, strict=True):
            plane[...] = table[points[:, :, colour]]
        return made


def other(data: bytes) -> str:
    """What bytes begin as that cannot be read; empty where that is not known."""
    if data[4:8] == b"ftyp":
        return "HEIC or AVIF"
    return next((name for mark, name in OTHERS if data.startswith(mark)), "")


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height as the first chunk of a WebP file says."""
    kind, head = data[12:16], data[20:34]
    if kind == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    raise PictureUnreadable("is no WebP picture: its first part is none that a picture begins with")


def of_base64(text: str) -> bytes:
    """The bytes in a text, which may be a data: URL. Raises PictureUnreadable."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureUnreadable("is not in base64") from error


def orientation(image: Any) -> int:
    """How the camera was held, by EXIF; 1 where that cannot be told."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001  # whatever is wrong with this part, the picture can be seen without it
        return 1


def coloured(image: Any) -> Any:
    """The picture decoded, in RGB, or RGBA where it can be seen through."""
    if image.mode.startswith("I"):  # sixteen bits of grey, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    wanted = "RGBA" if image.has_transparency_data else "RGB"
    image.load()
    return image if image.mode == wanted else image.convert(wanted)


def shrunk(image: Any, size: tuple[int, int], filter: Any, box: tuple[float, float, float, float]) -> Any:
    """What image.resize makes of a picture that is needed no more, but never with a second copy of a large one.

    What can be seen through is multiplied by how much of it is seen, before points are mixed. Pillow does so in a copy;
    here it is done in place, a band at a time, and the colours are mixed one by one.
    """
    if image.mode == "RGB" or image.width * image.height <= LARGE or filter == FILTERS["nearest"] or image.size == size:
        return image.resize(size, filter, box=box)
    step = max(1, BAND // image.width)
    for row in range(0, image.height, step):
        band = image.crop((0, row, image.width, min(row + step, image.height))).convert("RGBa")
        image.paste(Image.frombytes("RGBA", band.size, band.tobytes()), (0, row))
    return Image.merge("RGBa", [image.getchannel(place).resize(size, filter, box=box) for place in range(4)]).convert(
        "RGBA"
    )


def on_white(image: Any) -> Any:
    """The picture in RGB; what can be seen through stands on white."""
    if image.mode == "RGB":
        return image
    under = Image.new("RGBA", image.size, "white")
    under.alpha_composite(image)
    return under.convert("RGB")


def reason_of(error: Exception) -> str:
    """Why, in a few words of the library's that say nothing of this process."""
    text = str(error).lower()
    if "truncated" in text or isinstance(error, EOFError):
        return "it ends too early"
    return "its bytes are damaged"
