"""Pages of other sites, traces and the access log: nothing unless declared, and then no more than that."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from serving import EXAMPLE, Fake, Linearly, Running

from wherry.contract.project import Project, Serve
from wherry.errors import SettingsRefused
from wherry.server.sharing import Sharing

PAGE = "https://app.example.org"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
BODY = json.dumps(EXAMPLE).encode()
ASKING = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


def running(tokens: Path | None = None, **settings: Any) -> Running:
    if tokens is not None:
        settings["token_file"] = str(tokens)
    return Running(Linearly(), project=Project(serve=Serve(**settings)), tokens=tokens)


def shared(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.startswith("access-control-") or name == "vary"}


def test_nobody_shares_by_default() -> None:
    with running() as service:
        answer = service.ask("POST", "/predict", BODY, headers={"Origin": PAGE})
        assert answer.status == 200 and not shared(answer.headers)
        assert service.ask("OPTIONS", "/predict", headers=ASKING).status == 405


def test_a_declared_origin_may_ask_and_no_other() -> None:
    with running(cors_origins=(PAGE,)) as service:
        asked = service.ask("OPTIONS", "/predict", headers=ASKING)
        assert asked.status == 200
        assert asked.headers["access-control-allow-origin"] == PAGE
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert "Content-Type" in asked.headers["access-control-allow-headers"]
        for _ in range(2):  # read, and then remembered
            answer = service.ask("POST", "/predict", BODY, headers={"Origin": PAGE})
            assert answer.json == {"prediction": 1}
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert "X-Prediction-Id" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "Origin"
        refusal = service.ask("POST", "/predict", b"{", headers={"Origin": PAGE})
        assert refusal.status == 400 and refusal.headers["access-control-allow-origin"] == PAGE
        for origin in ("https://evil.example.org", PAGE + ".evil.org", "null"):
            other = service.ask("POST", "/predict", BODY, headers={"Origin": origin})
            assert shared(other.headers) == {"vary": "Origin"}
            assert service.ask("OPTIONS", "/predict", headers={**ASKING, "Origin": origin}).status == 405
        assert shared(service.ask("POST", "/predict", BODY).headers) == {"vary": "Origin"}
        # What is stored is not for pages of other sites where no token guards it.
        for path in ("/history", "/feedback", "/%68istory", "/api/v1.0/%66eedback", "http://127.0.0.1/history"):
            assert not shared(service.ask("GET", path, headers={"Origin": PAGE}).headers)
            assert service.ask("OPTIONS", path, headers=ASKING).status == 405


def test_with_a_token_the_question_whether_one_may_needs_none(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("secret\n")
    with running(tokens, cors_origins=(PAGE,)) as service:
        asked = service.ask("OPTIONS", "/predict", headers=ASKING)
        assert asked.status == 200 and "Authorization" in asked.headers["access-control-allow-headers"]
        refusal = service.ask("POST", "/predict", BODY, headers={"Origin": PAGE})
        assert refusal.status == 401 and refusal.headers["access-control-allow-origin"] == PAGE
        with_token = {"Origin": PAGE, "Authorization": "Bearer secret"}
        assert service.ask("POST", "/predict", BODY, headers=with_token).status == 200


def test_everybody_is_no_origin_beside_a_token() -> None:
    with running(cors_origins=("*",)) as service:
        answer = service.ask("POST", "/predict", BODY, headers={"Origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "vary" not in answer.headers
    with pytest.raises(SettingsRefused, match="beside a token"):
        Sharing(Serve(cors_origins=("*",), token_file="tokens"))
    for wrong in ("app.example.org", "https://", "https://*.example.org", "https://example.org/path"):
        with pytest.raises(SettingsRefused, match="no origin"):
            Sharing(Serve(cors_origins=(wrong,)))


def test_a_trace_is_passed_on_and_named_where_something_fails(caplog: pytest.LogCaptureFixture) -> None:
    with Running(Fake(lambda row: 1 / (row[0] - 7.0))) as service:
        answer = service.ask("POST", "/predict", BODY, headers={"traceparent": TRACE})
        assert answer.status == 200 and answer.headers["traceparent"] == TRACE
        bad = json.dumps({**EXAMPLE, "concavity_mean": 7.0}).encode()
        assert service.ask("POST", "/predict", bad, headers={"traceparent": TRACE}).status == 500
        assert f"of trace {TRACE[3:35]}:" in caplog.text
        for wrong in (TRACE.upper(), "00-" + "0" * 32 + TRACE[35:], TRACE + "\u00e9", "x"):
            assert "traceparent" not in service.ask("POST", "/predict", BODY, headers={"traceparent": wrong}).headers
        assert "traceparent" not in service.ask("POST", "/predict", BODY).headers


def test_the_access_log_is_off_and_then_whole(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with running() as service:
        service.ask("POST", "/predict", BODY)
    assert capsysbinary.readouterr().out == b""
    with running(access_log=1.0) as service:
        service.ask("POST", "/predict", BODY, headers={"X-Request-Id": "mine", "traceparent": TRACE})
        service.ask("GET", "/predict?concavity_mean=secret")
    lines = [msgspec.json.decode(line, type=dict[str, Any]) for line in capsysbinary.readouterr().out.splitlines()]
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("POST", "/predict", 200),
        ("GET", "/predict", 422),
    ]
    assert lines[0]["request_id"] == "mine" and lines[0]["trace_id"] == TRACE[3:35]
    assert lines[0]["ms"] > 0 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", lines[0]["time"])


def test_of_a_share_every_failure_is_logged(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    with running(access_log=0.1) as service:
        for _ in range(300):
            service.ask("POST", "/predict", BODY)
        for _ in range(5):
            service.ask("POST", "/predict", b"{")
    lines = [msgspec.json.decode(line) for line in capsysbinary.readouterr().out.splitlines()]
    assert sum(line["status"] == 400 for line in lines) == 5
    assert 5 <= sum(line["status"] == 200 for line in lines) <= 90
