"""The shapes that a project declares: what the five walkthroughs send and read, to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import EXAMPLE, Answer, Fake, Kept, Linearly, Running

from wherry.contract.project import Project
from wherry.contract.settings import resolve, to_environ
from wherry.contract.signature import Column, OutputSpec, Signature
from wherry.contract.wire import Row
from wherry.errors import SettingsRefused
from wherry.server.environment import project_of

BEANS = Signature(
    columns=tuple(Column(name, "number") for name in ("area", "perimeter", "roundness")),
    output=OutputSpec("class", "string", classes=("DERMASON", "SEKER")),
)
BEAN_SHAPES = {
    "request": {"data": "$json:rows", "store": "$store"},
    "record": {"prediction": "$prediction"},
    "rows": {"predictions": "$json:predictions"},
    "root": "I'M ALIVE!",
}


def bean(row: Row) -> str:
    return "DERMASON" if float(row[0] or 0) > 1 else "SEKER"


def declared(reply: dict[str, Any]) -> Project:
    """As wherry.toml declares it."""
    return resolve({"reply": reply}, {}, {}).project


@pytest.fixture(scope="module")
def beans() -> Iterator[tuple[Running, Kept]]:
    kept = Kept()
    with Running(Fake(bean), signature=BEANS, project=declared(BEAN_SHAPES), journal=kept) as running:
        yield running, kept


def send(service: Running, body: Any, path: str = "/predict") -> Answer:
    return service.ask("POST", path, body)


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("[[33958.0, 677.1, 253.69]]", rb'{"predictions":"[\"DERMASON\"]"}'),
        ("[[33958.0, 677.1,            253.69]]", rb'{"predictions":"[\"DERMASON\"]"}'),
        ("[]", rb'{"predictions":"[]"}'),
        ("[[2, 1, 1], [0, 1, 1],\n [3, 1, 1]]", rb'{"predictions":"[\"DERMASON\", \"SEKER\", \"DERMASON\"]"}'),
        ('[{"roundness": 1, "perimeter": 2, "area": 3}]', rb'{"predictions":"[\"DERMASON\"]"}'),
    ],
)
def test_rows_in_a_json_text(beans: tuple[Running, Kept], text: str, reply: bytes) -> None:
    service, kept = beans
    before = len(kept.entries)
    answer = send(service, {"data": text, "store": False})
    assert (answer.status, answer.body) == (200, reply)
    assert len(kept.entries) == before
    assert send(service, {"data": text, "store": True}).body == reply
    assert send(service, {"data": text}).body == reply
    assert len(kept.entries) == before + 2


def test_the_native_forms_go_on(beans: tuple[Running, Kept]) -> None:
    service, _ = beans
    assert send(service, {"area": 3, "perimeter": 2, "roundness": 1}).json == {"prediction": "DERMASON"}
    assert send(service, [[3, 2, 1]]).json == {"predictions": '["DERMASON"]'}
    table = {"columns": ["roundness", "perimeter", "area"], "rows": [[1, 2, 3]]}
    assert send(service, table).json == {"predictions": '["DERMASON"]'}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"data": [[1, 2, 3]]}, 422, "data is a list, not a JSON text"),
        ({"data": "[[1, 2, 3]"}, 400, "data is not JSON"),
        ({"data": "[[1, 2, NaN]]"}, 400, "JSON has no NaN"),
        ({"data": ""}, 400, "data is not JSON: the body is empty"),
        ({"data": "5"}, 422, "data is a number, not a list of rows"),
        ({"data": "[" * 5000}, 400, "data is not JSON"),
        ({"data": "[[1, 2]]"}, 422, "has 2 values; this model has 3 columns"),
        ({"data": "[[1, 2, 3]]", "store": "no"}, 422, "store is a text, not true or false"),
        ({"data": "[[1, 2, 3]]", "colour": 1}, 422, "colour is not part of a request"),
    ],
)
def test_what_a_declared_request_may_not_be(beans: tuple[Running, Kept], body: Any, status: int, words: str) -> None:
    answer = send(beans[0], body)
    assert answer.status == status, answer.body
    assert words in answer.json["detail"]


def test_the_root_is_a_text_without_quotes(beans: tuple[Running, Kept]) -> None:
    answer = beans[0].ask("GET", "/", headers={"Accept": "text/html"})
    assert (answer.body, answer.headers["content-type"]) == (b"I'M ALIVE!", "text/plain; charset=utf-8")


def test_x_in_and_score_out_at_the_projects_own_path() -> None:
    shapes = {"request": {"X": "$rows"}, "rows": {"score": "$predictions"}, "predict_paths": ["/score"]}
    with Running(Fake(lambda row: sum(row)), signature=BEANS, project=declared(shapes)) as service:
        for path in ("/score", "/predict"):
            assert send(service, {"X": [[1, 2, 3], [4, 5, 6]]}, path).body == b'{"score":[6.0,15.0]}'
            assert send(service, {"X": [1, 2, 3]}, path).body == b'{"score":[6.0]}'
        assert service.ask("GET", "/nowhere").json["hint"].endswith("/score")
        assert send(service, {"X": 5}).status == 422
    identity = Signature((Column("x", "number"),), OutputSpec("number", "number"))
    with Running(Fake(lambda row: row[0]), signature=identity, project=declared(shapes)) as service:
        assert send(service, {"X": [1, 2]}, "/score").body == b'{"score":[1.0,2.0]}'


def test_a_column_of_the_declared_name_wins() -> None:
    signature = Signature((Column("X", "number"),), OutputSpec("number", "number"))
    with Running(
        Fake(lambda row: row[0]), signature=signature, project=declared({"request": {"X": "$rows"}})
    ) as service:
        assert send(service, {"X": 4}).json == {"prediction": 4.0}


def test_a_nested_shape() -> None:
    shapes = {"request": {"payload": {"rows": "$rows"}, "options": {"keep": "$store"}}}
    kept = Kept()
    with Running(Fake(bean), signature=BEANS, project=declared(shapes), journal=kept) as service:
        body = {"payload": {"rows": [[3, 2, 1]]}, "options": {"keep": False}}
        assert send(service, body).json == {"predictions": ["DERMASON"]}
        assert kept.entries == []


def test_an_output_list_for_a_query() -> None:
    query = "&".join(f"{name}={value}" for name, value in EXAMPLE.items())
    with Running(Linearly(), project=declared({"record": {"output": "$predictions"}})) as service:
        assert service.ask("GET", f"/predict?{query}").body == b'{"output":[1]}'


def test_status_and_predict_with_errors_of_the_same_shape() -> None:
    shapes = {
        "record": {"status": "ok", "predict": "$prediction"},
        "error": {"status": "error", "predict": -1, "detail": "$detail"},
        "root": {"message": "up"},
        "paths": {"/version": {"model": "$name", "version": "$version"}, "/hello": "hello"},
    }
    with Running(Linearly(), project=declared(shapes)) as service:
        assert send(service, EXAMPLE).body == b'{"status":"ok","predict":1}'
        for body, status in ((b"{", 400), ({}, 422)):
            refused = send(service, body)
            assert refused.status == status
            assert {**refused.json, "detail": ""} == {"status": "error", "predict": -1, "detail": ""}
        assert service.ask("GET", "/").json == {"message": "up"}
        assert service.ask("GET", "/version").json == {"model": "breast", "version": "1"}
        assert service.ask("GET", "/hello").body == b"hello"
        assert service.ask("POST", "/hello").status == 405
        # The other protocols keep their own shapes, of errors too.
        assert "error" in service.ask("POST", "/v2/models/breast/infer", {}).json


def test_a_prediction_with_its_probability() -> None:
    shape = {"predictions": [{"label": "$label", "probability": "$probability"}], "success": True}
    with Running(Linearly(), project=declared({"record": shape, "labels": {"1": "M", "0": "B"}})) as service:
        answer = send(service, EXAMPLE).json
        assert answer == {"predictions": [{"label": "M", "probability": pytest.approx(0.9)}], "success": True}


@pytest.mark.parametrize(
    ("reply", "at"),
    [
        ({"request": "$rows"}, "reply.request"),
        ({"request": {"X": "rows"}}, "reply.request"),
        ({"request": {"X": "$rows", "Y": "$json:rows"}}, "reply.request"),
        ({"request": {"X": "$rowz"}}, "reply.request"),
        ({"predict_paths": ["score"]}, "reply.predict_paths"),
        ({"paths": {"/a?b": "x"}}, "reply.paths"),
        ({"paths": {"/a": "$verzion"}}, "reply.paths"),
        ({"root": "x", "root_file": "page.html"}, "reply.root_file"),
    ],
)
def test_shapes_that_no_request_can_have(reply: dict[str, Any], at: str) -> None:
    with pytest.raises(SettingsRefused) as refused:
        declared(reply)
    assert any(problem.path.startswith(at) for problem in refused.value.problems)


def test_a_page_of_the_projects_own(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!doctype html><title>Beans</title>")
    found = project_of({"WHERRY_REPLY_ROOT_FILE": str(page)}, tmp_path).project
    with Running(Linearly(), project=found) as service:
        answer = service.ask("GET", "/")
        assert (answer.body, answer.headers["content-type"]) == (page.read_bytes(), "text/html; charset=utf-8")
    assert resolve({}, to_environ(found), {}).project.reply == found.reply
    with pytest.raises(SettingsRefused, match="cannot be read"):
        project_of({"WHERRY_REPLY_ROOT_FILE": str(tmp_path / "none")}, tmp_path)
