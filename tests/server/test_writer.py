"""Whatever is killed, and whenever: every row that was acknowledged ends up in the database, once."""

from __future__ import annotations

import fcntl
import http.client
import os
import random
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import databases
import pytest
import store_parts as parts

from wherry.contract.events import Event, Note, silent
from wherry.server import segments
from wherry.server.keeper import Keeper, Task
from wherry.server.mover import Mover
from wherry.server.sinks import Progress, RowsRefused, Sink
from wherry.server.spool import Spool
from wherry.server.stored import StoredJournal

KILLS = int(os.environ.get("WHERRY_TEST_KILLS", "4"))  # 200 take minutes


def test_the_same_check_finds_a_service_that_acknowledges_too_early(tmp_path: Path) -> None:
    _, lost, _ = parts.kill_producers(databases.File(tmp_path / "p.db"), tmp_path, "early", 6)
    assert lost > 0


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
    parts.run_and_kill(tmp_path, "durable", 0, 0.8, held)
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


@pytest.mark.parametrize("rows", [0, 1], ids=["idle", "control"])
def test_a_stop_right_after_the_start_waits_for_the_writer_only_where_something_waits(
    rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who presses Ctrl-C at once would else wait until the writer has loaded its libraries."""
    monkeypatch.setattr("wherry.server.keeper.FLUSH_SECONDS", 0.5 if rows else 60.0)
    spool = Spool(tmp_path / "spool", parts.ORIGIN)
    started = tmp_path / "started"
    never = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(60)"
    keeper = Keeper(Task(str(spool.folder), "sqlite://"), silent, (sys.executable, "-c", never))
    journal = StoredJournal(spool, keeper, "", silent)
    journal.start()
    fill(journal, rows)
    parts.until(started.exists, 20)
    begun, pid = time.monotonic(), keeper.pid
    journal.close()
    assert (2 if rows else 0) < time.monotonic() - begun < 30
    assert not Path(f"/proc/{pid}").exists()


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


@pytest.mark.timeout(120 + 10 * KILLS)
def test_every_reply_of_the_real_service_is_in_the_store_after_it_was_killed(
    tmp_path: Path, service: Callable[..., Any], linear_bundle: Path
) -> None:
    chance = random.Random(10)
    body = (linear_bundle / "example.json").read_bytes()
    ids: list[str] = []
    for _ in range(KILLS if KILLS < 10 else KILLS // 4):
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
