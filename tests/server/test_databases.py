"""SQLite, MariaDB and PostgreSQL keep the same rows, each once, whatever is in them and whatever is killed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import databases
import pytest
import store_parts as parts

from wherry.contract.events import Event, Note
from wherry.server import segments
from wherry.server.history import Query
from wherry.server.ids import new_id
from wherry.server.journal import Entry, Feedback
from wherry.server.migrations import MIGRATIONS
from wherry.server.sinks import Progress, RowsRefused, Sink, SinkAway
from wherry.server.sinks.reading import opened

KILLS = int(os.environ.get("WHERRY_TEST_KILLS", "4"))  # for each database and mode; 200 take minutes
NASTY = (
    "it's", '"quoted"', "'; DROP TABLE predictions; --", "back\\slash \\' \\0", "nul\0inside", "%s %(x)s {0} :name",
    "\t\r\n", "grün 𝔘𝔫𝔦 🦆", "\u2028\ufeff", "x" * 1_000_000, "🦆" * 250_000, "",
)  # fmt: skip


def numbers(place: Any) -> list[int]:
    """The first column of every stored row, in the order of the ids."""
    found = place.query("SELECT inputs FROM predictions ORDER BY id")
    return [parts.loaded(text)["n"] for (text,) in found]


def settled(store: Any) -> bool:
    return bool(store.counts().pending == 0)


def test_a_row_is_the_same_everywhere(place: Any, journal: Callable[..., Any]) -> None:
    store = journal(place.url)
    store.start()
    entry = parts.entry(7, 2)
    store.append(entry)
    store.append_feedback(Feedback(new_id(entry.time_ns), f"{entry.id}-1", entry.time_ns, "B"))
    store.commit()
    parts.until(lambda: settled(store))
    assert store.counts().stored == 3
    first, second = place.query("SELECT * FROM predictions ORDER BY id")
    assert (first[0], second[0]) == (entry.id, f"{entry.id}-1")
    assert first[1] == "r7"
    created = first[2] if isinstance(first[2], str) else f"{first[2]:%Y-%m-%d %H:%M:%S.%f}"
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(entry.time_ns // 10**9))
    assert created == f"{stamp}.{entry.time_ns // 1000 % 10**6:06d}"
    assert first[3:7] == ("m", "1", "d" * 64, "s" * 64)
    assert [parts.loaded(value) for value in first[7:9]] == [
        {"n": 7, "text": "grün"},
        {"prediction": "M", "probabilities": [0.25, 0.75]},
    ]
    assert first[9:] == (200, 1.5, "native", "host", 0)
    assert second[13] == 1
    [(prediction, truth)] = place.query("SELECT prediction_id, truth FROM feedback")
    assert (prediction, truth if place.kind == "postgresql" else parts.loaded(truth)) == (f"{entry.id}-1", "B")


def test_any_text_is_kept_as_it_came(place: Any, journal: Callable[..., Any]) -> None:
    """T52: quotes, NUL, four-byte letters and a megabyte, in every field that a stranger may fill."""
    store = journal(place.url)
    store.start()
    now = time.time_ns()
    for number, text in enumerate(NASTY):
        short = text[:4000]
        id = new_id(now + number * 10**6)
        store.append(Entry(id, short, now, short, 200, 0.001, [(number, text)], [text], [[0.5]]))
        store.append_feedback(Feedback(new_id(now), id, now, text))
        store.commit()
    parts.until(lambda: settled(store), 60)
    assert (store.counts().stored, store.counts().poison) == (2 * len(NASTY), 0)
    # As text: PostgreSQL keeps NUL in its json, and refuses only to take it out of there.
    cast = "::text" if place.kind == "postgresql" else ""
    found = place.query(f"SELECT request_id, inputs{cast}, outputs{cast}, door FROM predictions ORDER BY id")
    assert len(found) == len(NASTY)
    for (request, inputs, outputs, door), text in zip(found, NASTY, strict=True):
        short = text[:4000].replace("\0", "\\0")
        assert (request, door) == (short, short)
        assert (json.loads(inputs)["text"], json.loads(outputs)["prediction"]) == (text, text)
    truths = {json.loads(value) for (value,) in place.query(f"SELECT truth{cast} FROM feedback")}
    assert truths == set(NASTY)


@pytest.mark.timeout(120 + 10 * KILLS)
@pytest.mark.parametrize("mode", ["durable", "strict"])
def test_killing_services_loses_and_repeats_nothing(place: Any, mode: str, tmp_path: Path) -> None:
    """T06."""
    acknowledged, lost, repeated = parts.kill_producers(place, tmp_path, mode, KILLS)
    assert (lost, repeated) == (0, 0)
    assert acknowledged > KILLS
    print(f"{place.kind}, {mode}: {KILLS} kills, {acknowledged:,} rows acknowledged, 0 lost, 0 repeated")


@pytest.mark.timeout(120 + 10 * KILLS)
def test_killing_the_writer_loses_and_repeats_nothing(place: Any, journal: Callable[..., Any]) -> None:
    chance = random.Random(9)
    store = journal(place.url, segment_bytes=64 * 1024)
    store.start()
    number, killed, due = 0, 0, time.monotonic() + 1
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
            due = time.monotonic() + chance.uniform(0.5, 1.0)
    parts.until(lambda: settled(store), 60)
    counts = store.counts()
    assert parts.adds_up(counts)
    assert (counts.accepted, counts.stored, counts.poison) == (number, number, 0)
    assert sorted(numbers(place)) == list(range(number))
    print(f"{place.kind}: writer killed {KILLS} times, {number:,} rows, 0 lost, 0 repeated")


ROW = ("id", "r", "2026-01-01 00:00:00", "m", "1", "d", "s", "{}", "{}", 200, 1.0, "native", "h", 0)


def test_stored_rows_are_not_stored_again(place: Any) -> None:
    sink = Sink(place.url)
    sink.migrate()
    others = [("id2", *ROW[1:]), ("id3", *ROW[1:])]
    truth = ("f1", "id", "2026-01-01 00:00:00", '"B"')
    assert sink.progress("s") is None
    assert sink.store([ROW, ROW], "s", Progress("a", 10, 2), [truth]).duplicates == 1
    assert sink.store([ROW, *others], "s", Progress("a", 20, 4, 0, 1), [truth]) == Progress("a", 20, 4, 0, 3)
    assert sink.progress("s") == Progress("a", 20, 4, 0, 3)
    assert place.query("SELECT count(*) FROM predictions") == [(3,)]
    assert place.query("SELECT count(*) FROM feedback") == [(1,)]
    sink.close()


@pytest.mark.parametrize(
    "bad",
    [
        ("bad", None, *ROW[2:]),
        ("bad", "r", "no time", *ROW[3:]),
        (random.Random(1).randbytes(5000).hex(), *ROW[1:]),  # no index takes that
        (*ROW[:9], "no number", *ROW[10:]),
    ],
)
def test_a_bad_row_costs_no_other_and_none_is_cut_short(remote: Any, bad: tuple[Any, ...]) -> None:
    sink = Sink(remote.url)
    sink.migrate()
    with pytest.raises(RowsRefused):
        sink.store([ROW, bad], "s", Progress("a", 10, 2))
    assert remote.query("SELECT count(*) FROM predictions") == [(0,)]
    assert sink.progress("s") is None
    assert sink.store([ROW], "s", Progress("a", 10, 2)).duplicates == 0
    sink.close()


def test_a_row_too_large_for_the_server_is_put_aside_alone(
    mariadb: Any, tmp_path: Path, journal: Callable[..., Any]
) -> None:
    """T30: poison. 16 MB is MariaDB's max_allowed_packet; the others have none to exceed."""
    place = type("", (), {})
    name = mariadb.create()
    place.query = lambda text: mariadb.query(name, text)
    store = journal(mariadb.url(name))
    store.start()
    now = time.time_ns()
    store.append(parts.entry(1))
    store.append(Entry(new_id(now), "r", now, "native", 200, 0.001, [(2, "x" * 17_000_000)], ["M"]))
    store.append(parts.entry(3))
    store.commit()
    parts.until(lambda: settled(store), 60)
    assert (store.counts().stored, store.counts().poison) == (2, 1)
    assert numbers(place) == [1, 3]
    [aside] = (tmp_path / "spool" / "0" / segments.QUARANTINE).iterdir()
    assert "max_allowed_packet" in aside.read_text()[:200]


