"""Spans as a collector gets them: by OTLP over HTTP from a real service with the real SDK."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import until

from wherry.server import tracing
from wherry.server.tracing import MOST, Seen, Traces, traces, wanted

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes what is sent to /v1/traces."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.resources: list[dict[str, str]] = []
        taken = self

        class Site(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                    taken.resources.append(attributes(group.resource))
                    for scope in group.scope_spans:
                        taken.spans.extend(scope.spans)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


def attributes(of: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in of.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.sdk", reason="needs wherry[otel]")
    found = Collector()
    yield found
    found.server.shutdown()
    found.server.server_close()


def loaded(pid: int) -> bool:
    """Whether a process has what OpenTelemetry needs: protobuf, which nothing else here does."""
    return "google/_upb" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_span_says_how_a_request_was_answered(
    service: Callable[..., Any], linear_bundle: Path, collector: Collector, workers: str
) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    running = service(linear_bundle, "--no-store", "--workers", workers, **environ)
    example = json.loads((linear_bundle / "example.json").read_text())
    before = time.time_ns()
    sent = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1", "X-Request-Id": "mine"}
    assert running.ask("/predict", example, headers=sent).status == 200
    assert running.ask("/v1/models/iris:predict", {"instances": [example] * 3}).status == 200
    assert running.ask("/predict", b"a,b\n1,2\n", headers={"Content-Type": "text/csv"}).status == 422
    assert running.ask("/whatever?secret=1").status == 404
    names = ("POST /predict", "POST /predict", "POST /v1/models/iris:predict", "GET")  # each worker in its time
    until(lambda: all(len(collector.named(name)) >= names.count(name) for name in names), seconds=20)
    (traced,) = [span for span in collector.named("POST /predict") if span.trace_id.hex() == TRACE]
    said = attributes(traced)
    assert traced.parent_span_id.hex() == PARENT
    assert traced.trace_state == "vendor=1"
    assert traced.kind == 2, "a server's"
    assert before <= traced.start_time_unix_nano < traced.end_time_unix_nano <= time.time_ns()
    assert said["http.response.status_code"] == 200
    assert said["wherry.door"] == "native"
    assert said["wherry.request_id"] == "mine"
    assert said["wherry.rows"] == said["wherry.batch.rows"] == 1
    took = (traced.end_time_unix_nano - traced.start_time_unix_nano) / 1e9
    assert 0 < said["wherry.model.seconds"] <= took + 0.001
    (many,) = collector.named("POST /v1/models/iris:predict")
    assert attributes(many)["wherry.door"] == "kserve"
    assert attributes(many)["wherry.batch.rows"] == 3
    (refused,) = [span for span in collector.named("POST /predict") if span.trace_id.hex() != TRACE]
    assert attributes(refused)["http.response.status_code"] == 422
    assert attributes(refused)["wherry.door"] == "native", "as it is counted: it was refused before the door"
    assert not [span for span in collector.spans if "secret" in str(span)]
    assert collector.resources[0]["service.name"] == "iris"
    assert collector.resources[0]["deployment.environment"] == "test"
    assert running.stop() == 0


def test_the_last_spans_are_sent_at_the_end(
    service: Callable[..., Any], linear_bundle: Path, collector: Collector
) -> None:
    running = service(
        linear_bundle,
        "--no-store",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{collector.url}/v1/traces",
        OTEL_BSP_SCHEDULE_DELAY="600000",
    )
    example = json.loads((linear_bundle / "example.json").read_text())
    for _ in range(20):
        assert running.ask("/predict", example).status == 200
    assert collector.named("POST /predict") == []
    assert running.stop() == 0
    assert len(collector.named("POST /predict")) == 20


def test_a_collector_that_is_away_fails_no_request_and_keeps_nobody(
    service: Callable[..., Any], linear_bundle: Path, free_ports: Callable[[int], list[int]]
) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="needs wherry[otel]")
    (port,) = free_ports(1)
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    running = service(linear_bundle, "--no-store", **away)
    example = json.loads((linear_bundle / "example.json").read_text())
    assert [running.ask("/predict", example).status for _ in range(50)] == [200] * 50
    assert running.stop() == 0


def test_nothing_of_it_is_loaded_where_nobody_asked(
    service: Callable[..., Any], linear_bundle: Path, collector: Collector
) -> None:
    off = service(linear_bundle, "--no-store", OTEL_SERVICE_NAME="iris")
    assert off.ask("/health").status == 200
    assert not loaded(off.process.pid)
    switched = service(linear_bundle, "--no-store", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_SDK_DISABLED="true")
    assert not loaded(switched.process.pid)
    on = service(linear_bundle, "--no-store", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert loaded(on.process.pid), "it would be seen"


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_when_spans_are_sent(environ: dict[str, str], asked: bool) -> None:
    assert wanted(environ) is asked


ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def test_what_cannot_be_had_is_told_and_the_service_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    manifest: Any = None  # nothing asks for it
    assert traces(manifest, told.append, {**ON, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}) is None
    monkeypatch.setitem(sys.modules, "wherry.server.otlp", None)
    assert traces(manifest, told.append, ON) is None
    assert ["grpc" in told[0].text, "wherry[otel]" in told[1].hint] == [True, True]


class Blocked:
    """An exporter that does nothing until it may."""

    def __init__(self) -> None:
        self.may, self.got = threading.Event(), 0

    def record(self, seen: Seen) -> None:
        self.may.wait(10)
        self.got += 1

    def close(self) -> None: ...


class Request:
    """As much of an exchange as is asked for."""

    method, url, headers = b"POST", b"/predict?a=1", {b"traceparent": b"x"}  # never changed


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "EVERY", 0.01)
    exporter, told = Blocked(), []
    found = Traces(lambda: exporter, told.append)
    request: Any = Request()
    for _ in range(MOST + 100):
        found.note(request, "i", 200, 0.001, "native")
    assert MOST <= len(found.waiting) + 1 <= MOST + 1
    assert found.lost >= 99
    exporter.may.set()
    until(lambda: exporter.got + found.lost == MOST + 100)
    until(lambda: bool(told))
    found.close()
    assert "left no span" in told[0].text


def test_a_variable_that_cannot_be_read_costs_the_spans_alone() -> None:
    told: list[Any] = []

    def wrong() -> Any:
        raise ValueError("OTEL_BSP_MAX_QUEUE_SIZE is no number")

    found = Traces(wrong, told.append)
    until(lambda: bool(told))
    request: Any = Request()
    found.note(request, "i", 200, 0.001, "native")
    assert not found.waiting
    assert "OTEL_BSP_MAX_QUEUE_SIZE" in told[0].text
    found.close()
