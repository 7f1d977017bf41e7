"""A model file, read once, decompressed within a limit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from wherry.errors import FileMissing, ModelUnsafe, UsageRefused
from wherry.model.reading.compression import LIMIT, Compression, compression_of, decompressed
from wherry.model.reading.kinds import ZIP, Kind, kind_of

LFS = b"version https://git-lfs.github.com/spec/"  # how the text begins that Git LFS leaves in a large file's place
POINTER = "is the pointer that Git LFS keeps in the file's place"


class ModelFile(msgspec.Struct, frozen=True):
    """A model file, read once: what was inspected is what is loaded. content: its bytes, decompressed."""

    path: str
    kind: Kind
    sha256: str
    size: int
    content: bytes
    compression: Compression = ""


def read(path: Path, limit: int = LIMIT) -> ModelFile:
    """The file at `path`, recognised. Raises FileMissing; UsageRefused for what is no file, which it would wait for;
    ModelUnsafe for one that did not arrive whole, or unpacks to more than `limit` bytes.
    """
    if path.is_dir():
        raise UsageRefused(f"{path} is a folder, and no bundle (no manifest.json)", hint=f"ls {path}")
    if path.exists() and not path.is_file():
        raise UsageRefused(f"{path} is a pipe or a device, and no model file", hint=f"cat {path} > model")
    try:
        with path.open("rb") as file:
            stored = file.read(limit + 1)
    except FileNotFoundError as error:
        raise FileMissing(str(path), "model file") from error
    if len(stored) > limit:
        raise ModelUnsafe(str(path), f"is larger than {limit:,} bytes")
    compression = compression_of(stored)
    content = decompressed(stored, compression, str(path), limit) if compression else stored
    if not content:
        raise ModelUnsafe(str(path), "is empty", "copy it again")
    if content.startswith(LFS):
        raise ModelUnsafe(str(path), POINTER, "git lfs pull")
    kind = kind_of(content)
    if kind == "unknown" and content.startswith(ZIP):
        raise ModelUnsafe(str(path), "is a zip archive that is cut short or damaged", "copy it again")
    return ModelFile(
        path=str(path),
        kind=kind,
        sha256=hashlib.sha256(stored).hexdigest(),
        size=len(stored),
        content=content,
        compression=compression,
    )
