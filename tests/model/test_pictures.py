"""Pictures are made ready as the training did it, and what is no picture, or too large, is refused before it costs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("PIL", reason="needs Pillow")
from PIL import Image, ImageOps

import wherry
from wherry.contract.pictures import POINT, Preparation
from wherry.errors import PictureFormatWrong, PictureRefused, PictureTooLarge, PictureUnreadable
from wherry.model import pictures as prepared
from wherry.model.flavors.pictures import side_by_side
from wherry.model.pictures import Studio

PLAIN = Preparation(width=8, height=8, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), scale=1.0)


def ready(cell: Any, **changes: Any) -> Any:
    return Studio(msgspec.structs.replace(PLAIN, **changes)).ready(cell)


def quarters(size: tuple[int, int] = (64, 64)) -> Any:
    """Red and green above, blue and white below."""
    small = Image.new("RGB", (2, 2))
    for place, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255))):
        small.putpixel((place % 2, place // 2), colour)
    return small.resize(size, Image.Resampling.NEAREST)


def corners(numbers: Any) -> list[tuple[int, ...]]:
    """The colours in the four corners of NCHW numbers."""
    return [tuple(round(float(x)) for x in numbers[:, y, x_]) for y in (0, -1) for x_ in (0, -1)]


RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


@pytest.mark.parametrize("filter", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_a_large_picture_is_shrunk_to_the_same_points(filter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place, a band at a time, and each colour by itself: not a bit differs from what Pillow makes in a copy."""
    chance = np.random.default_rng(1)
    for _ in range(30):
        high, wide, down, across = (int(each) for each in chance.integers((1, 1, 1, 1), (300, 300, 64, 64)))
        points = chance.integers(0, 256, (high, wide, 4), dtype=np.uint8)
        left, top = chance.random(2) * (wide / 3, high / 3)
        box = (left, top, wide - left, high - top)
        with monkeypatch.context() as patch:
            usual = prepared.shrunk(Image.fromarray(points), (across, down), prepared.FILTERS[filter], box)
            patch.setattr(prepared, "LARGE", 0)
            patch.setattr(prepared, "BAND", 997)
            banded = prepared.shrunk(Image.fromarray(points), (across, down), prepared.FILTERS[filter], box)
        assert usual.mode == banded.mode == "RGBA"
        assert usual.tobytes() == banded.tobytes()


def test_numbers_are_those_of_the_formula(pictures: Any) -> None:
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
    found = ready(pictures.picture((10, 100, 200)), scale=255.0, mean=mean, std=std).numbers
    for place, value in enumerate((10, 100, 200)):
        assert found[place] == pytest.approx((value / 255 - mean[place]) / std[place])
    assert found.dtype == np.float32
    assert found.shape == (3, 8, 8)


def test_layout_and_order_of_colours(pictures: Any) -> None:
    png = pictures.picture((1, 2, 3))
    assert ready(png, layout="NHWC").numbers[0, 0].tolist() == [1, 2, 3]
    assert ready(png, layout="NHWC", colours="BGR").numbers[0, 0].tolist() == [3, 2, 1]
    # mean and std stand in the order that is declared
    assert ready(png, colours="BGR", mean=(3.0, 2.0, 0.0)).numbers[:, 0, 0].tolist() == [0, 0, 1]


def test_the_middle_is_cut_out_or_all_of_it_stretched(pictures: Any) -> None:
    wide = Image.new("RGB", (300, 100), "black")
    wide.paste((255, 255, 255), (100, 0, 200, 100))
    png = pictures.encoded(wide)
    assert ready(png, resize=8).numbers[:, :, 1:-1].min() == 255  # the middle third; its edges mix with what is beside
    assert ready(png, filter="nearest").numbers[0, 0].tolist() == [0, 0, 0, 255, 255, 0, 0, 0]
    assert corners(ready(pictures.encoded(quarters()), resize=10, filter="nearest").numbers) == [
        RED,
        GREEN,
        BLUE,
        WHITE,
    ]


