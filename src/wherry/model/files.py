"""Model files: what they are, told by their content and never by their name, decompressed within a limit."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from wherry.errors import FileMissing, ModelUnsafe

Kind = Literal["pickle", "skops", "onnx", "npz", "keras", "torch", "hdf5", "zip", "parquet", "text", "empty", "unknown"]
Compression = Literal["", "gzip", "zlib", "bz2", "lzma", "xz", "lz4"]

LIMIT = 4 << 30  # bytes of a model once it is decompressed; the largest forests that people serve stay below
CHUNK = 1 << 20

# What a file begins with, in joblib's own order. LZMA's old container has no magic, only its usual properties byte.
PREFIXES: tuple[tuple[bytes, Compression], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ", "xz"),
    (b"\x5d\x00", "lzma"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x78\x01", "zlib"),
    (b"\x78\x5e", "zlib"),
    (b"\x78\x9c", "zlib"),
    (b"\x78\xda", "zlib"),
)
# How a pickle of protocol 0 or 1 begins: a global, or a mark, an empty container and what fills it.
OLD_PICKLE = re.compile(rb"c[A-Za-z_][\w.]*\n[A-Za-z_][\w.]*\n|\((?:[cdilt]|[a-z]?c[a-z_]|S'|V)|[]}]q|[]}]\(")

# What each kind is called in an error.
CALLED: dict[Kind, str] = {
    "pickle": "a pickle",
    "skops": "a skops file",
    "onnx": "an ONNX model",
    "npz": "a numpy archive (.npz)",
    "keras": "a Keras model",
    "torch": "a PyTorch model",
    "hdf5": "an HDF5 file (Keras keeps models so)",
    "zip": "a zip archive",
    "parquet": "a Parquet table",
    "text": "a text file",
    "empty": "an empty file",
    "unknown": "a file of an unknown kind",
}


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


def compression_of(content: bytes) -> Compression:
    for prefix, compression in PREFIXES:
        if content.startswith(prefix):
            return compression
    return ""


def decompressed(stored: bytes, compression: Compression, path: str, limit: int = LIMIT) -> bytes:
    """`stored` without its compression. Raises ModelUnsafe when it is broken, or unpacks to more than `limit` bytes."""
    out = io.BytesIO()
    try:
        with opened(stored, compression, path) as stream:
            while chunk := stream.read(CHUNK):
                out.write(chunk)
                if out.tell() > limit:
                    raise ModelUnsafe(path, f"unpacks to more than {limit:,} bytes")
    except (OSError, EOFError, zlib.error, lzma.LZMAError, RuntimeError) as error:
        raise ModelUnsafe(path, f"is {compression} data that is cut short or damaged ({error})") from error
    return out.getvalue()


def opened(stored: bytes, compression: Compression, path: str) -> BinaryIO | Any:
    source = io.BytesIO(stored)
    if compression == "gzip":
        return gzip.GzipFile(fileobj=source)
    if compression == "bz2":
        return bz2.BZ2File(source)
    if compression in ("lzma", "xz"):
        return lzma.LZMAFile(source)
    if compression == "lz4":
        try:
            import lz4.frame  # type: ignore[import-not-found]  # optional, and joblib's own choice of package
        except ImportError as error:
            raise ModelUnsafe(path, "is lz4 data, and lz4 is not installed", "pip install lz4") from error
        return lz4.frame.LZ4FrameFile(source)
    return ZlibStream(stored)


class ZlibStream:
    """Bare zlib data, read in pieces; bytes behind its end are refused, as in the other formats."""

    def __init__(self, stored: bytes) -> None:
        self.rest = stored
        self.inflate = zlib.decompressobj()

    def __enter__(self) -> ZlibStream:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def read(self, count: int) -> bytes:
        piece = b""
        while not piece and not self.inflate.eof:
            if not self.rest:
                raise EOFError("the end is missing")
            piece = self.inflate.decompress(self.rest, count)
            self.rest = self.inflate.unconsumed_tail
        if self.inflate.eof and self.inflate.unused_data:
            raise EOFError("bytes follow the end")
        return piece


def kind_of(content: bytes) -> Kind:
    """What (decompressed) content is."""
    if not content:
        return "empty"
    if content[0] == 0x80 and len(content) > 1 and content[1] <= 5:
        return "pickle"
    if content.startswith(b"PK\x03\x04"):
        return kind_of_zip(content)
    if content.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if content.startswith(b"PAR1"):
        return "parquet"
    if looks_like_onnx(content):
        return "onnx"
    if OLD_PICKLE.match(content):
        return "pickle"
    head = content[:4096]
    return "text" if b"\0" not in head and all(byte >= 32 or byte in b"\t\n\r\f" for byte in head) else "unknown"


def kind_of_zip(content: bytes) -> Kind:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()[:100_000]
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return "unknown"
    if "schema.json" in names:
        return "skops"
    if "config.json" in names and any(name.endswith(".h5") for name in names):
        return "keras"
    if any(name.rpartition("/")[2] == "data.pkl" for name in names):
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    return "zip"


def looks_like_onnx(content: bytes) -> bool:
    """A protobuf message whose first fields are those of onnx.ModelProto: ir_version, then producer, opset or graph."""
    fields = []
    place = 0
    for _ in range(3):
        try:
            tag, place = varint(content, place)
            fields.append(tag >> 3)
            if tag & 7 == 0:
                value, place = varint(content, place)
                if tag >> 3 == 1 and not 1 <= value <= 1000:
                    return False
            elif tag & 7 == 2:
                length, place = varint(content, place)
                place += length
            else:
                return False
        except IndexError:
            break
        if place > len(content):
            return False
    return (
        len(fields) >= 2 and fields[0] == 1 and all(field in (1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25) for field in fields)
    )


def varint(content: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise IndexError
