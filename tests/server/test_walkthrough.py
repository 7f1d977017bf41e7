"""Walkthrough 3's client, as it is printed there, and the query that its reader types, on every kind of database."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import databases
import pytest
import store_parts as parts

# The project: the shapes of that walkthrough's client, and its table's name and columns.
PROJECT = """
[reply]
request = { data = "$json:rows", store = "$store" }
rows = { predictions = "$json:predictions" }
record = { predictions = "$json:predictions" }

[store.views.drybeans]
columns = { id = "id", name = "prediction", created_at = "created_at" }
"""
NAMES = (
    "Area", "Perimeter", "MajorAxisLength", "MinorAxisLength", "AspectRation", "Eccentricity", "ConvexArea",
    "EquivDiameter", "Extent", "Solidity", "roundness", "Compactness", "ShapeFactor1", "ShapeFactor2", "ShapeFactor3",
    "ShapeFactor4",
)  # fmt: skip
# What beans of three kinds measure on average.
MEANS = {
    "DERMASON": (32119, 665, 246.6, 165.7, 1.49, 0.74, 32498, 201.7, 0.75, 0.99, 0.91, 0.82, 0.008, 0.002, 0.68, 1.0),
    "SEKER": (39881, 728, 251.3, 201.9, 1.25, 0.59, 40270, 224.9, 0.77, 0.99, 0.95, 0.90, 0.006, 0.003, 0.81, 1.0),
    "BOMBAY": (173485, 1586, 593.2, 374.4, 1.59, 0.77, 175813, 468.9, 0.78, 0.99, 0.86, 0.79, 0.003, 0.001, 0.63, 0.99),
}
# The payload to the letter, the blanks of its line's continuation included.
PAYLOAD = {'data': '[[33958.0, 677.1, 253.69, 171.05, 1.48, 0.74, 34241.0, \
                      207.93, 0.82, 0.99, 0.93, 0.82, 0.01, 0.0, 0.67, 1.0]]'}  # fmt: skip
ROW = PAYLOAD["data"].strip()[1:-1]
QUERY = "SELECT id, name, created_at FROM drybeans ORDER BY created_at, id"


@pytest.fixture(scope="module")
def beans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The walkthrough's model, a support vector classifier with a linear kernel, packed."""
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    svm = pytest.importorskip("sklearn.svm", reason="needs scikit-learn")

    import wherry

    X = pandas.DataFrame(
        [[value * (1 + 0.002 * (k % 7)) for value in MEANS[kind]] for kind in MEANS for k in range(20)], columns=NAMES
    )
    y = pandas.Series([kind for kind in MEANS for _ in range(20)], name="Class")
    folder = tmp_path_factory.mktemp("beans") / "bundle"
    wherry.pack(svm.SVC(kernel="linear").fit(X, y), X, y, to=folder, name="DryBeanSVM")
    return folder


@pytest.fixture(params=["sqlite", "mysql", "postgresql"])
def drybeans(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """An empty database called drybeans_db, and the environment that leads to it as the walkthrough has it."""
    if request.param == "sqlite":
        place: Any = databases.File(tmp_path / ".wherry" / "predictions.db")
        place.environ = {}
        yield place
        return
    server = request.getfixturevalue("mariadb" if request.param == "mysql" else "postgresql")
    place = databases.Database(server, "drybeans_db")
    place.environ = {"WHERRY_STORE_URL": place.url}
    if request.param == "mysql":
        place.environ = {
            "MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": str(server.port), "MYSQL_USER": databases.OWNER,
            "MYSQL_PASSWORD": databases.SECRET, "MYSQL_DB": "drybeans_db",
        }  # fmt: skip
    yield place
    server.query(server.kind, "DROP DATABASE drybeans_db")


def rows_of(place: Any) -> list[tuple[Any, ...]]:
    try:
        return list(place.query(QUERY))
    except Exception as error:  # each driver's own: the view is not there yet
        assert "drybeans" in str(error) or "unable to open" in str(error)
        return []


def test_its_client_is_answered_and_its_reader_finds_the_rows(
    drybeans: Any, beans: Path, tmp_path: Path, service: Callable[..., Any], wherry: Callable[..., Any]
) -> None:
    (tmp_path / "wherry.toml").write_text(PROJECT)
    running = service(beans, cwd=tmp_path, **drybeans.environ)
    answers = []
    for data in (PAYLOAD["data"], "[]", f"[{ROW}, {ROW}, {ROW}]"):
        for payload in ({"data": data}, {"data": data, "store": True}, {"data": data, "store": False}):
            reply = running.ask("/predict", payload)
            assert reply.status == 200, reply.body
            answers.append(reply.json)
    one, none, three = (
        {"predictions": '["DERMASON"]'}, {"predictions": "[]"},
        {"predictions": '["DERMASON", "DERMASON", "DERMASON"]'},
    )  # fmt: skip
    assert answers == [one] * 3 + [none] * 3 + [three] * 3
    parts.until(lambda: len(rows_of(drybeans)) == 8, 30)  # of those that were kept: twice one, and twice three
    found = rows_of(drybeans)
    assert {name for _, name, _ in found} == {"DERMASON"}
    assert len({id for id, _, _ in found}) == 8
    assert all(created for _, _, created in found)
    kept = [json.loads(line)["id"] for line in wherry("history", "--json", **drybeans.environ).stdout.splitlines()]
    assert sorted(kept) == sorted(id for id, _, _ in found)
    assert "wherry_store_skipped_rows_total 4\n" in parts.metrics(running)
    assert running.stop() == 0
    assert "the view" not in running.log.read_text()
