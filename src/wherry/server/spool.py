"""The spool: rows wait here, in append-only files, until the database has them.

What was committed survives the end of any process, because the kernel has it. Against a power cut: strict mode syncs
each commit to the disk before it returns, durable mode within 50 ms, fast mode leaves it to the kernel (and is else
what durable is: nothing is queued in memory).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from wherry.errors import DiskFull, SpoolHeld, StoreFailed, WherryError
from wherry.server import segments
from wherry.server.frames import head, seal
from wherry.server.journal import Entry, Feedback
from wherry.server.segments import Origin, State
from wherry.server.syncing import Syncer

LIMIT = 256 * 1024 * 1024
# A volume that runs full gets its pod evicted: of what it may take, the spool uses this much.
USABLE = 0.8
SEGMENT_BYTES = 8 * 1024 * 1024
REFUSING_SECONDS = 5.0  # after a failure that nothing else tells the end of
ROOM = 64 * 1024  # bytes on the disk from which on a commit is tried again
LOOK_AGAIN_SECONDS = 0.05  # how often a full spool looks whether the database has caught up


class Spool:
    """The writing end. One owner at a time, one thread; raises SpoolHeld, StoreFailed, DiskFull when opened."""

    def __init__(
        self,
        folder: Path,
        origin: Origin,
        *,
        mode: Literal["durable", "strict", "fast"] = "durable",
        drop: bool = False,
        limit: int = LIMIT,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self.folder = folder
        self.dropped = 0  # rows that were not kept, under the policy that allows it
        self.torn = 0  # bytes cut off because a process ended in the middle of a write
        self._strict = mode == "strict"
        self._drop = drop
        self._usable = int(limit * USABLE)
        self._segment_bytes = min(segment_bytes, max(self._usable // 4, 4096))
        self._encode = msgspec.msgpack.Encoder().encode
        self._entries: list[Entry] = []  # appended, and not committed
        self._truths: list[Feedback] = []
        self._next = 0  # the number of the next row
        self._file = -1
        self._broken = False
        self._looked = 0.0
        self._failed = 0.0  # when the last commit failed; 0 when it did not
        self._syncer: Syncer | None = None
        with failures(folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._owner = own(folder)
        try:
            with failures(folder):
                self._recover(origin)
                self._open()
        except WherryError:
            os.close(self._owner)
            raise
        if mode == "durable":
            self._syncer = Syncer()

    @property
    def next(self) -> int:
        """The number that the next row gets; what was appended and not committed is not counted."""
        return self._next

    def append(self, entry: Entry) -> None:
        """Take up an entry for the next commit."""
        self._entries.append(entry)

    def append_feedback(self, feedback: Feedback) -> None:
        """Take up a truth for the next commit."""
        self._truths.append(feedback)

    def commit(self) -> None:
        """Write all that was appended at once, or raise and forget it (or drop and count it, under that policy)."""
        if not self._entries and not self._truths:
            return
        data, following = b"", self._next
        if self._entries:
            data = self._encode(self._entries)
            rows = sum([len(entry.rows) for entry in self._entries])
            data = head(data, following, rows) + data
            following += rows
            self._entries = []
        if self._truths:
            truths = self._encode(self._truths)
            data += head(truths, following, len(self._truths)) + truths
            following += len(self._truths)
            self._truths = []
        try:
            self._write(data)
        except (OSError, StoreFailed) as error:
            self._failed = time.monotonic()
            if not self._drop:
                raise failure(self.folder, error) from error
            self.dropped += following - self._next
        else:
            self._next = following
            self._failed = 0.0

    def refusing(self) -> bool:
        """Whether the last commit failed, and there is no sign that the next will not; from any thread."""
        if not self._failed:
            return False
        try:
            disk = os.statvfs(self.folder)
            full = disk.f_bavail * disk.f_frsize < ROOM or segments.size_of(self.folder) > self._usable - ROOM
        except OSError:
            return True
        return full or bool(disk.f_flag & os.ST_RDONLY) or time.monotonic() - self._failed < REFUSING_SECONDS

    def close(self) -> None:
        """Commit, end the segment, have it all on the disk, and let another service have the folder."""
        try:
            self.commit()
            with failures(self.folder):
                self._finish(sealed=self._note_next())
        finally:
            if self._syncer is not None:
                self._syncer.close()
            os.close(self._owner)

    def _write(self, data: bytes) -> None:
        if self._bytes + len(data) > self._usable:
            self._look(len(data))
        if self._broken or self._unsynced() or self._began < self._position > self._segment_bytes - len(data):
            self._turn()
        try:
            written = os.write(self._file, data)
            if written < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._strict:
                os.fsync(self._file)
        except OSError:
            # The reader may have seen a part already, so nothing else is ever written behind this place.
            self._broken = True
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._position)
            raise
        self._position += written
        self._bytes += written
        if self._syncer is not None:
            self._syncer.note(self._file)

    def _unsynced(self) -> bool:
        return self._syncer is not None and self._file in self._syncer.failed

    def _look(self, more: int) -> None:
        """Raise StoreFailed unless the reader has made room since."""
        now = time.monotonic()
        if now - self._looked >= LOOK_AGAIN_SECONDS:
            self._looked = now
            self._bytes = segments.size_of(self.folder)
        if self._bytes + more > self._usable:
            raise StoreFailed(
                str(self.folder),
                f"{self._bytes:,} bytes wait for the database, and no more than {self._usable:,} may",
                "look why the database takes nothing, or raise store.spool_limit",
            )

    def _recover(self, origin: Origin) -> None:
        """Find where the last owner stopped; what it left half written is cut off and put aside."""
        state = segments.read_state(self.folder)
        self._origin = msgspec.structs.replace(origin, spool=state.spool if state else uuid.uuid4().hex)
        self._next = state.next if state else 0
        found = segments.segments(self.folder)
        self._last = found[-1] if found else None
        if self._last is not None:
            tail = segments.tail_of(self._last, self._next)
            self._next = max(self._next, tail.sequence)
            self.torn = segments.cut(self._last, tail.end)
        oldest = [segments.first_sequence(path) for path in found[:1]]
        self.waiting_from = min([self._next, *(number for number in oldest if number is not None)])
        segments.write_state(self.folder, State(self._origin.spool, self._next))
        self._bytes = segments.size_of(self.folder)

    def _turn(self) -> None:
        """Go on in a new segment."""
        old, self._file = self._file, -1
        if old >= 0:
            if not self._broken:
                with contextlib.suppress(OSError):  # the next segment's being there says the same
                    os.write(old, seal(self._next))
            if self._syncer is not None:
                self._syncer.retire(old)
            else:
                os.close(old)
        self._broken = True  # until the new one stands
        self._open()

    def _open(self) -> None:
        path = segments.after(self._last, self.folder)
        begin = segments.first_frame(msgspec.structs.replace(self._origin, segment=uuid.uuid4().hex), self._next)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if os.write(self._file, begin) < len(begin):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if self._strict:
                os.fsync(self._file)
                sync_folder(self.folder)
        except OSError:
            os.close(self._file)
            self._file = -1
            path.unlink()
            raise
        self._last = path
        self._position = self._began = len(begin)
        self._bytes += len(begin)
        self._broken = False

    def _note_next(self) -> bool:
        """Note where the next start goes on, so that no segment need be kept to tell; False when there is no room."""
        try:
            segments.write_state(self.folder, State(self._origin.spool, self._next))
        except OSError:
            return False
        return True

    def _finish(self, sealed: bool) -> None:
        """End the current segment; one without rows is removed, one that is not sealed stays until the next start."""
        if self._file < 0:
            return
        if self._position == self._began and self._last is not None:
            self._last.unlink()
        elif not self._broken:
            if sealed:
                with contextlib.suppress(OSError):  # a seal that finds no room is made up for at the next start
                    os.write(self._file, seal(self._next))
            os.fsync(self._file)
        if self._syncer is not None:
            self._syncer.retire(self._file)
        else:
            os.close(self._file)
        self._file = -1


def failure(folder: Path, error: OSError | StoreFailed) -> WherryError:
    """The error to raise when the system would not let us write to `folder`."""
    if isinstance(error, StoreFailed):
        return error
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(str(folder))
    return StoreFailed(str(folder), error.strerror or str(error))


@contextlib.contextmanager
def failures(folder: Path) -> Iterator[None]:
    """Turn any OSError into DiskFull or StoreFailed that name `folder`."""
    try:
        yield
    except OSError as error:
        raise failure(folder, error) from error


def own(folder: Path) -> int:
    """Become the folder's owner until the returned descriptor is closed. Raises SpoolHeld naming who is."""
    lock = os.open(folder / segments.OWNER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        text = os.pread(lock, 32, 0).strip()
        os.close(lock)
        raise SpoolHeld(str(folder), int(text) if text.isdigit() else 0) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
