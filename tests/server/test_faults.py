"""What a disk, a database or a rollout may do to the store, as whoever calls the service sees it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import databases
import msgspec
import pytest
import store_parts as parts

from wherry.contract.events import Event, Note
from wherry.server.ids import new_id
from wherry.server.keeper import Keeper, Task
from wherry.server.migrations import LATEST
from wherry.server.sinks import Progress, Sink, SinkAway
from wherry.server.spool import Spool
from wherry.server.stored import StoredJournal

SECONDS = float(os.environ.get("WHERRY_TEST_SECONDS", "3"))  # 60 for the whole of it
ROW = ("id", "r", "2026-01-01 00:00:00", "m", "1", "d", "s", "{}", "{}", 200, 1.0, "native", "h", 0)


@pytest.mark.parametrize(("mode", "full"), [("strict", "refuse"), ("durable", "drop")])
def test_a_full_disk_as_callers_see_it(
    mode: str, full: str, small_disk: Path, tmp_path: Path, service: Callable[..., Any], linear_bundle: Path
) -> None:
    """T27."""
    (tmp_path / ".wherry").symlink_to(small_disk)
    place = databases.File(tmp_path / "predictions.db")
    running = service(linear_bundle, WHERRY_STORE_MODE=mode, WHERRY_STORE_WHEN_FULL=full, WHERRY_STORE_URL=place.url)
    body = (linear_bundle / "example.json").read_bytes()
    acknowledged = [running.ask("/predict", body).headers["X-Prediction-Id"] for _ in range(5)]
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"x" * 4096):
            pass
    statuses = []
    for _ in range(40):
        reply = running.ask("/predict", body)
        statuses.append(reply.status)
        if reply.status == 200:
            acknowledged.append(reply.headers["X-Prediction-Id"])
    if full == "refuse":
        assert statuses[-1] == 503
        for url in (running.url, running.admin_url):
            assert parts.status(f"{url}/readyz") == 503
    else:
        assert set(statuses) == {200}
    filler.unlink()
    began = time.monotonic()
    parts.until(lambda: parts.status(f"{running.admin_url}/readyz") == 200, 10)
    assert time.monotonic() - began < 6
    reply = running.ask("/predict", body)
    assert reply.status == 200
    acknowledged.append(reply.headers["X-Prediction-Id"])
    parts.until(lambda: parts.store_rows(running)["pending"] == 0)
    counted = parts.store_rows(running)
    assert counted["accepted"] == counted["stored"] + counted["dropped"]
    assert running.stop() == 0
    found = {id for (id,) in place.query("SELECT id FROM predictions")}
    assert found <= set(acknowledged)
    assert len(set(acknowledged) - found) == counted["dropped"]
    assert (counted["dropped"] > 0) == (full == "drop")


def test_a_deadlock_costs_no_row(remote: Any) -> None:
    """T30: another transaction wants what we hold and holds what we want; the database ends ours."""
    sink = Sink(remote.url)
    sink.migrate()
    sink.store([ROW], "s", Progress("a", 1, 1))
    remote.query("CREATE TABLE scratch (n INTEGER)")
    other = remote.server.connect(remote.name)
    outcome: list[Any] = []

    def store() -> None:
        try:
            outcome.append(sink.store([("id2", *ROW[1:])], "s", Progress("a", 2, 2)))
        except Exception as error:  # whatever it is, the test looks at it
            outcome.append(error)

    columns = "(id, request_id, created_at, model_name, model_version, model_digest, signature_hash, inputs, "
    columns += "outputs, status, latency_ms, door, host, sequence)"
    with other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("INSERT INTO scratch VALUES " + ", ".join(["(1)"] * 3000))  # so much work is not undone for ours
        cursor.execute("UPDATE wherry_progress SET position = position + 1")
        ours = threading.Thread(target=store)
        ours.start()
        parts.until(lambda: waiting(remote))
        cursor.execute(f"INSERT INTO predictions {columns} VALUES {('id2', *ROW[1:])}")
        ours.join(30)
        cursor.execute("ROLLBACK")
    other.close()
    [error] = outcome
    assert type(error) is SinkAway and "deadlock" in str(error).lower()
    assert sink.store([("id2", *ROW[1:])], "s", Progress("a", 2, 2)).duplicates == 0
    assert remote.query("SELECT count(*) FROM predictions") == [(2,)]
    sink.close()


def waiting(remote: Any) -> bool:
    """Whether a statement of ours waits for a lock."""
    if remote.kind == "mysql":
        text = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'INSERT INTO wherry_progress%'"
    else:
        text = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    return bool(remote.query(text) == [(1,)])


@pytest.mark.timeout(240 + SECONDS)
def test_four_writers_a_reader_and_a_checkpoint_share_a_sqlite_file(tmp_path: Path) -> None:
    """T32."""
    url = f"sqlite:///{tmp_path / 'predictions.db'}"
    lanes = [parts.open_store(tmp_path / str(lane), url=url) for lane in range(4)]
    for lane in lanes:
        lane.start()
    parts.until(lambda: all(lane._keeper.begin for lane in lanes), 60)
    stop = threading.Event()
    others = [threading.Thread(target=work, args=(tmp_path / "predictions.db", stop)) for work in (read, fold)]
    for other in others:
        other.start()
    slowest, number, begin = 0.0, 0, time.monotonic()
    while time.monotonic() - begin < SECONDS:
        lane = lanes[number % 4]
        lane.append(parts.entry(number))
        at = time.perf_counter()
        lane.commit()
        slowest = max(slowest, time.perf_counter() - at)
        number += 1
        time.sleep(max(begin + number / 500 - time.monotonic(), 0))
    parts.until(lambda: all(lane.counts().pending == 0 for lane in lanes), 120)
    stop.set()
    for other in others:
        other.join()
    assert all(parts.adds_up(lane.counts()) for lane in lanes)
    for lane in lanes:
        lane.close()
    assert sorted(parts.numbers(tmp_path)) == list(range(number))
    print(f"4 writers, {number:,} rows in {SECONDS:.0f} s, 0 refused, 0 lost; slowest commit {1e3 * slowest:.1f} ms")


def read(file: Path, stop: threading.Event) -> None:
    """Transactions that last ten seconds each (or as long as the test), one after the other."""
    while not stop.is_set():
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM predictions").fetchone()
            stop.wait(min(10, SECONDS / 2))


def fold(file: Path, stop: threading.Event) -> None:
    """Checkpoints that want everybody out of the way."""
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=0.2)) as other:
        while not stop.wait(0.3):
            with contextlib.suppress(sqlite3.OperationalError):
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_the_same_file_refuses_who_writes_to_it_in_the_request(tmp_path: Path) -> None:
    with contextlib.closing(Sink(f"sqlite:///{tmp_path / 'predictions.db'}")) as sink:
        sink.migrate()
    holder = sqlite3.connect(tmp_path / "predictions.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    direct = sqlite3.connect(tmp_path / "predictions.db", timeout=0.1)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        direct.execute("DELETE FROM predictions")
    direct.close()
    holder.close()


# A writer of the version before: it knows all steps of the schema but the last.
OLDER = """
import sys
from wherry.server.sinks import sink
sink.MIGRATIONS, sink.LATEST = sink.MIGRATIONS[:-1], sink.LATEST - 1
from wherry.server import writer
sys.exit(writer.main())
"""


@pytest.fixture
def older(place: Any, tmp_path: Path) -> Iterator[tuple[Any, list[Event]]]:
    """A service of the version before, and what it said."""
    told: list[Event] = []
    spool = Spool(tmp_path / "older", parts.ORIGIN)
    keeper = Keeper(Task(str(spool.folder), place.url), told.append, (sys.executable, "-c", OLDER), (0.01, 0.02))
    store = StoredJournal(spool, keeper, "", told.append)
    yield store, told
    store.close()


def test_two_versions_drain_at_once_while_one_migrates(
    place: Any, older: tuple[Any, list[Event]], tmp_path: Path
) -> None:
    """T33: the service's rolling update, a schema step in the middle of it."""
    old, told = older
    old.start()
    put(old, 0, 100)
    parts.until(lambda: old.counts().stored == 100, 60)
    assert steps(place) == LATEST - 1
    new = parts.open_store(tmp_path / "newer", told.append, place.url)
    new.start()
    number = 100
    while steps(place) < LATEST or number < 400:
        put(old, number, 20)
        put(new, number + 20, 20)
        number += 40
        time.sleep(0.01)
    parts.until(lambda: old.counts().pending + new.counts().pending == 0, 60)
    assert parts.adds_up(old.counts()) and parts.adds_up(new.counts())
    assert (old.counts().poison, new.counts().poison) == (0, 0)
    new.close()
    inputs = [parts.loaded(value)["n"] for (value,) in place.query("SELECT inputs FROM predictions")]
    assert sorted(inputs) == list(range(number))
    assert [event for event in told if isinstance(event, Note) and event.warn] == []


