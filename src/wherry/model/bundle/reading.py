"""A bundle's files, read: each held against its digest, no link followed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import Manifest
from wherry.contract.names import MANIFEST_FILE
from wherry.errors import BundleDamaged, BundleMissing, BundleUnreadable

CHUNK = 1 << 20
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK, so that a named pipe in the place of a file is refused instead of waited for.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in `folder`, its own digest checked; no other file is read.

    Raises BundleMissing, BundleUnreadable, BundleDamaged, FormatUnknown.
    """
    path = folder / MANIFEST_FILE
    text = manifest_text(folder)
    manifest = Manifest.parse(text, str(path))
    found = digest_of_text(text)
    if found != manifest.digest:
        raise BundleDamaged(str(path), expected=manifest.digest, found=found)
    return manifest


def manifest_text(folder: Path, attempts: int = 8) -> bytes:
    """What manifest.json holds. A folder that is replaced while it is opened is opened again. Raises BundleMissing."""
    try:
        with opened(folder, MANIFEST_FILE) as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        if attempts and (folder / MANIFEST_FILE).is_file():
            return manifest_text(folder, attempts - 1)
        raise BundleMissing(str(folder), "folder" if folder.is_dir() else "file" if folder.exists() else "") from error


def verify(folder: Path) -> Manifest:
    """The manifest of a bundle whose every file was read and found to be the one that was packed.

    Raises what read_manifest raises; BundleDamaged names the file and both digests.
    """
    manifest = read_manifest(folder)
    for name in sorted({manifest.model, manifest.golden.file, manifest.baseline} - {"", *manifest.files}):
        raise BundleUnreadable(str(folder / MANIFEST_FILE), f"needs {name}, which its list of files does not have")
    for name, expected in manifest.files.items():
        found = digest_of_file(folder, checked_name(name))
        if found != expected:
            raise BundleDamaged(str(folder / name), expected=expected, found=found)
    for name in sorted(set(walk(folder)) - {MANIFEST_FILE, *manifest.files}):
        hint = "move it out of the bundle's folder"
        raise BundleUnreadable(str(folder / name), "is not among the files that were packed", hint=hint)
    return manifest


def golden(folder: Path, manifest: Manifest) -> GoldenRows:
    """The golden rows of a bundle."""
    text = read_file(folder, manifest, manifest.golden.file)
    try:
        return msgspec.json.decode(text, type=GoldenRows)
    except msgspec.DecodeError as error:
        raise BundleUnreadable(str(folder / manifest.golden.file), str(error)) from error


def read_file(folder: Path, manifest: Manifest, name: str) -> bytes:
    """The bytes of one file of the bundle, once they are found to be those that were packed."""
    expected = manifest.files.get(name)
    if expected is None:
        raise BundleUnreadable(str(folder / MANIFEST_FILE), f"has no file {name}")
    with listed(folder, checked_name(name)) as file:
        data = file.read()
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise BundleDamaged(str(folder / name), expected=expected, found=found)
    return data


def model_bytes(path: Path, manifest: Manifest) -> bytes:
    """The model's file at `path`, as a flavor is given it, with its digest checked as it is read."""
    return read_file(path.parents[manifest.model.count("/")], manifest, manifest.model)


def digest_of_text(text: bytes) -> str:
    """The digest that the manifest in `text` ought to state: of all it says, also of keys that this reader ignores."""
    raw = json.loads(text)
    raw.pop("digest", None)
    canonical = json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def digest_of_file(folder: Path, name: str) -> str:
    """The sha-256 of a file that the manifest lists."""
    digest = hashlib.sha256()
    with listed(folder, name) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextlib.contextmanager
def listed(folder: Path, name: str) -> Iterator[BinaryIO]:
    """A file that the manifest lists, opened; that it is missing is the bundle's fault."""
    try:
        with opened(folder, name) as file:
            yield file
    except FileNotFoundError as error:
        raise BundleUnreadable(str(folder / name), "is missing, though the manifest lists it") from error


@contextlib.contextmanager
def opened(folder: Path, name: str) -> Iterator[BinaryIO]:
    """The regular file `name` (with forward slashes) inside `folder`, for reading; no link below `folder` is followed.

    Raises FileNotFoundError when it or `folder` is missing, BundleUnreadable when it is anything but a regular file.
    """
    *parents, last = PurePosixPath(name).parts
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parents:
            inner = os.open(part, FOLDER, dir_fd=place)
            os.close(place)
            place = inner
        descriptor = os.open(last, FILE, dir_fd=place)
    except OSError as error:
        if error.errno == errno.ELOOP or (error.errno == errno.ENOTDIR and parents):
            raise BundleUnreadable(str(folder / name), "is a link, and a bundle has none") from error
        raise
    finally:
        os.close(place)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BundleUnreadable(str(folder / name), "is not a regular file")
        yield file


def walk(folder: Path) -> Iterator[str]:
    """The name of all below `folder` that is not a folder, links included; what begins with a dot is left aside."""
    places = [folder]
    while places:
        with os.scandir(places.pop()) as found:
            for entry in found:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    places.append(Path(entry.path))
                else:
                    yield Path(entry.path).relative_to(folder).as_posix()


def checked_name(name: str) -> str:
    """`name` when it can only lie inside the bundle: relative, with forward slashes, no dots to climb by."""
    pure = PurePosixPath(name)
    clean = bool(name) and name == pure.as_posix() and not pure.is_absolute() and "\\" not in name and "\0" not in name
    if not clean or any(part.startswith(".") for part in pure.parts) or name == MANIFEST_FILE:
        raise BundleUnreadable(MANIFEST_FILE, f"lists {name!r}, which is no file inside the bundle")
    return name
