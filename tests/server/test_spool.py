"""The spool keeps what was committed, whatever happens to the process, the file or the disk."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest
import store_parts as parts
from store_parts import Memory, drain

from wherry.errors import DiskFull, LockHeld, SpoolHeld, StoreFailed
from wherry.server import segments
from wherry.server.frames import Damage, Frame, frames, head, seal
from wherry.server.mover import Mover
from wherry.server.spool import Spool

ORIGIN, entry = parts.ORIGIN, parts.entry


def fill(spool: Spool, count: int, rows: int = 1) -> None:
    for number in range(count):
        spool.append(entry(number * rows, rows))
        spool.commit()


def test_a_frame_is_found_behind_any_damage() -> None:
    whole = b"".join(head(bytes([n]) * n, n, 1) + bytes([n]) * n for n in range(1, 5)) + seal(5)
    ends = [part.end for part in frames(whole)]
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 0x5A
        parts = list(frames(bytes(broken)))
        hit = next(index for index, end in enumerate(ends) if at < end)
        good = [part.sequence for part in parts if isinstance(part, Frame)]
        assert good == [n + 1 for n in range(5) if n != hit]
        assert [part.start for part in parts] == [0, *(part.end for part in parts[:-1])]
        assert sum(isinstance(part, Damage) for part in parts) == 1


def test_a_tail_torn_at_any_byte_costs_only_the_write_that_was_torn(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "made", ORIGIN)
    fill(spool, 3)
    [path] = segments.segments(spool.folder)
    before = path.stat().st_size
    fill(spool, 1)
    whole = path.read_bytes()
    state = (spool.folder / segments.STATE).read_bytes()
    for length in range(before, len(whole)):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / segments.STATE).write_bytes(state)
        (folder / path.name).write_bytes(whole[:length])
        again = Spool(folder, ORIGIN)
        assert (again.torn, again.next) == (length - before, 3)
        fill(again, 1)
        again.close()
        memory = Memory()
        mover = drain(folder, memory)
        assert memory.sequences == [0, 1, 2, 3]
        assert (mover.progress.poison, mover.progress.duplicates) == (0, 0)
        aside = folder / segments.QUARANTINE
        kept = b"".join(file.read_bytes() for file in aside.iterdir()) if aside.exists() else b""
        assert kept == whole[before:length]
        assert segments.segments(folder) == []
    spool.close()


def test_a_flipped_byte_anywhere_costs_one_commit_and_is_counted(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "made", ORIGIN)
    fill(spool, 4, rows=2)
    spool.close()
    [path] = segments.segments(spool.folder)
    whole = path.read_bytes()
    parts = list(frames(whole))
    for at in range(parts[1].start, parts[4].end):
        broken = bytearray(whole)
        broken[at] ^= 0x5A
        path.write_bytes(broken)
        memory = Memory()
        mover = drain(spool.folder, memory)
        hit = next(index for index, part in enumerate(parts[1:5]) if at < part.end)
        assert memory.sequences == [n for n in range(8) if n // 2 != hit]
        assert (mover.progress.sequence, mover.progress.poison) == (8, 2)
    assert list((spool.folder / segments.QUARANTINE).iterdir())


def test_a_reader_that_starts_over_at_any_moment_repeats_and_loses_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ORIGIN, segment_bytes=4096)
    memory = Memory()
    for number in range(60):
        spool.append(entry(number))
        spool.commit()
        if number % 7 == 0:
            Mover(tmp_path, memory).step()
    spool.close()
    mover = drain(tmp_path, memory)
    assert memory.sequences == list(range(60))
    assert (mover.progress.duplicates, mover.progress.poison) == (0, 0)
    assert segments.segments(tmp_path) == []


def test_a_database_that_lost_everything_gets_what_is_still_there(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ORIGIN)
    fill(spool, 5)
    Mover(tmp_path, Memory()).step()
    memory = Memory()
    mover = Mover(tmp_path, memory)
    mover.step()
    assert memory.sequences == [0, 1, 2, 3, 4]
    assert mover.progress.poison == 0
    spool.close()


def test_rows_are_numbered_on_after_a_restart(tmp_path: Path) -> None:
    for run in range(3):
        spool = Spool(tmp_path, ORIGIN)
        assert spool.next == run * 4
        fill(spool, 4)
        spool.close()
    memory = Memory()
    drain(tmp_path, memory)
    assert memory.sequences == list(range(12))
    assert Spool(tmp_path, ORIGIN).next == 12


def test_a_service_without_predictions_leaves_no_segment(tmp_path: Path) -> None:
    Spool(tmp_path, ORIGIN).close()
    assert segments.segments(tmp_path) == []


def test_a_second_owner_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    first = Spool(tmp_path, ORIGIN)
    with pytest.raises(SpoolHeld, match=f"process id {os.getpid()}") as caught:
        Spool(tmp_path, ORIGIN)
    assert isinstance(caught.value, LockHeld)
    assert caught.value.pid == os.getpid()
    first.close()
    Spool(tmp_path, ORIGIN).close()


def test_a_full_spool_refuses_and_goes_on_once_there_is_room(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ORIGIN, limit=40_000, segment_bytes=8192)
    acknowledged = 0
    with pytest.raises(StoreFailed, match="wait for the database"):
        for number in range(10_000):
            spool.append(entry(number))
            spool.commit()
            acknowledged += 1
    assert 24_000 < segments.size_of(tmp_path) <= 32_000 + 500  # and the first frame of a segment
    assert spool.next == acknowledged
    memory = Memory()
    mover = Mover(tmp_path, memory)
    while mover.step():
        pass
    assert len(memory.rows) == acknowledged
    spool._looked = 0.0  # as if the time between two looks had passed
    fill(spool, 1)
    spool.close()
    drain(tmp_path, memory)
    assert memory.sequences == list(range(acknowledged + 1))


def test_a_full_spool_drops_and_counts_where_it_may(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ORIGIN, limit=40_000, segment_bytes=8192, drop=True)
    fill(spool, 1000)
    assert 0 < spool.dropped < 1000
    assert spool.next == 1000 - spool.dropped
    spool.close()
    memory = Memory()
    drain(tmp_path, memory)
    assert len(memory.rows) == 1000 - spool.dropped


@pytest.mark.parametrize(("mode", "syncs"), [("strict", 5), ("fast", 0)])
def test_only_strict_mode_waits_for_the_disk(
    mode: str, syncs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, ORIGIN, mode=mode)
    calls: list[int] = []
    monkeypatch.setattr(os, "fsync", calls.append)
    fill(spool, 5)
    assert len(calls) == syncs
    monkeypatch.undo()
    spool.close()


def test_durable_mode_syncs_within_fifty_milliseconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, ORIGIN)
    synced = threading.Event()
    by: list[str] = []

    def fsync(descriptor: int) -> None:
        by.append(threading.current_thread().name)
        synced.set()

    monkeypatch.setattr(os, "fsync", fsync)
    waits = []
    for _ in range(10):
        synced.clear()
        fill(spool, 1)
        began = time.monotonic()
        assert synced.wait(2)
        waits.append(time.monotonic() - began)
    assert set(by) == {"wherry-fsync"}
    assert sorted(waits)[5] < 0.05
    monkeypatch.undo()
    spool.close()


@pytest.mark.parametrize("mode", ["strict", "durable"])
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_failed_fsync_is_never_taken_for_success_later(
    mode: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T28."""

    def broken_fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    spool = Spool(tmp_path, ORIGIN, mode=mode)
    fill(spool, 1)
    monkeypatch.setattr(os, "fsync", broken_fsync)
    if mode == "strict":
        with pytest.raises((StoreFailed, DiskFull)):
            fill(spool, 1)
        assert spool.next == 1
        assert spool.refusing()
    else:
        fill(spool, 1)
        assert spool._syncer is not None
        while not spool._syncer.failed:
            fill(spool, 1)
    monkeypatch.undo()
    fill(spool, 1)
    assert not spool.refusing()
    assert len(segments.segments(tmp_path)) == 2
    kept = spool.next
    spool.close()
    memory = Memory()
    drain(tmp_path, memory)
    assert memory.sequences == list(range(kept))