def test_a_step_that_takes_something_away_would_stop_the_older_one(place: Any, older: tuple[Any, list[Event]]) -> None:
    """That the story above could fail: a column goes that the older version writes."""
    old, told = older
    old.start()
    put(old, 0, 10)
    parts.until(lambda: old.counts().stored == 10, 60)
    place.query("ALTER TABLE predictions RENAME COLUMN door TO entrance")
    put(old, 10, 10)
    parts.until(lambda: any(isinstance(event, Note) and event.warn for event in told), 30)
    assert (old.counts().pending, old.counts().poison) == (10, 0)
    place.query("ALTER TABLE predictions RENAME COLUMN entrance TO door")
    parts.until(lambda: old.counts().pending == 0, 60)


def put(store: Any, first: int, count: int) -> None:
    for number in range(first, first + count):
        store.append(parts.entry(number))
    store.commit()


def steps(place: Any) -> int:
    return int(place.query("SELECT max(number) FROM wherry_schema")[0][0])


def test_rows_of_a_pod_keep_their_order_whatever_the_clock_does(place: Any, tmp_path: Path) -> None:
    """T67: the clock goes back ten minutes, and the service starts again."""
    number = 0
    for _ in range(2):
        store = parts.open_store(tmp_path, url=place.url)
        store.start()
        for _ in range(10):
            entry = parts.entry(number)
            late = entry.time_ns - (600 * 10**9 if number % 10 > 4 else 0)
            store.append(msgspec.structs.replace(entry, id=new_id(late), time_ns=late))
            store.commit()
            number += 1
        parts.until(lambda store=store: store.counts().pending == 0, 30)
        store.close()
    rows = place.query("SELECT inputs, created_at, latency_ms FROM predictions ORDER BY host, sequence")
    assert [parts.loaded(inputs)["n"] for inputs, _, _ in rows] == list(range(20))
    assert all(latency >= 0 for _, _, latency in rows)
    assert [created for _, created, _ in rows] != sorted(created for _, created, _ in rows)
    assert place.query("SELECT count(DISTINCT sequence) FROM predictions") == [(20,)]


