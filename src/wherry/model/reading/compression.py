"""Compressed bytes: by what, told from their first ones, and what they unpack to, within a limit."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import Any, BinaryIO, Literal

from wherry.errors import ModelUnsafe

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
        raise ModelUnsafe(
            path, f"is {compression} data that is cut short or damaged ({error})", "copy it again"
        ) from error
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
