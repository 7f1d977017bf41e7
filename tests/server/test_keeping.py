"""What was predicted can be asked for, and what turned out to be true be told, by those who may."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import store_parts as parts
from serving import EXAMPLE, Fake, Linearly, Running, until

from wherry.contract.events import silent
from wherry.contract.project import Project, Serve, Store
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.server.asking import Asker
from wherry.server.doors import seldon
from wherry.server.history import Query
from wherry.server.keeper import Keeper, Task
from wherry.server.spool import Spool
from wherry.server.stored import StoredJournal

COLUMNS = tuple(EXAMPLE)


def stored(folder: Path) -> StoredJournal:
    url = f"sqlite:///{folder / 'predictions.db'}"
    origin = type(parts.ORIGIN)("", "", "host", "m", "1", "d" * 64, "s" * 64, COLUMNS)
    spool = Spool(folder / "spool" / "0", origin)
    keeper = Keeper(Task(str(spool.folder), url), silent, backoff=(0.01, 0.02))
    return StoredJournal(spool, keeper, "predictions.db", silent, Asker(url, "predictions.db"))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Any]:
    """A service that keeps its predictions, and its journal."""
    journal = stored(tmp_path)
    journal.start()
    with Running(Linearly(), journal=journal) as service:
        yield SimpleNamespace(service=service, ask=service.ask, journal=journal, folder=tmp_path)
    journal.close()


def predicted(kept: Any, rows: int) -> str:
    reply = kept.ask("POST", "/predict", [EXAMPLE] * rows)
    assert reply.status == 200
    until(lambda: kept.journal.counts().pending == 0, seconds=20)
    return str(reply.headers["x-prediction-id"])


def test_pages_of_what_was_predicted(kept: Any) -> None:
    first, second = predicted(kept, 2), predicted(kept, 1)
    reply = kept.ask("GET", "/history?limit=2")
    assert reply.status == 200, reply.body
    assert [each["id"] for each in reply.json["predictions"]] == [second, f"{first}-1"]
    assert reply.json["predictions"][0]["inputs"] == EXAMPLE
    assert reply.json["next"] == f"{first}-1"
    rest = kept.ask("GET", f"/history?limit=2&before={reply.json['next']}").json
    assert ([each["id"] for each in rest["predictions"]], rest["next"]) == ([first], None)
    assert kept.ask("GET", "/history?since=2999-01-01").json["predictions"] == []
    found = kept.ask("GET", f"/history?where=area_se={EXAMPLE['area_se']}&output=1&request_id={second}").json
    assert [each["id"] for each in found["predictions"]] == [second]


def test_a_truth_joins_its_prediction_also_that_of_one_row_of_many(kept: Any) -> None:
    id = predicted(kept, 3)
    reply = kept.ask("POST", "/feedback", {"id": f"{id}-1", "truth": 0})
    assert (reply.status, reply.json) == (202, {"accepted": 1})
    assert kept.ask("POST", "/feedback", [{"id": id, "truth": 1}, {"id": f"{id}-1", "truth": 1}]).status == 202
    until(lambda: kept.journal.counts().pending == 0, seconds=20)
    found = kept.ask("GET", "/history").json["predictions"]
    assert [each.get("truth") for each in found] == [None, 1, 1]  # of two truths about one, the last
    assert kept.journal.counts().stored == 6


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"id": "x", "truth": 1}, ["id"]),
        ({"id": "01a1fd6b-ba1a-779c-98a0-8bd912f0ccd4"}, ["truth"]),
        ([{"truth": 1, "more": 2}, 3], ["id", "more", ""]),
    ],
)
def test_a_truth_about_nothing_is_refused(kept: Any, body: Any, fields: list[str]) -> None:
    reply = kept.ask("POST", "/feedback", body)
    assert reply.status == 422
    assert [each["field"] for each in reply.json["errors"]] == fields
    assert "curl" not in reply.json  # it would be one for /predict
    assert kept.journal.counts().accepted == 0


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "since=soon", "where=x", "sort=id"])
def test_a_question_that_cannot_be_meant_is_refused(kept: Any, query: str) -> None:
    reply = kept.ask("GET", f"/history?{query}")
    assert reply.status == 422
    assert reply.json["errors"][0]["field"] == query.partition("=")[0]


@pytest.mark.parametrize(("method", "path"), [("GET", "/history"), ("POST", "/feedback")])
def test_both_are_off_where_anybody_may_ask(tmp_path: Path, method: str, path: str) -> None:
    body = {"id": "01a1fd6b-ba1a-779c-98a0-8bd912f0ccd4", "truth": 1} if method == "POST" else b""
    journal = stored(tmp_path)
    with Running(Linearly(), journal=journal, project=Project(serve=Serve(host="0.0.0.0"))) as service:
        reply = service.ask(method, path, body)
        assert reply.status == 403
        assert "token_file" in reply.json["hint"]
    local = Project(serve=Serve(allowed_hosts=("model.example",)))
    with Running(Linearly(), journal=journal, project=local) as service:
        assert service.ask(method, path, body, {"Host": "model.example"}).status == 403
        assert service.ask(method, path, body, {"Host": "other.example"}).status == 421
        assert service.ask(method, path, body, {"Host": "localhost:1"}).status in (200, 202, 503)
    secret = tmp_path / "tokens"
    secret.write_text("hunter2\n")
    with Running(Linearly(), journal=journal, project=Project(serve=Serve(host="0.0.0.0")), tokens=secret) as service:
        assert service.ask(method, path, body).status == 401
        assert service.ask(method, path, body, {"Authorization": "Bearer hunter2"}).status in (200, 202, 503)
    journal.close()


def test_without_a_store_both_name_the_setting() -> None:
    with Running(Linearly()) as service:
        for reply in (service.ask("GET", "/history"), service.ask("POST", "/feedback", {})):
            assert reply.status == 403
            assert "[store] enabled" in reply.json["hint"]


def test_a_store_that_cannot_be_read_is_503_and_the_reader_comes_back(kept: Any) -> None:
    predicted(kept, 1)
    assert kept.ask("GET", "/history").status == 200
    asker = kept.journal._asker
    asker.process.kill()
    asker.process.wait()
    assert len(kept.ask("GET", "/history").json["predictions"]) == 1
    asker.end()
    asker.url = f"sqlite:///{kept.folder}/nowhere/p.db"
    reply = kept.ask("GET", "/history")
    assert reply.status == 503
    assert "nowhere" not in reply.body.decode()
    assert kept.ask("POST", "/predict", EXAMPLE).status == 200


def test_a_question_survives_its_journey() -> None:
    asked = Query(limit=3, where=(("a", "b"),), output="", before="x")
    import msgspec

    assert msgspec.json.decode(msgspec.json.encode(asked), type=Query) == asked


def test_a_request_is_kept_out_only_where_the_project_lets_it(tmp_path: Path) -> None:
    journal = stored(tmp_path)
    bodies: list[Any] = [
        EXAMPLE | {"store": False},
        {"columns": list(EXAMPLE), "rows": [list(EXAMPLE.values())] * 2, "store": False},
    ]
    with Running(Linearly(), journal=journal) as service:
        assert [service.ask("POST", "/predict", body).status for body in bodies] == [422, 422]
        assert journal.counts().accepted == 0
    lenient = Project(store=Store(client_may_skip=True))
    with Running(Linearly(), journal=journal, project=lenient) as service:
        assert [service.ask("POST", "/predict", body).status for body in bodies] == [200, 200]
        assert journal.counts().accepted == 0
        assert "\nwherry_store_skipped_rows_total 3\n" in service.metrics.render([])
        assert service.ask("POST", "/predict", EXAMPLE | {"store": True}).status == 200
        assert service.ask("POST", "/predict", EXAMPLE).status == 200
        assert service.ask("POST", "/predict", EXAMPLE | {"store": "no"}).status == 422
        assert journal.counts().accepted == 2
    journal.close()


def test_a_column_called_store_stays_a_column(tmp_path: Path) -> None:
    journal = stored(tmp_path)
    signature = Signature((Column("store", "boolean"),), OutputSpec("number", "number"))
    lenient = Project(store=Store(client_may_skip=True))
    with Running(Fake(lambda row: 1), signature=signature, journal=journal, project=lenient) as service:
        assert service.ask("POST", "/predict", {"store": False}).status == 200
        assert journal.counts().accepted == 1
    journal.close()


def test_seldons_feedback_is_kept_as_truths(kept: Any) -> None:
    rows = [list(EXAMPLE.values())] * 2
    answer = kept.ask("POST", "/api/v1.0/predictions", {"data": {"ndarray": rows}}).json
    told = {"response": answer, "reward": 1, "truth": {"data": {"ndarray": [[0], [1]]}}}
    assert kept.ask("POST", "/api/v1.0/feedback", told).status == 200
    id = answer["meta"]["puid"]
    assert seldon.truths(json.dumps(told).encode()) == [{"id": id, "truth": 0}, {"id": f"{id}-1", "truth": 1}]
    assert kept.ask("POST", "/api/v1.0/feedback", {"response": answer, "reward": 0.5}).status == 200
    assert kept.journal.counts().accepted == 5  # two rows, two truths, one reward
    for wrong in ({}, {"response": answer}, {"response": {"meta": {"puid": "mine"}}, "reward": 1}):
        assert kept.ask("POST", "/api/v1.0/feedback", wrong).status == 422


def test_seldons_feedback_is_off_without_a_store() -> None:
    with Running(Linearly()) as service:
        refused = service.ask("POST", "/api/v1.0/feedback", {})
        assert (refused.status, "store" in refused.json["hint"]) == (403, True)
