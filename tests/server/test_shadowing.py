"""Copies for a shadow: only a share, never more than the bounds, compared, counted, and nobody's business else."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving import request

from wherry.contract.project import Project, Shadow
from wherry.server.metrics import Metrics
from wherry.server.predictions import shadow_of


class Other:
    """Another version: what it answers is the test's to say, `asked` what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[dict[str, str], Any]] = []
        self.answer: Callable[[list[Any]], tuple[int, list[Any]]] = lambda rows: (200, [0 for _ in rows])
        self.may_answer = threading.Event()
        self.may_answer.set()
        other = self

        class Bound(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                other.asked.append((dict(self.headers), body))
                other.may_answer.wait(20)
                status, predictions = other.answer(body["rows"])
                said = json.dumps({"predictions": predictions}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"


@pytest.fixture
def other() -> Iterator[Other]:
    made = Other()
    threading.Thread(target=made.http.serve_forever, args=(0.02,), daemon=True).start()
    yield made
    made.may_answer.set()
    made.http.shutdown()
    made.http.server_close()


def counts(running: Any) -> dict[str, int]:
    """How many copies came to what."""
    found = re.findall(r'wherry_shadow_requests_total\{outcome="(\w+)"\} (\d+)', running_metrics(running))
    return {name: int(value) for name, value in found if int(value)}


def running_metrics(running: Any) -> str:
    import urllib.request

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{running.admin_url}/metrics", timeout=10) as reply:
        return str(reply.read().decode())


def until_counted(running: Any, copies: int) -> dict[str, int]:
    """The counts once so many copies came to something."""
    until = time.monotonic() + 20
    while sum((found := counts(running)).values()) < copies and time.monotonic() < until:
        time.sleep(0.02)
    return found


@pytest.fixture
def start(service: Any, breast_cancer_bundle: Path, other: Other) -> Callable[..., Any]:
    def begin(**environ: str) -> Any:
        wanted = {"WHERRY_SERVE_SHADOW_URL": other.url, "WHERRY_SERVE_SHADOW_SHARE": "1", **environ}
        return service(breast_cancer_bundle, "--no-store", **wanted)

    return begin


def example(bundle: Path) -> Any:
    return json.loads((bundle / "example.json").read_text())


def test_a_copy_is_compared_and_the_caller_gets_the_answer_of_the_model(
    start: Callable[..., Any], other: Other, breast_cancer_bundle: Path
) -> None:
    running = start()
    record = example(breast_cancer_bundle)
    usual = json.loads(running.ask("/predict", record).body)["prediction"]
    assert sum(until_counted(running, 1).values()) == 1
    before = counts(running)
    other.answer = lambda rows: (200, [usual for _ in rows])
    assert json.loads(running.ask("/predict", record).body) == {"prediction": usual}
    assert until_counted(running, 2) == {**before, "same": before.get("same", 0) + 1}
    before = counts(running)
    other.answer = lambda rows: (200, [1 - usual for _ in rows])
    assert json.loads(running.ask("/predict", record).body) == {"prediction": usual}
    assert until_counted(running, 3) == {**before, "differs": before.get("differs", 0) + 1}
    rows = re.findall(r'wherry_shadow_rows_total\{answer="(\w+)"\} (\d+)', running_metrics(running))
    assert {answer: int(count) for answer, count in rows} == {
        "same": before.get("same", 0),
        "other": before.get("differs", 0) + 1,
    }
    headers, body = other.asked[-1]
    assert headers["Accept"] == "application/vnd.wherry.native+json"
    assert len(body["rows"]) == 1
    assert set(body["columns"]) == set(record)


def test_a_copy_of_a_request_whose_header_is_known_is_the_same(service: Any, other: Other, linear_bundle: Path) -> None:
    running = service(linear_bundle, "--no-store", WHERRY_SERVE_SHADOW_URL=other.url, WHERRY_SERVE_SHADOW_SHARE="1")
    record = example(linear_bundle)
    address = urlsplit(running.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as sock:
        for asked in range(1, 4):
            sock.sendall(request("POST", "/predict", json.dumps(record).encode()))
            assert b"200 OK" in sock.recv(65536)
            assert sum(until_counted(running, asked).values()) == asked
    rows = [dict(zip(body["columns"], body["rows"][0], strict=True)) for _, body in other.asked]
    assert rows == [record] * 3


def test_every_way_in_is_copied_and_a_refusal_is_counted(
    start: Callable[..., Any], other: Other, breast_cancer_bundle: Path
) -> None:
    running = start()
    record = example(breast_cancer_bundle)
    other.answer = lambda rows: (422, [])
    assert running.ask("/invocations", {"dataframe_records": [record, record]}).status == 200
    assert until_counted(running, 1) == {"refused": 1}
    assert len(other.asked[0][1]["rows"]) == 2
    other.answer = lambda rows: (500, [])
    assert running.ask("/predict", record).status == 200
    assert until_counted(running, 2) == {"refused": 1, "failed": 1}


def test_the_token_of_the_request_goes_along(
    start: Callable[..., Any], other: Other, breast_cancer_bundle: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("a-token-of-some-length\n")
    running = start(WHERRY_SERVE_TOKEN_FILE=str(tokens))
    sent = {"Authorization": "Bearer a-token-of-some-length", "Cookie": "none-of-its-business"}
    assert running.ask("/predict", example(breast_cancer_bundle), headers=sent).status == 200
    until = time.monotonic() + 20
    while not other.asked and time.monotonic() < until:
        time.sleep(0.02)
    headers = {key.lower(): value for key, value in other.asked[0][0].items()}
    assert headers["authorization"] == "Bearer a-token-of-some-length"
    assert "cookie" not in headers


def test_a_shadow_that_hangs_holds_nobody_up_and_fills_no_memory(
    start: Callable[..., Any], other: Other, breast_cancer_bundle: Path
) -> None:
    other.may_answer.clear()
    running = start(WHERRY_SERVE_SHADOW_RATE="10000")
    record = example(breast_cancer_bundle)
    for _ in range(100):
        assert running.ask("/predict", record).status == 200
    assert len(other.asked) <= 1
    assert counts(running)["dropped"] >= 100 - 1 - 64


def test_no_more_copies_than_the_rate_allows(
    start: Callable[..., Any], other: Other, breast_cancer_bundle: Path
) -> None:
    running = start(WHERRY_SERVE_SHADOW_RATE="1")
    record = example(breast_cancer_bundle)
    began = time.monotonic()
    for _ in range(40):
        assert running.ask("/predict", record).status == 200
    most = 2 + (time.monotonic() - began)
    dropped = counts(running)["dropped"]
    assert 40 - most <= dropped < 40


def test_a_share_is_a_share(breast_cancer_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wherry.model.bundle import read_manifest
    from wherry.server.shadowing import Shadow as Copies

    made = Copies(Shadow(url="http://127.0.0.1:1", share=0.25), read_manifest(breast_cancer_bundle), Metrics())
    taken: list[Any] = []
    monkeypatch.setattr(made, "take", lambda *what: taken.append(what))

    class One:
        rows: tuple[Any, ...] = ()
        exchange = type("Exchange", (), {"headers": {}})()
        outputs = type("Outputs", (), {"predictions": []})()

    made.offer([One()] * 4000)
    assert 800 < len(taken) < 1200, "a thousand, give or take seven standard deviations"

    One.exchange.headers[b"x-wherry-no-store"] = b"1"
    made.offer([One()] * 4000)
    assert len(taken) < 1200, "a probe of wherry's own is no call"
    made.close()


def test_without_one_there_is_none(breast_cancer_bundle: Path, start: Callable[..., Any], other: Other) -> None:
    from wherry.model.bundle import read_manifest

    assert shadow_of(Project(), read_manifest(breast_cancer_bundle), Metrics()) is None
    running = start(WHERRY_SERVE_SHADOW_URL="")
    assert running.ask("/predict", example(breast_cancer_bundle)).status == 200
    assert counts(running) == {}
    assert other.asked == []
