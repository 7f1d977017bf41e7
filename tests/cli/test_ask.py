"""Calling a service: what is sent, and what is said when it does not answer as it should."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from wherry.cli.ask import Service
from wherry.errors import CallRefused, FileMissing, ServiceUnreachable, UsageRefused


class Echo(BaseHTTPRequestHandler):
    """Answers what the test put into `reply`, and keeps what it was asked."""

    reply: tuple[int, bytes] = (200, b"{}")
    seen: ClassVar[dict[str, Any]] = {}

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        type(self).seen = {"path": self.path, "headers": dict(self.headers), "body": self.rfile.read(length)}
        status, body = self.reply
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def echo() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_token_is_sent_in_both_headers(echo: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("\nsecret\nother\n")
    Echo.reply = (200, b'{"prediction": 1}')
    with Service(echo, token) as service:
        answer = service.post("/predict", b"{}")
    assert answer.body == b'{"prediction": 1}'
    assert Echo.seen["headers"]["Authorization"] == "Bearer secret"
    assert Echo.seen["headers"]["X-Api-Key"] == "secret"
    with pytest.raises(FileMissing):
        Service(echo, tmp_path / "missing")
    token.write_text("\n")
    with pytest.raises(UsageRefused):
        Service(echo, token)


def test_a_refusal_names_every_field(echo: str) -> None:
    problem = {
        "type": "x#fields",
        "title": "Fields refused",
        "status": 422,
        "detail": "area is missing",
        "errors": [
            {"row": 0, "field": "area", "reason": "is missing", "hint": 'add "area"'},
            {"row": 3, "field": "age", "reason": "is a text"},
        ],
        "hint": "mend the first",
        "curl": "curl -d '{}' http://x/predict",
    }
    Echo.reply = (422, json.dumps(problem).encode())
    with pytest.raises(CallRefused) as refused, Service(echo) as service:
        service.post("/predict", b"{}")
    text = str(refused.value)
    assert refused.value.status == 422
    assert "422" in text and 'area is missing (add "area")' in text and "row 3: age is a text" in text
    assert refused.value.hint == "a request that does: curl -d '{}' http://x/predict"


def test_an_error_that_is_no_problem_is_shown_as_it_is(echo: str) -> None:
    Echo.reply = (502, b"<html>bad gateway</html>")
    with pytest.raises(CallRefused) as refused, Service(echo) as service:
        service.post("/predict", b"{}")
    assert "502" in str(refused.value) and "bad gateway" in str(refused.value)


def test_nobody_there_says_how_to_start_one(free_ports: Callable[[int], list[int]]) -> None:
    (port,) = free_ports(1)
    with pytest.raises(ServiceUnreachable) as refused, Service(f"http://127.0.0.1:{port}") as service:
        service.get("/")
    assert "nothing listens there" in str(refused.value)
    assert "wherry serve" in refused.value.hint


@pytest.mark.parametrize("url", ["ftp://host/", "http://", "http://host:notaport/"])
def test_no_http_address(url: str) -> None:
    with pytest.raises(UsageRefused):
        Service(url)


@pytest.mark.parametrize(
    "reply", [(200, b""), (200, b"<html>log in</html>"), (302, b""), (308, b'{"moved": true}')], ids=str
)
def test_who_is_no_service_is_not_taken_for_one(echo: str, reply: tuple[int, bytes]) -> None:
    Echo.reply = reply
    with Service(echo) as service, pytest.raises(CallRefused) as caught:
        service.post("/models/iris", b"{}")
    assert caught.value.status == reply[0]
    assert f"wherry predict {echo}/models/iris/predict FILE" in caught.value.hint
