"""What builds keep for each other in ~/.cache/wherry (XDG_CACHE_HOME): wheels, layers, the base's blobs, cut uploads.

Every file is whole: it is written beside its place and renamed. Removing the folder costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from wherry.errors import CacheUnusable, DiskFull

# What no build has used for so long is removed.
KEPT_SECONDS = 30 * 24 * 3600.0


def root() -> Path:
    """The folder of the cache; it need not be there."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if named.startswith("/") else Path.home() / ".cache") / "wherry"


def blob(digest: str) -> Path:
    """Where the blob with this digest lies, if it does."""
    return root() / "blobs" / digest.replace(":", "-")


def note(kind: str, key: str) -> Path:
    """Where the JSON document of this kind and key lies, if it does."""
    return root() / kind / f"{key}.json"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes `path`'s place when the block ends well, and leaves nothing when not.

    Raises DiskFull, CacheUnusable.
    """
    with spoken(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with beside.open("xb") as file:
                yield file
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextlib.contextmanager
def spoken(path: Path) -> Iterator[None]:
    """Says of a full disk that it is full, and of a folder that takes no file why."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(str(path.parent)) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise CacheUnusable(str(path.parent), str(error.strerror)) from error
        raise


def remember(kind: str, key: str, value: Any) -> None:
    """Keep a value as JSON. Raises DiskFull, CacheUnusable."""
    with writing(note(kind, key)) as file:
        file.write(msgspec.json.encode(value))


def recall(kind: str, key: str, shape: Any) -> Any:
    """The value that was kept, None when there is none of this shape."""
    try:
        return msgspec.json.decode(note(kind, key).read_bytes(), type=shape)
    except (OSError, msgspec.DecodeError):
        return None


def used(path: Path) -> Path:
    """`path`, marked as used just now."""
    with contextlib.suppress(OSError):
        os.utime(path)
    return path


def tidy() -> None:
    """Remove what no build has used for a month."""
    before = time.time() - KEPT_SECONDS
    for path in root().rglob("*"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime < before:
                path.unlink()
