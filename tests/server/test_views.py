"""A declared view shows predictions under other names, is made once, and is replaced by its owner alone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from wherry.contract.settings import resolve
from wherry.contract.views import View
from wherry.errors import SettingsRefused
from wherry.server.ids import new_id
from wherry.server.sinks import Progress, Sink, SinkAway
from wherry.server.sinks.views import missing, renew

NASTY = 'it\'s "5 %" \\ wide'


@pytest.fixture
def filled(place: Any) -> Iterator[Any]:
    """Two models' predictions, the last one not answered."""
    with contextlib.closing(Sink(place.url)) as sink:
        sink.migrate()
        inputs = '{"n":3,"it\'s \\"5 %\\" \\\\ wide":"x"}'
        rows = [
            (new_id(time.time_ns() + n * 10**6), "r", "2026-01-01 00:00:00", model, "1", "d", "s", inputs, output,
             200, 1.0, "native", "h", n)
            for n, (model, output) in enumerate(
                [("a", '{"prediction":"M"}'), ("b", '{"prediction":"B","probabilities":[1.0]}'), ("a", None)]
            )
        ]  # fmt: skip
        sink.store(rows, "s", Progress())
        place.sink = sink
        yield place


def shown(place: Any, name: str = "beans") -> list[tuple[Any, ...]]:
    return [tuple(str(value) for value in row) for row in place.query(f"SELECT * FROM {name} ORDER BY 1")]


def test_a_view_is_made_once_and_renewed_by_its_owner(filled: Any) -> None:
    views = {
        "beans": View(columns={"number": "sequence", "name": "prediction", "n": "input.n", "wide": f"input.{NASTY}"})
    }
    for _ in range(2):
        assert list(missing(filled.sink, views)) == []
        assert shown(filled) == [("0", "M", "3", "x"), ("1", "B", "3", "x")]
    others = {"beans": View(columns={"name": "prediction"}, model="a")}
    [(name, why)] = missing(filled.sink, others)
    assert (name, "wherry history migrate" in why) == ("beans", True)
    renew(filled.sink, others)
    assert shown(filled) == [("M",)]
    renew(filled.sink, {"beans": View(columns={"name": "prediction"}, model="it's not")})
    assert shown(filled) == []


def test_a_table_of_that_name_stays(filled: Any) -> None:
    filled.query("CREATE TABLE beans (id INTEGER, name VARCHAR(10))")
    filled.query("INSERT INTO beans VALUES (1, 'mine')")
    views = {"beans": View(columns={"label": "prediction"})}
    assert [name for name, _ in missing(filled.sink, views)] == ["beans"]
    with pytest.raises(SinkAway, match="a table beans that wherry did not make"):
        renew(filled.sink, views)
    assert shown(filled) == [("1", "mine")]


def test_migrate_makes_the_views_of_the_project(filled: Any, tmp_path: Path, wherry: Callable[..., Any]) -> None:
    (tmp_path / "wherry.toml").write_text('[store.views.beans]\ncolumns = { name = "prediction" }\n')
    done = wherry("history", "migrate", WHERRY_STORE_URL=filled.url)
    assert done.returncode == 0 and "made beans" in done.stdout, done.stderr
    assert shown(filled) == [("B",), ("M",)]


@pytest.mark.parametrize(
    ("views", "words"),
    [
        ({"beans": {"columns": {"name": "predicton"}}}, "did you mean prediction"),
        ({"beans": {"columns": {}}}, "is empty"),
        ({"beans; DROP TABLE x": {"columns": {"a": "id"}}}, "no name for a view"),
        ({"Predictions": {"columns": {"a": "id"}}}, "no name for a view"),
        ({"beans": {"columns": {'a" FROM x --': "id"}}}, "no name for a column"),
        ({"beans": {"columns": {"a": "input."}}}, "nothing we keep"),
        ({"beans": {"columns": {"a": "id"}, "modle": "x"}}, "modle"),
    ],
)
def test_what_is_no_view_is_refused(views: Any, words: str) -> None:
    with pytest.raises(SettingsRefused, match=words):
        resolve({"store": {"views": views}}, {}, {})