def test_a_picture_smaller_than_the_model_wants_is_enlarged(pictures: Any) -> None:
    assert ready(pictures.picture("red", (3, 2)), resize=9).numbers[0].tolist() == [[220.0] * 8] * 8


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_picture_is_turned_as_the_camera_was_held(turn: int, pictures: Any) -> None:
    """As Pillow's own exif_transpose turns it; and a long one keeps its middle."""
    exif = Image.Exif()
    exif[0x0112] = turn
    held = quarters((96, 64))
    data = pictures.encoded(held, "JPEG", exif=exif, quality=95, subsampling=0)
    held.getexif()[0x0112] = turn
    upright = ImageOps.exif_transpose(held)
    found = corners(ready(data, resize=0).numbers)
    wanted = corners(np.asarray(upright).transpose(2, 0, 1))
    assert all(abs(a - b) < 12 for one, two in zip(found, wanted, strict=True) for a, b in zip(one, two, strict=True))


def test_an_orientation_that_is_nonsense_is_left_aside(pictures: Any) -> None:
    data = pictures.encoded(quarters(), "JPEG", exif=b"Exif\0\0garbage", quality=95, subsampling=0)
    assert corners(ready(data).numbers)[0][0] > 240


def test_a_large_jpeg_is_decoded_small_and_comes_to_the_same(pictures: Any) -> None:
    data = pictures.encoded(quarters((1600, 1200)), "JPEG", quality=92)
    studio = Studio(msgspec.structs.replace(PLAIN, width=64, height=64, resize=72))
    image = studio.opened(data, "jpeg")
    studio.cut(image)
    assert image.size == (200, 150)
    whole = pictures.encoded(Image.open(io.BytesIO(data)))  # a PNG, which is decoded as it is
    assert np.abs(studio.ready(data).numbers - studio.ready(whole).numbers).mean() < 4


@pytest.mark.parametrize(
    ("mode", "value", "wanted"),
    [
        ("L", 77, (77, 77, 77)),
        ("LA", (0, 0), WHITE),  # what can be seen through stands on white
        ("RGBA", (255, 0, 0, 0), WHITE),
        ("RGBA", (255, 0, 0, 255), RED),
        ("P", 0, (0, 0, 0)),
        ("1", 1, WHITE),
        ("I;16", 0x4D00, (0x4D, 0x4D, 0x4D)),
    ],
)
def test_every_kind_of_png_becomes_colours(mode: str, value: Any, wanted: tuple[int, ...], pictures: Any) -> None:
    data = pictures.encoded(Image.new(mode, (20, 20), value))
    assert corners(ready(data).numbers)[0] == wanted


def test_a_jpeg_for_print_becomes_colours(pictures: Any) -> None:
    data = pictures.encoded(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG", quality=95)
    red = corners(ready(data).numbers)[0]
    assert red[0] > 200
    assert max(red[1:]) < 60


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_what_is_kept_of_a_picture(kind: str, pictures: Any) -> None:
    data = pictures.picture("red", (30, 20), kind)
    text = f"{kind.lower()} 30x20, {len(data)} bytes, sha256:{hashlib.sha256(data).hexdigest()}"
    assert str(ready(data)) == text
    assert ready(base64.b64encode(data).decode()).sha256 == ready(data).sha256
    assert ready(f"data:image/x;base64,{base64.b64encode(data).decode()}").size == len(data)
    assert ready(POINT).width == 1


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is that large."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 10000)) + chunk(b"IEND", b"")
    )


def webp_of(kind: bytes, head: bytes) -> bytes:
    body = b"WEBP" + kind + struct.pack("<I", len(head)) + head
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_the_size_is_known_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch, pictures: Any) -> None:
    def never(*about: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", never)
    monkeypatch.setattr("PIL.WebPImagePlugin.WebPImageFile._open", never)
    with pytest.raises(AssertionError):  # the control: a picture within the limit is decoded
        Studio(PLAIN).cut(Studio(PLAIN).opened(pictures.picture("red"), "png"))
    huge = [
        bomb(60_000, 60_000),
        pictures.picture("red", (5100, 5000), "JPEG"),
        webp_of(b"VP8X", b"\0\0\0\0" + (16382).to_bytes(3, "little") * 2),
        webp_of(b"VP8L", b"\x2f" + (16382 | 16382 << 14).to_bytes(4, "little")),
        webp_of(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383)),
    ]
    for data in huge:
        with pytest.raises(PictureTooLarge, match="points, and 25,000,000 are the most"):
            ready(data)


