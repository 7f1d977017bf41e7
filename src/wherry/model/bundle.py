"""A bundle on disk: written whole or not at all, and read only when every byte is the one that was packed.

What belongs to a bundle is what its manifest lists: one file more, one less, or a link in its place is refused. Files
and folders whose name begins with a dot are left aside (.gitignore, .DS_Store): nothing ever reads them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from wherry.contract.golden import GoldenRows
from wherry.contract.manifest import Manifest
from wherry.contract.names import MANIFEST_FILE
from wherry.errors import BundleDamaged, BundleMissing, BundleUnreadable, DiskFull, FolderTaken
from wherry.model.disk import opened, put_in_place, sync_folder, temporary_sibling, walk, write_durably

CHUNK = 1 << 20


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bundle in `folder`, its own digest checked; no other file is read.

    Raises BundleMissing, BundleUnreadable, BundleDamaged, FormatUnknown.
    """
    path = folder / MANIFEST_FILE
    try:
        with opened(folder, MANIFEST_FILE) as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleMissing(str(folder)) from error
    manifest = Manifest.parse(text)
    found = digest_of_text(text)
    if found != manifest.digest:
        raise BundleDamaged(str(path), expected=manifest.digest, found=found)
    return manifest


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


def write(folder: Path, draft: Manifest, files: Mapping[str, bytes]) -> Manifest:
    """Put a bundle of `files` in `folder`, whole or not at all, and return its manifest, sealed.

    A bundle that is there is replaced, an empty folder filled; any other folder is refused (FolderTaken). DiskFull when
    the disk is: nothing half-written stays behind.
    """
    target = Path(os.path.realpath(folder))
    refuse_other_folder(folder, target)
    listed = {checked_name(name): hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())}
    # Through its own text, so that what is sealed is what a reader will see (1 in a field of floats is read as 1.0).
    manifest = Manifest.parse(msgspec.structs.replace(draft, files=listed).pretty()).sealed()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_sibling(target) as new:
            for name, data in sorted(files.items()):
                write_durably(new / name, data)
            write_durably(new / MANIFEST_FILE, manifest.pretty())
            for inner in sorted({(new / name).parent for name in files} | {new}):
                sync_folder(inner)
            put_in_place(new, target)
            sync_folder(target.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(str(target.parent)) from error
        raise
    return manifest


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


def refuse_other_folder(asked: Path, target: Path) -> None:
    """Nothing when `target` may be written: missing, an empty folder, or a bundle. Raises FolderTaken."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise FolderTaken(str(asked), "it is a file")
    if not (target / MANIFEST_FILE).is_file() and any(target.iterdir()):
        raise FolderTaken(str(asked), "it holds other things than a bundle")


def checked_name(name: str) -> str:
    """`name` when it can only lie inside the bundle: relative, with forward slashes, no dots to climb by."""
    pure = PurePosixPath(name)
    clean = bool(name) and name == pure.as_posix() and not pure.is_absolute() and "\\" not in name and "\0" not in name
    if not clean or any(part.startswith(".") for part in pure.parts) or name == MANIFEST_FILE:
        raise BundleUnreadable(MANIFEST_FILE, f"lists {name!r}, which is no file inside the bundle")
    return name