def test_no_process_log_or_reply_shows_the_password(
    remote: Any, tmp_path: Path, service: Callable[..., Any], linear_bundle: Path
) -> None:
    """T44: given in a file it is in no environment; given in the environment it goes to no child."""
    canary = databases.SECRET
    secret = tmp_path / "url"
    secret.write_text(remote.url)
    body = (linear_bundle / "example.json").read_bytes()
    for given, own in (({"WHERRY_STORE_URL_FILE": str(secret)}, False), ({"WHERRY_STORE_URL": remote.url}, True)):
        running = service(linear_bundle, "-vv", **given)
        assert running.ask("/predict", body).status == 200
        parts.until(lambda running=running: parts.store_rows(running)["stored"] == 1, 60)
        assert running.ask("/history").status == 200  # which starts the process that reads
        texts = {pid: parts.process_text(pid) for pid in parts.family(running.process.pid)}
        assert len(texts) >= 3
        assert (canary in texts.pop(running.process.pid)) == own  # so that the search is known to find it
        assert not any(canary in text for text in texts.values())
        remote.query("ALTER TABLE predictions RENAME TO elsewhere")
        replies = [
            running.ask("/predict", body), running.ask("/predict", b"{"), running.ask("/history"),
            running.ask("/feedback", {"id": "x", "truth": 1}), running.ask("/history?since=soon"),
        ]  # fmt: skip
        assert [reply.status for reply in replies] == [200, 400, 503, 422, 422]
        parts.until(lambda running=running: "predictions wait" in running.log.read_text(), 30)
        remote.query("ALTER TABLE elsewhere RENAME TO predictions")
        assert running.stop() == 0
        told = running.log.read_text() + "".join(str(reply.headers) + reply.body.decode() for reply in replies)
        assert canary not in told
