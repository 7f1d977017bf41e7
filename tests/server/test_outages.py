"""A database may be away, slow, silent or unwilling: predictions go on, and every row arrives once.

WHERRY_TEST_OUTAGE=30 and WHERRY_TEST_CUTS=500 make the long form of it.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import store_parts as parts
from databases import SECRET, Proxy

from wherry.contract.events import Event, Note
from wherry.server import segments
from wherry.server.ids import new_id
from wherry.server.sinks import Progress, Sink, SinkAway

OUTAGE = float(os.environ.get("WHERRY_TEST_OUTAGE", "2"))
CUTS = int(os.environ.get("WHERRY_TEST_CUTS", "10"))
A_SECOND = 200  # predictions
pytestmark = pytest.mark.timeout(120 + 10 * OUTAGE + CUTS)
SLACK = 0.02  # seconds by which the slowest may be slower on a machine that does other things, too


@pytest.fixture
def proxy(remote: Any) -> Iterator[Proxy]:
    made = Proxy(remote.server.port)
    yield made
    made.close()


def through(proxy: Proxy, remote: Any) -> str:
    return str(remote.server.url(remote.name, port=proxy.port))


def send(store: Any, first: int, seconds: float) -> tuple[int, list[float]]:
    """Commit rows for so long, steadily; the number after the last, and how long each commit took."""
    took: list[float] = []
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        store.append(parts.entry(first + len(took)))
        at = time.perf_counter()
        store.commit()
        took.append(time.perf_counter() - at)
        time.sleep(max(begin + len(took) / A_SECOND - time.monotonic(), 0))
    return first + len(took), took


def p99(took: list[float]) -> float:
    return sorted(took)[int(len(took) * 0.99)]


def stored(place: Any) -> list[int]:
    return sorted(number for (number,) in place.query("SELECT sequence FROM predictions"))


@contextlib.contextmanager
def away(place: Any) -> Iterator[None]:
    """The database takes nothing: its server is killed, or another process holds the file."""
    if place.kind == "sqlite":
        holder = sqlite3.connect(place.path, isolation_level=None)
        with contextlib.closing(holder):
            holder.execute("BEGIN EXCLUSIVE")
            yield
        return
    place.server.stop(signal.SIGQUIT if place.kind == "postgresql" else signal.SIGKILL)
    try:
        yield
    finally:
        place.server.start()


def test_a_database_that_goes_and_comes_back_costs_nothing(place: Any, journal: Callable[..., Any]) -> None:
    """T05."""
    told: list[Event] = []
    store = journal(place.url, tell=told.append)
    store.start()
    parts.until(lambda: store._keeper.begin is not None, 60)  # the tables are there
    at, before = send(store, 0, OUTAGE)
    with away(place):
        at, during = send(store, at, OUTAGE)
        parts.until(lambda: any(isinstance(event, Note) and event.warn for event in told), 30)
        assert store.counts().pending > 0
        assert parts.adds_up(store.counts())
    back = time.monotonic()
    parts.until(lambda: store.counts().pending == 0, 60)
    counts = store.counts()
    assert (counts.accepted, counts.stored, counts.poison, counts.dropped) == (at, at, 0, 0)
    late = time.monotonic() - back
    assert stored(place) == list(range(at))
    assert p99(during) <= 1.2 * p99(before) + SLACK
    print(
        f"{place.kind}: away {OUTAGE:.0f} s, {at:,} rows, 0 lost, 0 repeated, all stored {late:.1f} s"
        f" after its return; p99 of a commit {1e3 * p99(before):.2f} ms before, {1e3 * p99(during):.2f} ms meanwhile"
    )


def test_without_a_spool_the_same_outage_loses_rows(remote: Any) -> None:
    sink = Sink(remote.url)
    sink.migrate()
    lost = 0
    for number in range(20):
        if number == 5:
            remote.server.stop(signal.SIGQUIT if remote.kind == "postgresql" else signal.SIGKILL)
        if number == 15:
            remote.server.start()
        try:
            sink.store([row(number)], "s", Progress("a", number, number))
        except SinkAway:
            lost += 1
    sink.close()
    assert lost >= 10
    assert len(stored(remote)) == 20 - lost


def row(number: int, id: str = "") -> tuple[Any, ...]:
    when = "2026-01-01 00:00:00"
    id = id or new_id(time.time_ns())
    return (id, "r", when, "m", "1", "d", "s", "{}", "{}", 200, 1.0, "native", "h", number)


def test_a_slow_database_holds_nobody_up(remote: Any, proxy: Proxy, journal: Callable[..., Any]) -> None:
    """T30."""
    store = journal(through(proxy, remote))
    store.start()
    at, before = send(store, 0, 1)
    parts.until(lambda: store.counts().pending == 0)
    proxy.delay = 0.4  # for every reply, of which a transaction has several: two seconds and more
    at, during = send(store, at, 2)
    proxy.delay = 0.0
    parts.until(lambda: store.counts().pending == 0, 60)
    assert (store.counts().stored, store.counts().poison) == (at, 0)
    assert stored(remote) == list(range(at))
    assert p99(during) <= 1.2 * p99(before) + SLACK
    print(f"{remote.kind}: p99 of a commit {1e3 * p99(before):.2f} ms, {1e3 * p99(during):.2f} ms with a slow database")


def test_a_database_that_says_nothing_any_more_is_given_up(remote: Any, proxy: Proxy) -> None:
    """T30: packets vanish, and no end of the connection is heard."""
    sink = Sink(through(proxy, remote), seconds=0.5)
    sink.migrate()
    assert sink.store([row(0)], "s", Progress("a", 1, 1)).duplicates == 0
    proxy.hole.set()
    began = time.monotonic()
    with pytest.raises(SinkAway):
        sink.store([row(1)], "s", Progress("a", 2, 2))
    assert 0.3 < time.monotonic() - began < 5
    proxy.hole.clear()
    assert sink.store([row(1)], "s", Progress("a", 2, 2)).duplicates == 0
    assert stored(remote) == [0, 1]
    sink.close()


def troubles(told: list[Event]) -> list[str]:
    return [event.text for event in told if isinstance(event, Note)]


def test_a_refused_account_is_said_and_rows_wait(remote: Any, journal: Callable[..., Any]) -> None:
    """T30."""
    told: list[Event] = []
    url = remote.account()
    name = url.partition("://")[2].partition(":")[0]
    who = f"{name}@'127.0.0.1' IDENTIFIED BY" if remote.kind == "mysql" else f"{name} PASSWORD"
    owner = Sink(remote.url)
    owner.migrate()
    owner.close()
    target = f"{name}@'127.0.0.1'" if remote.kind == "mysql" else name
    for grant in ("SELECT, INSERT ON predictions", "SELECT, INSERT, UPDATE ON wherry_progress"):
        remote.query(f"GRANT {grant} TO {target}")
    remote.query(f"GRANT SELECT ON wherry_schema TO {target}")
    remote.query(f"ALTER USER {who} 'another'")
    store = journal(url, tell=told.append)
    store.start()
    at, _ = send(store, 0, 0.2)
    parts.until(lambda: bool(troubles(told)))
    assert not any(SECRET in text for text in troubles(told))
    assert store.counts().pending == at
    remote.query(f"ALTER USER {who} '{SECRET}'")
    parts.until(lambda: store.counts().stored == at)


def test_a_table_that_is_gone_is_said_and_rows_wait(remote: Any, journal: Callable[..., Any]) -> None:
    """T30."""
    told: list[Event] = []
    store = journal(remote.url, tell=told.append)
    store.start()
    at, _ = send(store, 0, 0.2)
    parts.until(lambda: store.counts().stored == at)
    remote.query("ALTER TABLE predictions RENAME TO elsewhere")
    more, _ = send(store, at, 0.2)
    parts.until(lambda: any("wherry history migrate" in text for text in troubles(told)))
    assert (store.counts().stored, store.counts().poison) == (at, 0)
    remote.query("ALTER TABLE elsewhere RENAME TO predictions")
    parts.until(lambda: store.counts().stored == more)
    assert stored(remote) == list(range(more))


def refuse(remote: Any, condition: str) -> None:
    """Have the database refuse rows for a reason that no driver knows."""
    if remote.kind == "mysql":
        remote.query(
            "CREATE TRIGGER unwilling BEFORE INSERT ON predictions FOR EACH ROW BEGIN "
            f"IF {condition} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF; END"
        )
    else:
        remote.query(
            f"CREATE FUNCTION unwilling() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF {condition} "
            "THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$"
        )
        remote.query("CREATE TRIGGER unwilling BEFORE INSERT ON predictions FOR EACH ROW EXECUTE FUNCTION unwilling()")


def test_a_poison_row_is_put_aside_after_some_tries_and_the_others_flow(
    remote: Any, tmp_path: Path, journal: Callable[..., Any]
) -> None:
    """T30."""
    owner = Sink(remote.url)
    owner.migrate()
    owner.close()
    refuse(remote, "NEW.sequence = 3")
    store = journal(remote.url)
    at, _ = send(store, 0, 0.2)
    store.start()
    parts.until(lambda: store.counts().pending == 0, 30)
    assert (store.counts().stored, store.counts().poison) == (at - 1, 1)
    assert stored(remote) == [number for number in range(at) if number != 3]
    [aside] = (tmp_path / "spool" / "0" / segments.QUARANTINE).iterdir()
    assert "not this one" in aside.read_text()


def test_where_the_database_refuses_every_row_none_is_to_blame(remote: Any, journal: Callable[..., Any]) -> None:
    owner = Sink(remote.url)
    owner.migrate()
    owner.close()
    refuse(remote, "NEW.sequence >= 0")
    told: list[Event] = []
    store = journal(remote.url, tell=told.append)
    at, _ = send(store, 0, 0.1)
    store.start()
    parts.until(lambda: bool(troubles(told)))
    time.sleep(5)  # well beyond the tries after which rows go one by one
    assert (store.counts().pending, store.counts().poison) == (at, 0)
    remote.query("DROP TRIGGER unwilling" + (" ON predictions" if remote.kind == "postgresql" else ""))
    parts.until(lambda: store.counts().pending == 0, 30)
    assert stored(remote) == list(range(at))


def cut_commits(remote: Any, proxy: Proxy, cuts: int) -> tuple[int, int]:
    """Rows stored and rows meant, when the reply to so many COMMITs never came and each batch was sent again."""
    sink = Sink(through(proxy, remote))
    sink.progress("s")  # there is a connection: to make one, SQLAlchemy commits, too
    proxy.marks = (b"COMMIT",)
    meant = 0
    progress = Progress("a")
    for _ in range(cuts):
        batch = [row(meant + k) for k in range(3)]
        meant += len(batch)
        proxy.cut_replies = 1
        with pytest.raises(SinkAway):
            sink.store(batch, "s", progress)
        progress = sink.store(batch, "s", progress)
    sink.close()
    assert proxy.cuts == cuts
    return len(stored(remote)), meant


def test_a_commit_whose_reply_was_lost_stores_nothing_twice(remote: Any, proxy: Proxy) -> None:
    """T31."""
    owner = Sink(remote.url)
    owner.migrate()
    found, meant = cut_commits(remote, proxy, CUTS)
    assert found == meant
    # each batch was there before it was sent again
    assert owner.progress("s") == Progress("a", duplicates=meant)
    owner.close()
    print(f"{remote.kind}: {CUTS} connections cut between COMMIT and its reply, 0 lost, 0 repeated")


def test_the_same_check_finds_rows_stored_twice_where_ids_are_not_unique(remote: Any, proxy: Proxy) -> None:
    owner = Sink(remote.url)
    owner.migrate()
    owner.close()
    key = "PRIMARY KEY" if remote.kind == "mysql" else "CONSTRAINT predictions_pkey"
    remote.query(f"ALTER TABLE predictions DROP {key}")
    found, meant = cut_commits(remote, proxy, 3)
    assert found == 2 * meant


def test_callers_of_the_real_service_notice_nothing_and_no_secret_shows(
    remote: Any, tmp_path: Path, service: Callable[..., Any], linear_bundle: Path
) -> None:
    """T05 and T44, from outside."""
    running = service(linear_bundle, cwd=tmp_path, WHERRY_STORE_URL=remote.url)
    body = (linear_bundle / "example.json").read_bytes()
    ids: list[str] = []
    before = ask(running.url, body, ids, OUTAGE)
    parts.until(lambda: count(remote) > 0, 60)  # where there is little processor, the writer takes seconds to start
    remote.server.stop(signal.SIGQUIT if remote.kind == "postgresql" else signal.SIGKILL)
    try:
        during = ask(running.url, body, ids, OUTAGE)
        counted = parts.store_rows(running)
        assert counted["pending"] > 0
        assert counted.pop("accepted") == sum(counted.values())  # stored, pending, dropped and poison
        shown = "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in parts.family(running.process.pid))
    finally:
        remote.server.start()
    began = time.monotonic()
    parts.until(lambda: count(remote) == len(ids), 60)
    late = time.monotonic() - began
    assert {id for (id,) in remote.query("SELECT id FROM predictions")} == set(ids)
    parts.until(lambda: parts.store_rows(running)["stored"] == len(ids))
    assert parts.store_rows(running)["accepted"] == len(ids)
    assert running.stop() == 0
    assert "wherry.server.writer" in shown
    assert SECRET not in shown + running.log.read_text()
    assert remote.name in running.log.read_text()
    assert p99(during) <= 1.2 * p99(before) + SLACK
    print(
        f"{remote.kind}: away {OUTAGE:.0f} s, {len(ids):,} predictions, 0 failed, 0 lost, all stored {late:.1f} s"
        f" after its return; p99 {1e3 * p99(before):.2f} ms before, {1e3 * p99(during):.2f} ms meanwhile"
    )


def count(remote: Any) -> int:
    """Stored predictions; none as long as there is no table."""
    tables = f"SELECT count(*) FROM information_schema.tables WHERE table_name = 'predictions' AND {schema(remote)}"
    return remote.query("SELECT count(*) FROM predictions")[0][0] if remote.query(tables) == [(1,)] else 0


def schema(remote: Any) -> str:
    return f"table_schema = '{remote.name}'" if remote.kind == "mysql" else "table_schema = 'public'"


def ask(url: str, body: bytes, ids: list[str], seconds: float) -> list[float]:
    """Ask steadily for so long; how long each reply took."""
    took: list[float] = []
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    begin = time.monotonic()
    while time.monotonic() - begin < seconds:
        at = time.perf_counter()
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        reply.read()
        took.append(time.perf_counter() - at)
        assert reply.status == 200
        ids.append(reply.headers["X-Prediction-Id"])
        time.sleep(max(begin + len(took) / A_SECOND - time.monotonic(), 0))
    connection.close()
    return took
