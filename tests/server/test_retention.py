"""What is old goes, by age, by number and by size, and nothing else does; by the writer, too, where it may."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import store_parts as parts

from wherry.contract.events import Event, Note
from wherry.contract.project import Project, Store
from wherry.contract.views import View
from wherry.server.history import Keep
from wherry.server.ids import new_id
from wherry.server.journal import open_journal
from wherry.server.sinks import Progress, Sink, SinkDenied, retention
from wherry.server.sinks.retention import Retention

DAY = 86400
ROWS = 30


def rows(size: int = 100) -> list[tuple[Any, ...]]:
    """A prediction a day, the newest half a day old; each takes so many bytes."""
    now = time.time()
    made = []
    for number in range(ROWS):
        at = now - (ROWS - number - 0.5) * DAY
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
        inputs = '{"t":"' + "ü" * ((size - retention.ROW_BYTES) // 2 - 4) + '"}'
        made.append((new_id(int(at * 10**9)), "r", when, "m", "1", "d", "s", inputs, None, 500, 1.0, "n", "h", number))
    return made


@pytest.fixture
def filled(place: Any) -> Iterator[Any]:
    """A database with thirty predictions of 1,000 bytes each, and a truth about each."""
    place.rows = rows(1000)
    with contextlib.closing(Sink(place.url)) as sink:
        sink.migrate()
        place.truths = [(new_id(n), row[0], row[2], "1") for n, row in enumerate(place.rows)]
        sink.store(place.rows, "s", Progress(), place.truths)
        place.sink = sink
        yield place


def left(place: Any) -> list[int]:
    return [number for (number,) in place.query("SELECT sequence FROM predictions ORDER BY id")]


CASES = [
    (Keep(seconds=100 * DAY), 30),
    (Keep(rows=31), 30),
    (Keep(bytes=10**9), 30),
    (Keep(seconds=10 * DAY), 10),
    (Keep(rows=7), 7),
    (Keep(bytes=5200), 5),
    (Keep(seconds=10 * DAY, rows=7, bytes=20_000), 7),
    (Keep(seconds=10 * DAY, rows=20, bytes=3500), 3),
    (Keep(bytes=10), 0),
]


def test_the_newest_stay(filled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Retention(filled.sink)
    bounds = [keeper.bound(keep) for keep, _ in CASES]
    monkeypatch.setattr(retention, "STRIDE_ROWS", 3)
    monkeypatch.setattr(retention, "PRUNE_ROWS", 3)
    for (keep, count), bound in zip(CASES, bounds, strict=True):
        if keep.seconds is None:
            assert keeper.bound(keep) == bound
        gone = ROWS - count
        assert (keeper.count(bound) if bound else 0) == gone
        assert (sum(keeper.prune(bound)) if bound else 0) == gone
        assert left(filled) == list(range(gone, ROWS))
        assert filled.query("SELECT count(*) FROM feedback") == [(count,)]
        filled.sink.store(filled.rows, "s", Progress(), filled.truths)


def test_a_row_takes_about_what_is_said(place: Any) -> None:
    """The bytes that are counted are those that the database takes, within a factor of two."""
    with contextlib.closing(Sink(place.url)) as sink:
        sink.migrate()
        many = [
            (new_id(time.time_ns()), *row[1:5], "d" * 64, "s" * 64, *row[7:]) for row in rows(1000) for _ in range(300)
        ]
        sink.store(many, "s", Progress())
    taken = {
        "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
        "mysql": "SELECT data_length + index_length FROM information_schema.tables WHERE table_schema = database() "
        "AND table_name = 'predictions'",
        "postgresql": "SELECT pg_total_relation_size('predictions')",
    }  # fmt: skip
    if place.kind == "mysql":
        place.query("ANALYZE TABLE predictions")
    [(size,)] = place.query(taken[place.kind])
    assert 0.5 < size / (len(many) * 1000) < 2


def story(place: Any, folder: Path, url: str = "", **settings: Any) -> tuple[Any, list[Event]]:
    """A service whose writer has the account of `url`, and what it said."""
    told: list[Event] = []
    journal = open_journal(Project(store=Store(url=url or place.url, **settings)), parts.MANIFEST, folder, told.append)
    journal.start()
    return journal, told


def test_the_writer_removes_what_is_old_where_it_may(filled: Any, tmp_path: Path) -> None:
    journal, told = story(filled, tmp_path, keep_rows=4)
    parts.until(lambda: len(left(filled)) == 4, 30)
    journal.append(parts.entry(1))
    journal.commit()
    parts.until(lambda: journal.counts().stored == 1, 30)
    journal.close()
    assert [event for event in told if isinstance(event, Note) and event.warn] == []
    assert len(left(filled)) == 5  # it looks again in a quarter of an hour


def test_where_it_may_not_the_command_is_named_once_and_rows_flow(remote: Any, tmp_path: Path) -> None:
    with contextlib.closing(Sink(remote.url)) as sink:
        sink.migrate()
        sink.store(rows(1000), "s", Progress())
    if remote.kind == "postgresql":
        remote.query("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    url = remote.account(
        "SELECT, INSERT ON predictions", "INSERT ON feedback", "SELECT, INSERT, UPDATE ON wherry_progress",
        "SELECT ON wherry_schema",
    )  # fmt: skip
    view = View(columns={"id": "id", "name": "prediction"})
    journal, told = story(remote, tmp_path, url, keep_days=10, views={"beans": view})

    def texts() -> list[str]:
        return [event.text for event in told if isinstance(event, Note)]

    parts.until(lambda: any("wherry history prune" in text for text in texts()), 30)
    assert any("beans" in text and "wherry history migrate" in text for text in texts())
    journal.append(parts.entry(1))
    journal.commit()
    parts.until(lambda: journal.counts().stored == 1, 30)
    journal.close()
    assert len(texts()) == 2
    assert len(left(remote)) == ROWS + 1
    with contextlib.closing(Sink(url)) as poor, pytest.raises(SinkDenied):
        sum(Retention(poor).prune("~"))


def test_scheduled_work_removes_what_is_old(filled: Any, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    from wherry.errors import UsageRefused
    from wherry.server import pruning

    environ = {"WHERRY_STORE_URL": filled.url, "WHERRY_STORE_KEEP_ROWS": "7"}
    gone, shown = pruning.prune(environ, tmp_path)
    assert gone == ROWS - 7
    assert left(filled) == list(range(ROWS - 7, ROWS))
    assert "secret" not in shown
    with pytest.raises(UsageRefused, match="what is old"):
        pruning.prune({"WHERRY_STORE_URL": filled.url}, tmp_path)
    with pytest.raises(UsageRefused, match="no predictions are stored"):
        pruning.prune({"WHERRY_STORE_ENABLED": "false", "WHERRY_STORE_KEEP_ROWS": "7"}, tmp_path)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert pruning.main() == 0
    assert capsys.readouterr().err.startswith("0 predictions removed from ")
