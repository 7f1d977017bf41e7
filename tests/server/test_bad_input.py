"""Every bad input has its status, names what is wrong, and says what to do."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import EXAMPLE, NAMES, Answer, Linearly, Running, ask, predict, project


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with Running(Linearly(), project=project(probabilities="never")) as running:
        yield running


def without(name: str) -> dict[str, float]:
    return {key: value for key, value in EXAMPLE.items() if key != name}


def problem(answer: Answer, status: int, code: str) -> dict[str, Any]:
    """The problem of a refusal, its members checked."""
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json
    assert found["type"] == f"https://wherry.dev/errors#{code}"
    assert found["status"] == status
    assert found["request_id"] == answer.headers["x-request-id"]
    assert found["detail"]
    return found


def test_a_missing_field_is_named(service: Running) -> None:
    found = problem(predict(service.address, without("area_se")), 422, "fields")
    assert found["errors"] == [
        {"row": 0, "field": "area_se", "reason": "is missing", "hint": 'add "area_se": a number'}
    ]


def test_an_unknown_field_is_named_with_the_nearest(service: Running) -> None:
    found = problem(predict(service.address, {**without("area_se"), "area_es": 1.0}), 422, "fields")
    assert [(e["field"], e["reason"]) for e in found["errors"]] == [
        ("area_se", "is missing"),
        ("area_es", "is not a column of this model"),
    ]
    assert found["errors"][1]["hint"] == "did you mean area_se?"


def test_a_string_where_a_number_belongs_is_named(service: Running) -> None:
    found = problem(predict(service.address, {**EXAMPLE, "area_se": "153.4"}), 422, "fields")
    assert found["errors"] == [
        {"row": 0, "field": "area_se", "reason": "is a text, not a number", "hint": "send it without quotes: 153.4"}
    ]


def test_null_where_it_may_not_be_is_named(service: Running) -> None:
    found = problem(predict(service.address, {**EXAMPLE, "area_se": None}), 422, "fields")
    assert found["errors"][0]["reason"] == "is null, and may not be missing"


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_refused(service: Running, literal: str) -> None:
    body = json.dumps({**EXAMPLE, "area_se": None}).replace("null", literal).encode()
    found = problem(predict(service.address, body), 400, "body-unreadable")
    assert literal in found["detail"]
    assert "byte" in found["detail"]
    assert found["hint"] == "send null for a missing value"


def test_an_empty_body_is_refused(service: Running) -> None:
    found = problem(ask(service.address, "POST", "/predict"), 400, "body-unreadable")
    assert found["detail"] == "the body is empty"


def test_broken_json_is_refused_with_its_place(service: Running) -> None:
    found = problem(predict(service.address, b'{"area_se": 1,}'), 400, "body-unreadable")
    assert found["detail"] == "the body is not JSON (byte 14)"


def test_python_quotes_are_recognised(service: Running) -> None:
    found = problem(predict(service.address, b"{'area_se': 1}"), 400, "body-unreadable")
    assert found["hint"] == "JSON quotes with double quotes"


def test_a_list_of_the_wrong_length_is_named_by_row(service: Running) -> None:
    rows = [list(EXAMPLE.values()), list(EXAMPLE.values())[:5]]
    found = problem(predict(service.address, rows), 422, "fields")
    assert found["errors"][0]["row"] == 1
    assert found["errors"][0]["reason"] == "has 5 values; this model has 6 columns"
    assert ", ".join(NAMES) in found["errors"][0]["hint"]


def test_eleven_mebibytes_are_refused(service: Running) -> None:
    body = json.dumps([EXAMPLE] * (11 * 2**20 // len(json.dumps(EXAMPLE)) + 1)).encode()
    assert len(body) >= 11 * 2**20
    found = problem(predict(service.address, body), 413, "too-large")
    assert found["detail"] == "the body is over 10,485,760 bytes"


@pytest.mark.parametrize(
    "media",
    ["text/tab-separated-values", "application/x-www-form-urlencoded", "-", "application/json; charset=latin-1"],
)
def test_a_wrong_content_type_is_refused_with_a_line_that_works(service: Running, media: str) -> None:
    found = problem(predict(service.address, EXAMPLE, **{"Content-Type": media}), 415, "media-type")
    assert found["hint"].startswith("curl -H 'Content-Type: application/json' -d '{")


def test_a_wrong_path_is_refused_with_those_there_are(service: Running) -> None:
    found = problem(ask(service.address, "GET", "/predictions"), 404, "path-unknown")
    assert "/predict" in found["hint"]


def test_metrics_are_elsewhere(service: Running) -> None:
    found = problem(ask(service.address, "GET", "/metrics"), 404, "path-unknown")
    assert found["hint"] == "see http://a:8082/metrics"


def test_a_wrong_method_is_refused_with_those_there_are(service: Running) -> None:
    answer = ask(service.address, "DELETE", "/predict")
    problem(answer, 405, "method")
    assert answer.headers["allow"] == "POST, GET, HEAD"


def test_a_compressed_body_is_refused(service: Running) -> None:
    problem(predict(service.address, EXAMPLE, **{"Content-Encoding": "gzip"}), 415, "media-type")


def test_probabilities_that_the_project_forbids(service: Running) -> None:
    found = problem(ask(service.address, "POST", "/predict?probabilities=true", EXAMPLE), 403, "switched-off")
    assert "probabilities" in found["hint"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * 1_000_000, 400),
        (b"1" * 1_000_000, 400),
        (b'{"area_se": ' + b"9" * 1_000_000 + b"}", 400),
        (b'{"area_se": 1e309}', 400),
        (b"\xef\xbb\xbf{}", 400),
        ("{}".encode("utf-16"), 400),
        (b'{"area_se": "\\ud800"}', 400),
        (b'"\xff"', 400),
        (b"null", 422),
        (b'"text"', 422),
        (b"[1, 2]", 422),
        (b"[[]]", 422),
        (b"{" + b",".join(b'"k%d":1' % k for k in range(100_000)) + b"}", 422),
    ],
    ids=str,
)
def test_hostile_json_is_refused(service: Running, body: bytes, status: int) -> None:
    assert predict(service.address, body).status == status
    assert predict(service.address, EXAMPLE).status == 200


def test_at_most_a_hundred_problems_are_named(service: Running) -> None:
    assert len(predict(service.address, [{}] * 1000).json["errors"]) == 100


def test_the_curl_line_of_a_refusal_works(service: Running) -> None:
    for wrong in (
        {**EXAMPLE, "area_se": "x", "it's": 1},
        [without("area_se")],
        [[1, 2]],
        {"columns": ["a"], "rows": []},
    ):
        answer = predict(service.address, wrong, Host="localhost:1234")
        line = answer.json.get("curl", "")
        if answer.status == 200:
            continue
        words = shlex.split(line)
        assert words[:4] == ["curl", "-H", "Content-Type: application/json", "-d"]
        assert words[5] == "http://localhost:1234/predict"
        assert predict(service.address, words[4].encode()).status == 200


def test_what_was_right_stays_in_the_corrected_request(service: Running) -> None:
    answer = predict(service.address, {**EXAMPLE, "area_se": "x", "area_worst": 77.5})
    assert '"area_worst":77.5' in answer.json["curl"]


def test_a_host_that_is_no_host_does_not_reach_the_curl_line(service: Running) -> None:
    answer = predict(service.address, {}, Host="localhost:1;rm")
    assert answer.status in (421, 422)
    assert ";rm" not in answer.json.get("curl", "")


def test_no_error_tells_internals(service: Running, tmp_path: Path) -> None:
    bodies = [
        b"",
        b"{",
        b"null",
        b"[1]",
        b'{"a":NaN}',
        b"\xff",
        b"[" * 10_000,
        b"{}",
        b'{"columns":1}',
        b'{"columns":[],"rows":1}',
    ]
    for body in bodies:
        text = predict(service.address, body).body
        for internal in (b"Traceback", b"msgspec", b".py", b"/src", b"site-packages", str(tmp_path.parent).encode()):
            assert internal not in text
