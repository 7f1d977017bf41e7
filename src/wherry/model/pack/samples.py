"""Small pictures to keep in a bundle: made of the user's own, or drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from wherry.contract.pictures import Format, Preparation
from wherry.model.pictures import Studio

SIDE = 320  # of a picture that is kept: what a model sees of it is smaller still
QUALITY = 90
DRAWN = 8


def reduced(data: bytes, prepare: Preparation) -> bytes:
    """A picture made small, in a format that the model's service takes. Raises PictureRefused."""
    studio = Studio(prepare)
    studio.ready(data)  # refuses what a service would refuse
    image = studio.upright(data)
    image.thumbnail((SIDE, SIDE))
    return saved(image, prepare.formats[0])


def drawn(formats: Sequence[Format]) -> list[bytes]:
    """Pictures that are the same whenever they are drawn: colours that run into each other, with shapes on them."""
    found = []
    for number in range(DRAWN):
        numbers = np.random.default_rng(number)
        width, height = (320, 240) if number % 2 else (240, 320)
        corners = numbers.integers(0, 256, (3, 3, 3), dtype=np.uint8)
        image = Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)
        for _ in range(number % 4):
            left, top = numbers.integers(0, width // 2), numbers.integers(0, height // 2)
            colour = tuple(numbers.integers(0, 256, 3).tolist())
            image.paste(colour, (int(left), int(top), int(left) + width // 3, int(top) + height // 3))
        found.append(saved(image, formats[number % len(formats)]))
    return found


def saved(image: Any, kind: Format) -> bytes:
    sink = io.BytesIO()
    options = {"lossless": True} if kind == "webp" else {"quality": QUALITY}
    image.save(sink, kind.upper(), **options)
    return sink.getvalue()
