"""Whatever is killed, and whenever: every row that was acknowledged ends up in the database, once."""

from __future__ import annotations

import fcntl
import http.client
import os
import random
import runpy
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wherry.contract.events import Event, Note
from wherry.server import segments
from wherry.server.mover import Mover
from wherry.server.sinks import Progress, RowsRefused, Sink

PROGRAM = Path(__file__).with_name("store_parts.py")
parts = SimpleNamespace(**runpy.run_path(str(PROGRAM)))
# The full count takes minutes: WHERRY_TEST_KILLS=200.
KILLS = int(os.environ.get("WHERRY_TEST_KILLS", "20"))


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    """Opens journals that are closed at the end."""
    opened = []

    def make(**options: Any) -> Any:
        opened.append(parts.open_store(tmp_path, **options))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def run_and_kill(folder: Path, mode: str, first: int, after: float, awaited: Path | None = None) -> int:
    """Let a producer run for a moment, kill it; the number after the last row that it acknowledged.

    awaited: a file that has to be there before the moment begins.
    """
    process = subprocess.Popen(
        [sys.executable, PROGRAM, folder, mode, str(first)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None and process.stdout is not None
    heard = process.stdout.readline()
    if awaited is not None:
        parts.until(awaited.exists, 30)
    time.sleep(after)
    process.kill()
    heard += process.stdout.read()
    process.wait()
    process.stdin.close()
    process.stdout.close()
    lines = heard.split(b"\n")[:-1]  # a line that was not ended was not acknowledged
    return int(lines[-1]) if lines else first


def kill_producers(folder: Path, mode: str, kills: int) -> tuple[int, int, int]:
    """Acknowledged, lost and repeated rows over so many killed services on one folder."""
    chance = random.Random(8)
    acknowledged: list[range] = []
    first = 0
    for _ in range(kills):
        end = run_and_kill(folder, mode, first, chance.uniform(0.0, 0.15))
        acknowledged.append(range(first, end))
        first = end + 1000  # rows that were written and not acknowledged get numbers of their own
    journal = parts.open_store(folder)
    journal.start()
    parts.until(lambda: journal.counts().pending == 0, 60)
    assert parts.adds_up(journal.counts())
    assert journal.counts().poison == 0
    journal.close()
    found = parts.numbers(folder)
    wanted = {number for run in acknowledged for number in run}
    return len(wanted), len(wanted - set(found)), len(found) - len(set(found))


@pytest.mark.parametrize("mode", ["durable", "strict"])
def test_killing_the_service_loses_and_repeats_nothing(mode: str, tmp_path: Path) -> None:
    acknowledged, lost, repeated = kill_producers(tmp_path, mode, KILLS if mode == "durable" else KILLS // 4)
    assert (lost, repeated) == (0, 0)
    assert acknowledged > KILLS
    print(f"{mode}: {acknowledged} rows acknowledged, 0 lost, 0 repeated")


def test_the_same_check_finds_a_service_that_acknowledges_too_early(tmp_path: Path) -> None:
    _, lost, _ = kill_producers(tmp_path, "early", 6)
    assert lost > 0


def test_killing_the_writer_loses_and_repeats_nothing(tmp_path: Path, journal: Callable[..., Any]) -> None:
    chance = random.Random(9)
    store = journal(segment_bytes=64 * 1024)
    store.start()
    number, killed, due = 0, 0, 0.0
    while killed < KILLS:
        time.sleep(0.0005)
        store.append(parts.entry(number, 3))
        store.commit()
        number += 3
        pid = store._keeper.pid
        if pid and time.monotonic() > due:
            os.kill(pid, signal.SIGKILL)
            killed += 1
            parts.until(lambda pid=pid: store._keeper.pid != pid, 30)
            due = time.monotonic() + chance.uniform(0.2, 0.6)  # from before its first row to well after it
    parts.until(lambda: store.counts().pending == 0, 60)
    counts = store.counts()
    assert parts.adds_up(counts)
    assert (counts.accepted, counts.stored, counts.poison) == (number, number, 0)
    assert parts.numbers(tmp_path) == list(range(number))


def test_a_locked_database_holds_nobody_up(tmp_path: Path, journal: Callable[..., Any]) -> None:
    told: list[Event] = []
    store = journal(tell=told.append)
    store.start()
    fill(store, 10)
    parts.until(lambda: store.counts().stored == 10)
    other = sqlite3.connect(tmp_path / "predictions.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("SELECT count(*) FROM predictions").fetchone()
    began = time.monotonic()
    slowest = fill(store, 200, first=10)
    assert slowest < 0.1
    parts.until(lambda: any(isinstance(event, Note) and "locked" in event.text for event in told), 20)
    assert time.monotonic() - began > 4
    counts = store.counts()
    assert (counts.stored, counts.pending) == (10, 200)
    other.execute("ROLLBACK")
    other.close()
    parts.until(lambda: store.counts().stored == 210)
    assert parts.numbers(tmp_path) == list(range(210))


def test_a_killed_service_leaves_no_writer_behind(tmp_path: Path) -> None:
    """Even one that waits for a locked database: the next service's must not wait for it."""
    sink = Sink(f"sqlite:///{tmp_path / 'predictions.db'}")
    sink.migrate()
    sink.close()
    other = sqlite3.connect(tmp_path / "predictions.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    held = tmp_path / "spool" / "0" / segments.WRITER
    run_and_kill(tmp_path, "durable", 0, 0.8, held)
    began = time.monotonic()
    with held.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert time.monotonic() - began < 3  # SQLite alone waits for five
    other.execute("ROLLBACK")
    other.close()


def test_a_reader_with_a_long_transaction_holds_nobody_up(tmp_path: Path, journal: Callable[..., Any]) -> None:
    store = journal()
    store.start()
    fill(store, 10)
    parts.until(lambda: store.counts().stored == 10)
    reader = sqlite3.connect(tmp_path / "predictions.db", isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM predictions").fetchone() == (10,)
    fill(store, 500, first=10)
    parts.until(lambda: store.counts().stored == 510)
    assert reader.execute("SELECT count(*) FROM predictions").fetchone() == (10,)
    reader.close()


def test_what_a_row_holds(tmp_path: Path, journal: Callable[..., Any]) -> None:
    store = journal()
    store.start()
    entry = parts.entry(7, 2)
    store.append(entry)
    store.commit()
    parts.until(lambda: store.counts().stored == 2)
    database = sqlite3.connect(tmp_path / "predictions.db")
    database.row_factory = sqlite3.Row
    first, second = (dict(row) for row in database.execute("SELECT * FROM predictions ORDER BY rowid"))
    database.close()
    created = first.pop("created_at")
    second.pop("created_at")
    assert first == {
        "id": entry.id,
        "request_id": "r7",
        "model_name": "m",
        "model_version": "1",
        "model_digest": "d" * 64,
        "signature_hash": "s" * 64,
        "inputs": '{"n":7,"text":"grün"}',
        "outputs": '{"prediction":"M","probabilities":[0.25,0.75]}',
        "status": 200,
        "latency_ms": 1.5,
        "door": "native",
        "host": "host",
        "sequence": 0,
    }
    assert second == first | {"id": f"{entry.id}-1", "inputs": '{"n":8,"text":"grün"}', "sequence": 1}
    seconds = sqlite3.connect(":memory:").execute("SELECT unixepoch(?)", (created,)).fetchone()[0]
    assert seconds == entry.time_ns // 1_000_000_000


def test_rows_are_there_after_a_stop_and_the_spool_is_empty(tmp_path: Path) -> None:
    for run in range(2):
        store = parts.open_store(tmp_path)
        store.start()
        fill(store, 50, first=50 * run)
        store.close()
        assert store.counts().pending == 0
        assert segments.segments(tmp_path / "spool" / "0") == []
    assert parts.numbers(tmp_path) == list(range(100))


def test_a_service_that_never_became_ready_leaves_its_rows_for_the_next(tmp_path: Path) -> None:
    told: list[Event] = []
    store = parts.open_store(tmp_path, told.append)
    fill(store, 5)
    store.close()
    assert [event.text.split(" wait")[0] for event in told if isinstance(event, Note)] == ["5 predictions"]
    store = parts.open_store(tmp_path)
    assert store.counts().pending == 5
    store.start()
    parts.until(lambda: store.counts().stored == 5)
    store.close()


def test_a_row_that_the_database_refuses_holds_no_other_up(tmp_path: Path) -> None:
    class Picky(Sink):
        def store(self, rows: Any, *args: Any) -> Any:
            if any('"n":3,' in row[7] for row in rows):
                raise RowsRefused("no threes")
            return super().store(rows, *args)

    store = parts.open_store(tmp_path)
    fill(store, 10)
    store.close()
    sink = Picky(f"sqlite:///{tmp_path / 'predictions.db'}")
    sink.migrate()
    mover = Mover(tmp_path / "spool" / "0", sink)
    while mover.step():
        pass
    sink.close()
    assert parts.numbers(tmp_path) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert mover.progress == Progress(mover.progress.segment, mover.progress.position, 10, 1, 0)
    [aside] = (tmp_path / "spool" / "0" / segments.QUARANTINE).iterdir()
    assert "no threes" in aside.read_text()


def fill(store: Any, count: int, first: int = 0) -> float:
    """Commit rows one by one; seconds that the slowest took."""
    slowest = 0.0
    for number in range(first, first + count):
        store.append(parts.entry(number))
        began = time.perf_counter()
        store.commit()
        slowest = max(slowest, time.perf_counter() - began)
    return slowest


def answered(url: str, body: bytes, into: list[str], count: int = 1_000_000) -> None:
    """Ask again and again, noting the prediction id of every reply, until the service is gone."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    try:
        for _ in range(count):
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            reply = connection.getresponse()
            reply.read()
            assert reply.status == 200
            into.append(reply.headers["X-Prediction-Id"])
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


def test_every_reply_of_the_real_service_is_in_the_store_after_it_was_killed(
    tmp_path: Path, service: Callable[..., Any], linear_bundle: Path
) -> None:
    chance = random.Random(10)
    body = (linear_bundle / "example.json").read_bytes()
    ids: list[str] = []
    for _ in range(max(3, KILLS // 10)):
        running = service(linear_bundle, cwd=tmp_path)
        clients = [threading.Thread(target=answered, args=(running.url, body, ids)) for _ in range(4)]
        for client in clients:
            client.start()
        time.sleep(chance.uniform(0.05, 0.4))
        running.process.kill()
        running.process.wait()
        for client in clients:
            client.join()
    running = service(linear_bundle, cwd=tmp_path)
    answered(running.url, body, ids, 5)
    assert running.stop() == 0
    with sqlite3.connect(tmp_path / ".wherry" / "predictions.db") as database:
        found = [row for (row,) in database.execute("SELECT id FROM predictions")]
        contents = database.execute("SELECT count(*), count(DISTINCT id), min(door) FROM predictions").fetchone()
    database.close()
    assert len(ids) > 50
    assert set(ids) - set(found) == set()
    assert contents[0] == contents[1]
    assert segments.segments(tmp_path / ".wherry" / "spool" / "0") == []
    print(f"{len(ids)} predictions acknowledged by services that were killed, 0 lost, 0 repeated")
