"""Files and folders as a bundle needs them: links never followed, writes that last, one folder put for another."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from wherry.errors import BundleUnreadable

AT_FDCWD = -100
RENAME_EXCHANGE = 2
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK, so that a named pipe in the place of a file is refused instead of waited for.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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


@contextlib.contextmanager
def temporary_sibling(target: Path) -> Iterator[Path]:
    """A new folder beside `target`; whatever still bears its name at the end is removed."""
    path = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    path.mkdir()
    try:
        yield path
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
