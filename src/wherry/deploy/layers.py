"""Layers of an image, computed: the same files make the same bytes, whoever computes them, where and when."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from wherry.deploy import caches
from wherry.errors import SettingProblem, SettingsRefused

# How each layer of ours begins in an image's history.
OURS = "wherry: "
ENV_EPOCH = "SOURCE_DATE_EPOCH"
GZIP_LEVEL = 6
GZIP_WINDOW = 31  # a gzip header without a name and a time
CHUNK = 1 << 18
PENDING = 64  # pieces that wait to be compressed


class Entry(msgspec.Struct, frozen=True):
    """A file, or without content a folder, as it lies in the image. `part`: the name and version it counts under."""

    path: str
    mode: int
    content: bytes | Path | None = None
    owner: int = 0
    part: tuple[str, str] = ("", "")


class Part(msgspec.Struct, frozen=True):
    """Something that a person knows by name (a package, a file of the model), and the bytes that it takes."""

    name: str
    version: str
    size: int


class Layer(msgspec.Struct, frozen=True):
    """A layer that lies in the cache. digest, size: of the compressed blob; diff_id, unpacked: of what it holds."""

    name: str
    digest: str
    size: int
    diff_id: str
    unpacked: int
    parts: tuple[Part, ...]
    about: str = ""

    @property
    def path(self) -> Path:
        return caches.blob(self.digest)


def epoch() -> int:
    """The time that every file gets: SOURCE_DATE_EPOCH, else 0. Raises SettingsRefused."""
    text = os.environ.get(ENV_EPOCH, "")
    if text and not (text.isascii() and text.isdigit()):
        problem = SettingProblem(ENV_EPOCH, f"is {text!r}, no whole number of seconds", f"unset {ENV_EPOCH}")
        raise SettingsRefused((problem,), "the environment")
    return int(text or "0")


def made(name: str, about: str, inputs: object, entries: Callable[[], Iterable[Entry]]) -> Layer:
    """The layer of these entries: from the cache when `inputs`, which decide them, have not changed.

    Raises DiskFull, CacheUnusable, SettingsRefused.
    """
    decided = [name, about, epoch(), zlib.ZLIB_RUNTIME_VERSION, GZIP_LEVEL, inputs]
    about = f"{OURS}{about}"
    key = hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()
    known: Layer | None = caches.recall("layers", key, Layer)
    if known is not None and known.path.exists() and known.path.stat().st_size == known.size:
        caches.used(caches.note("layers", key))
        caches.used(known.path)
        return known
    sizes: dict[tuple[str, str], int] = {}
    with caches.writing(caches.root() / "blobs" / f"new-{key}") as file, Packed(file) as packed:
        with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK) as archive:  # type: ignore[call-overload]  # a stream needs write alone
            for entry in with_folders(entries()):
                sizes[entry.part] = sizes.get(entry.part, 0) + add(archive, entry)
        packed.close()
    digest = f"sha256:{packed.outer.hexdigest()}"
    with caches.spoken(caches.blob(digest)):
        (caches.root() / "blobs" / f"new-{key}").replace(caches.blob(digest))
    parts = [Part(name_of, version, size) for (name_of, version), size in sizes.items() if name_of]
    layer = Layer(
        name=name,
        digest=digest,
        size=packed.size,
        diff_id=f"sha256:{packed.inner.hexdigest()}",
        unpacked=sum(sizes.values()),
        parts=tuple(sorted(parts, key=lambda part: (-part.size, part.name))),
        about=about,
    )
    caches.remember("layers", key, layer)
    return layer


def with_folders(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries, each after the folders that lead to it, every folder once."""
    seen: set[str] = set()
    for entry in entries:
        leading = [str(folder) for folder in reversed(PurePosixPath(entry.path).parents) if str(folder) != "."]
        for folder in leading:
            if folder not in seen:
                seen.add(folder)
                yield Entry(folder, 0o755)
        if entry.content is not None or entry.path not in seen:
            seen.add(entry.path)
            yield entry


def add(archive: tarfile.TarFile, entry: Entry) -> int:
    """Write the entry; the bytes of its content."""
    info = tarfile.TarInfo(entry.path)
    info.mode, info.mtime, info.uid, info.gid = entry.mode, epoch(), entry.owner, entry.owner
    if entry.content is None:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif isinstance(entry.content, Path):
        with entry.content.open("rb") as stream:
            info.size = os.fstat(stream.fileno()).st_size
            archive.addfile(info, stream)
    else:
        info.size = len(entry.content)
        archive.addfile(info, io.BytesIO(entry.content))
    return info.size


class Packed:
    """Where a tar archive is written to: compressed into a file, with the digests of what goes in and comes out.

    Compressing goes on beside the reading and compiling, in a thread of its own.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.inner, self.outer = hashlib.sha256(), hashlib.sha256()
        self.gzip = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WINDOW)
        self.size = 0
        self.worker = ThreadPoolExecutor(1)
        self.pending: deque[Future[None]] = deque()

    def __enter__(self) -> Packed:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.worker.shutdown(cancel_futures=kind is not None)

    def write(self, data: bytes) -> int:
        self.pending.append(self.worker.submit(self.take, data))
        while len(self.pending) > PENDING:
            self.pending.popleft().result()
        return len(data)

    def close(self) -> None:
        """Wait until everything is in the file."""
        for done in self.pending:
            done.result()
        self.put(self.gzip.flush())

    def take(self, data: bytes) -> None:
        self.inner.update(data)
        self.put(self.gzip.compress(data))

    def put(self, data: bytes) -> None:
        self.outer.update(data)
        self.file.write(data)
        self.size += len(data)