def test_a_full_disk_refuses_and_loses_nothing_it_acknowledged(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool", ORIGIN, segment_bytes=256 * 1024)
    acknowledged = 0
    with pytest.raises(DiskFull, match="no space left"):
        for number in range(100_000):
            spool.append(entry(number))
            spool.commit()
            acknowledged += 1
    for _ in range(20):
        with pytest.raises(DiskFull):
            fill(spool, 1, rows=1000)
    assert spool.next == acknowledged > 1000
    memory = Memory()
    mover = Mover(spool.folder, memory)
    while mover.step():
        pass
    fill(spool, 3)
    spool.close()
    drain(spool.folder, memory)
    assert memory.sequences == list(range(acknowledged + 3))


def test_a_full_disk_drops_and_counts_where_it_may(small_disk: Path) -> None:
    spool = Spool(small_disk / "spool", ORIGIN, segment_bytes=256 * 1024, drop=True)
    fill(spool, 20_000)
    assert 0 < spool.dropped < 20_000
    assert spool.dropped + spool.next == 20_000
    spool.close()
    memory = Memory()
    drain(spool.folder, memory)
    assert len(memory.rows) == 20_000 - spool.dropped


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreFailed, match="file"):
        Spool(tmp_path / "file" / "spool", ORIGIN)
