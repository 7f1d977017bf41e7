"""A bundle's folder, written whole or not at all: beside its place, on the disk, then put there in one step."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from wherry.contract.manifest import Manifest
from wherry.contract.names import MANIFEST_FILE
from wherry.errors import DiskFull, FolderTaken
from wherry.model.bundle.reading import checked_name

AT_FDCWD = -100
RENAME_EXCHANGE = 2
BYTE_CODE = frozenset({"__pycache__"})  # what Python leaves beside files that it ran


class Listed(msgspec.Struct, frozen=True):
    """What tells a bundle's manifest from other files of that name."""

    format: int
    digest: str
    files: dict[str, str]


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
    with beside(target) as new:
        for name, data in sorted(files.items()):
            write_durably(new / name, data)
        write_durably(new / MANIFEST_FILE, manifest.pretty())
        for inner in sorted({(new / name).parent for name in files} | {new}):
            sync_folder(inner)
        put_in_place(new, target)
        sync_folder(target.parent)
    return manifest


def refuse_other_folder(asked: Path, target: Path) -> None:
    """Nothing when `target` may be written: missing, an empty folder, or a bundle. Raises FolderTaken."""
    if not os.path.lexists(target):
        return
    if not target.is_dir():
        raise FolderTaken(str(asked), "it is a file")
    kept = listed_in(target / MANIFEST_FILE)
    for each in target.rglob("*"):
        name = each.relative_to(target)
        if not each.is_dir() and str(name) not in kept and BYTE_CODE.isdisjoint(name.parts):
            raise FolderTaken(str(asked), f"it holds other things than a bundle: {name}")


def listed_in(manifest: Path) -> frozenset[str]:
    """The files of the bundle whose manifest this is, in whatever version of the format, itself among them."""
    try:
        listed = msgspec.json.decode(manifest.read_bytes(), type=Listed)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return frozenset()
    return frozenset({MANIFEST_FILE, *listed.files})


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A new folder beside `target`; whatever still bears its name at the end is removed. DiskFull when the disk is."""
    path = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir()
        yield path
    except DiskFull as error:  # of a bundle inside the new folder, which nobody knows by name
        raise DiskFull(str(target.parent)) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(str(target.parent)) from error
        raise
    finally:
        shutil.rmtree(path, ignore_errors=True)


def write_durably(path: Path, data: bytes) -> None:
    """`data` in a new file at `path`, on the disk when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """The names in `path` on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_in_place(new: Path, target: Path) -> None:
    """`new` under the name `target`. What was there bears `new`'s name afterwards: at no moment is there nothing."""
    try:
        new.rename(target)  # succeeds when target is missing or an empty folder
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    else:
        return
    if not exchanged(new, target):
        # No exchange on this system: between two renames a crash leaves the old bundle under the dotted name.
        old = target.with_name(f"{new.name}.old")
        target.rename(old)
        new.rename(target)
        old.rename(new)


def exchanged(one: Path, other: Path) -> bool:
    """Whether the two folders now bear each other's names (Linux, on file systems that can)."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    done: int = renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE)
    return done == 0