@pytest.mark.parametrize("large", [0, 10**9], ids=["large", "control"])
def test_large_pictures_are_decoded_one_at_a_time(large: int, monkeypatch: pytest.MonkeyPatch, pictures: Any) -> None:
    """However many cores there are, they take the memory of one."""
    at_once, most, decode = 0, 0, prepared.coloured

    def counting(image: Any) -> Any:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        time.sleep(0.2)  # for the others to come in
        at_once -= 1
        return decode(image)

    monkeypatch.setattr(prepared, "LARGE", large)
    monkeypatch.setattr(prepared, "coloured", counting)
    studio = Studio(PLAIN)
    with ThreadPoolExecutor(4) as pool:
        assert len(list(pool.map(studio.ready, [pictures.picture("red")] * 4))) == 4
    assert (most == 1) is (large == 0)


def test_a_limit_is_the_last_size_that_is_taken(pictures: Any) -> None:
    data = pictures.picture("red", (50, 20))
    assert ready(data, pixels=1000).width == 50
    with pytest.raises(PictureTooLarge) as caught:
        ready(data, pixels=999)
    assert (caught.value.width, caught.value.height, caught.value.limit) == (50, 20, 999)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_pictures_are_refused_wherever_they_are_cut(kind: str, pictures: Any) -> None:
    noise = Image.effect_noise((80, 60), 80).convert("RGB")
    data = pictures.encoded(noise, kind)
    cuts = sorted({*range(1, 64), *range(64, len(data) - 12, max(1, len(data) // 40))})
    for place in cuts:
        with pytest.raises(PictureRefused) as caught:
            ready(data[:place])
        assert "0x" not in str(caught.value)
    numbers = np.random.default_rng(1)
    for _ in range(200):  # one byte changed: a picture, or a refusal, never anything else
        place = int(numbers.integers(len(data)))
        changed = data[:place] + bytes([data[place] ^ int(numbers.integers(1, 256))]) + data[place + 1 :]
        with contextlib.suppress(PictureRefused):
            ready(changed)


@pytest.mark.parametrize(
    ("data", "called"),
    [
        (b"GIF89a" + b"\0" * 20, "GIF"),
        (b"BM" + b"\0" * 60, "BMP"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 20, "HEIC or AVIF"),
        (b"II*\0" + b"\0" * 20, "TIFF"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"%!PS-Adobe", ""),
        (b"hello", ""),
    ],
)
def test_other_formats_are_named(data: bytes, called: str) -> None:
    with pytest.raises(PictureFormatWrong) as caught:
        ready(data)
    assert caught.value.found == called


def test_only_formats_on_the_list_are_read(pictures: Any) -> None:
    with pytest.raises(PictureFormatWrong, match="is png, not jpeg"):
        ready(pictures.picture("red"), formats=("jpeg",))
    assert ready(pictures.picture("red", kind="JPEG"), formats=("jpeg",)).format == "jpeg"


@pytest.mark.parametrize("cell", ["", "é", "abc", "data:image/png;base64,%%%", "data:x", b""])
def test_what_is_no_base64_is_refused(cell: str | bytes) -> None:
    with pytest.raises(PictureUnreadable):
        ready(cell)


# --- several ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [2, 1], ids=["two", "control"])
def test_two_pictures_are_answered_at_the_same_time(threads: int) -> None:
    """Each waits for another. The control, on one thread, waits in vain."""
    meeting = threading.Barrier(2)

    def work(row: Any) -> Any:
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(60 if threads > 1 else 0.1)
        return row[0]

    assert side_by_side(work, [(place,) for place in range(4)], threads) == [0, 1, 2, 3]
    assert meeting.broken == (threads == 1)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_several_are_answered_in_order_and_the_first_that_is_none_is_told(
    threads: str, picture_bundle: Path, pictures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    model = wherry.load(picture_bundle)
    colours = ["red", "green", "blue", "blue", "red", "green", "red"]
    rows = [(pictures.picture(colour),) for colour in colours]
    assert model.score(rows).predictions == colours
    with pytest.raises(PictureUnreadable, match="is empty"):
        model.score([*rows, (b"",), (b"GIF89a",)])
