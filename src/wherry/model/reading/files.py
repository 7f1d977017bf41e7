"""A model file, read once, decompressed within a limit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from wherry.errors import FileMissing, ModelUnsafe
from wherry.model.reading.compression import LIMIT, Compression, compression_of, decompressed
from wherry.model.reading.kinds import Kind, kind_of


class ModelFile(msgspec.Struct, frozen=True):
    """A model file, read once: what was inspected is what is loaded. content: its bytes, decompressed."""

    path: str
    kind: Kind
    sha256: str
    size: int
    content: bytes
    compression: Compression = ""


def read(path: Path, limit: int = LIMIT) -> ModelFile:
    """The file at `path`, recognised. Raises FileMissing; ModelUnsafe when it unpacks to more than `limit` bytes."""
    try:
        with path.open("rb") as file:
            stored = file.read(limit + 1)
    except FileNotFoundError as error:
        raise FileMissing(str(path), "model file") from error
    except IsADirectoryError as error:
        raise FileMissing(str(path), "model file", "it is a folder, and no bundle (no manifest.json)") from error
    if len(stored) > limit:
        raise ModelUnsafe(str(path), f"is larger than {limit:,} bytes")
    compression = compression_of(stored)
    content = decompressed(stored, compression, str(path), limit) if compression else stored
    return ModelFile(
        path=str(path),
        kind=kind_of(content),
        sha256=hashlib.sha256(stored).hexdigest(),
        size=len(stored),
        content=content,
        compression=compression,
    )