def test_several_processes_may_migrate_at_once(place: Any) -> None:
    code = "import sys; from wherry.server.sinks import Sink; Sink(sys.argv[1]).migrate()"
    both = [subprocess.Popen([sys.executable, "-c", code, place.url]) for _ in range(3)]
    assert [process.wait() for process in both] == [0, 0, 0]
    assert place.query("SELECT number FROM wherry_schema ORDER BY number") == [(step.number,) for step in MIGRATIONS]


def test_an_older_version_goes_on_while_a_newer_one_migrates(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """T33, simply: the older one knows the first step alone."""
    from wherry.server.sinks import sink as module

    with monkeypatch.context() as older:
        older.setattr(module, "MIGRATIONS", module.MIGRATIONS[:1])
        older.setattr(module, "LATEST", 1)
        old = Sink(place.url)
        old.migrate()
    old.store([ROW], "old", Progress("a", 1, 1))
    new = Sink(place.url)
    new.migrate()
    new.migrate()
    old.store([("id2", *ROW[1:])], "old", Progress("a", 2, 2))
    new.store([("id3", *ROW[1:])], "new", Progress("b", 1, 1), [("f", "id3", ROW[2], "1")])
    assert place.query("SELECT count(*) FROM predictions") == [(3,)]
    assert (old.progress("new"), new.progress("old")) == (Progress("b", 1, 1), Progress("a", 2, 2))
    old.close()
    new.close()


def test_a_step_that_was_done_and_not_noted_is_noted(place: Any) -> None:
    """MySQL has no transactions for tables: a step's end may be lost behind its last statement."""
    with contextlib.closing(Sink(place.url)) as sink:
        sink.migrate()
        if place.kind == "mysql":
            place.query("DELETE FROM wherry_schema")
            assert sink.migrate() == (0, MIGRATIONS[-1].number)
        assert sink.migrate() == (MIGRATIONS[-1].number, MIGRATIONS[-1].number)


def test_a_request_is_found_by_its_index(place: Any) -> None:
    with contextlib.closing(Sink(place.url)) as sink:
        sink.migrate()
        now = time.time_ns()
        sink.store([(new_id(now), f"r{n}", *ROW[2:13], n) for n in range(3000)], "s", Progress())
    if place.kind == "postgresql":
        place.query("ANALYZE predictions")
    explain = {"sqlite": "EXPLAIN QUERY PLAN"}.get(place.kind, "EXPLAIN")
    plan = str(place.query(f"{explain} SELECT id FROM predictions WHERE request_id = 'r77'"))
    assert "predictions_request_id" in plan
    with opened(place.url) as reader:
        assert [record.request_id for record in reader.read(Query(request_id="r77"))] == ["r77"]


GRANTS = (
    "SELECT, INSERT ON predictions",
    "INSERT ON feedback",
    "SELECT, INSERT, UPDATE ON wherry_progress",
    "SELECT ON wherry_schema",
)


def test_an_account_of_few_rights_names_the_command_and_then_suffices(
    remote: Any, tmp_path: Path, journal: Callable[..., Any]
) -> None:
    told: list[Event] = []
    if remote.kind == "postgresql":
        remote.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    poor = remote.account()
    store = journal(poor, tell=told.append)
    store.start()
    store.append(parts.entry(1))
    store.append_feedback(Feedback(new_id(1), "x", 1, "B"))
    store.commit()
    parts.until(lambda: any(isinstance(event, Note) for event in told))
    [note, *_] = [event for event in told if isinstance(event, Note)]
    assert "wherry history migrate" in note.text
    assert store.counts().pending == 2
    owner = Sink(remote.url)
    owner.migrate()
    owner.close()
    who = poor.partition("://")[2].partition(":")[0] + ("@'127.0.0.1'" if remote.kind == "mysql" else "")
    for grant in GRANTS:
        remote.query(f"GRANT {grant} TO {who}")
    parts.until(lambda: settled(store))
    assert (store.counts().stored, store.counts().poison) == (2, 0)
    assert all("s3cret" not in repr(event) for event in told)


def test_what_was_stored_is_read_alike(place: Any) -> None:
    sink = Sink(place.url)
    sink.migrate()
    begin = 1_767_225_600
    outputs = ('{"prediction":"M"}', '{"prediction":"B"}')
    rows = [
        (new_id((begin + n) * 10**9), f"r{n}", f"2026-01-01 00:00:{n:02d}.000000", "m", "1", "d", "s",
         f'{{"n":{n},"t":"N\\u0000UL"}}', outputs[n % 2], 200, 1.0, "native", "h", n)
        for n in range(30)
    ]  # fmt: skip
    sink.store(rows, "s", Progress(), [(new_id(1), rows[4][0], rows[4][2], '"B"')])
    sink.close()
    with opened(place.url) as reader:
        assert [record.inputs["n"] for record in reader.read(Query(limit=3))] == [29, 28, 27]
        [page] = reader.pages(Query(output="M", since_ns=(begin + 10) * 10**9))
        assert [record.inputs["n"] for record in page] == list(range(10, 30, 2))
        [record] = reader.read(Query(where=(("n", "4"),)))
        assert (record.prediction, record.truth, record.created_at) == ("M", "B", "2026-01-01T00:00:04.000000Z")
        assert reader.read(Query(where=(("n", "4"),), request_id="r5")) == []
        assert (reader.count(Query(output="B")), reader.inputs(Query())) == (15, ["n", "t"])
        assert len(reader.outputs(Query(limit=100))) == 30


@pytest.mark.parametrize("secret", ["hunter2hunter2", "hun/t2"])
def test_no_error_shows_a_password(remote: Any, secret: str) -> None:
    for url in (
        remote.server.url(remote.name, password=secret),
        remote.server.url(remote.name, password=secret, port=1),
        remote.server.url("nowhere", password=secret),
    ):
        sink = Sink(url)
        with pytest.raises(SinkAway) as caught:
            sink.migrate()
        assert secret not in str(caught.value)
        sink.close()


def test_a_test_run_that_is_killed_leaves_no_server(mariadb: Any) -> None:
    """What a server is started with ties it to us: here with a program that would run for an hour."""
    words = [*databases.as_user(mariadb.user, mariadb.end), "sleep", "3600"]
    code = f"import subprocess, time; print(subprocess.Popen({words}).pid, flush=True); time.sleep(3600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        server = Path("/proc") / run.stdout.readline().decode().strip()
        parts.until(lambda: (server / "comm").read_text() == "sleep\n")
        run.kill()
    parts.until(lambda: not server.exists() or "\nState:\tZ" in (server / "status").read_text())
