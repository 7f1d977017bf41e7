"""Spans and metrics as a collector gets them: by OTLP over HTTP from a real service with the real SDK."""

from __future__ import annotations

import dataclasses
import http.server
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import until
from store_parts import family

from wherry.contract.exposition import Sample, families, samples
from wherry.server import collector as collecting
from wherry.server.metering import meter
from wherry.server.tracing import MOST, Seen, Traces, traces

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes what is sent to /v1/traces and /v1/metrics."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.readings: list[Any] = []  # of metrics, each with the resource it comes from
        self.resources: list[dict[str, str]] = []
        taken = self

        class Site(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
                from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/metrics":
                    taken.readings.extend(ExportMetricsServiceRequest.FromString(body).resource_metrics)
                else:
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

    def metrics(self) -> dict[str, Any]:
        """The newest reading, by name; empty before the first."""
        held = self.readings[-1].scope_metrics if self.readings else ()
        return {metric.name: metric for scope in held for metric in scope.metrics}

    def answered(self) -> int:
        """Predictions that the newest reading counts."""
        found = self.metrics().get("wherry_requests_total")
        points = found.sum.data_points if found else ()
        return int(sum(point.as_double for point in points if attributes(point)["door"] == "native"))


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


def told(metrics: dict[str, Any]) -> list[Sample]:
    """What a reading says, as /metrics would."""
    found: list[Sample] = []
    for name, metric in metrics.items():
        for point in metric.histogram.data_points:
            upto, labels = 0, attributes(point)
            for bound, count in zip([*point.explicit_bounds, float("inf")], point.bucket_counts, strict=True):
                upto += count
                found.append(Sample(f"{name}_bucket", {**labels, "le": f"{bound:g}".replace("inf", "+Inf")}, upto))
            found += [Sample(f"{name}_sum", labels, point.sum), Sample(f"{name}_count", labels, point.count)]
        points = (*metric.sum.data_points, *metric.gauge.data_points)
        found += [Sample(name, attributes(point), point.as_double) for point in points]
    return found


@pytest.mark.parametrize("workers", ["1", "2"])
def test_metrics_are_sent_as_they_are_shown(
    service: Callable[..., Any], linear_bundle: Path, collector: Collector, workers: str
) -> None:
    """By one exporter, over all workers and their successors."""
    environ = {"OTEL_METRIC_EXPORT_INTERVAL": "100", "WHERRY_SERVE_COLLECTOR": collector.url}
    running = service(linear_bundle, "--no-store", "--workers", workers, **environ)
    example = json.loads((linear_bundle / "example.json").read_text())
    for _ in range(20):
        assert running.ask("/predict", example).status == 200
    until(lambda: collector.answered() == 20, seconds=20)
    admin = dataclasses.replace(running, url=running.admin_url)
    shown, sent = admin.ask("/metrics").body.decode(), collector.metrics()
    passing = ("wherry_connections", "wherry_requests_in_flight")  # may differ between two moments

    def lasting(found: Any) -> list[Sample]:
        return sorted((one for one in found if not one.name.startswith(passing)), key=str)

    assert [one.name for one in families(shown) if one.samples] == list(sent)
    assert lasting(told(sent)) == lasting(samples(shown))
    first = collector.readings[0]
    assert attributes(first.resource)["service.name"] == "iris"
    counted = sent["wherry_requests_total"].sum
    assert counted.is_monotonic and counted.aggregation_temporality == 2, "cumulative"
    if workers == "2":
        for pid in family(running.process.pid)[1:]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: b'wherry_workers_replaced_total{cause="died"} 2' in admin.ask("/metrics").body, seconds=20)
        until(lambda: admin.ask("/readyz").status == 200, seconds=20)
        assert running.ask("/predict", example).status == 200
        until(lambda: collector.answered() == 21, seconds=20)
        begun = {point.start_time_unix_nano for point in collector.metrics()["wherry_requests_total"].sum.data_points}
        assert begun == {point.start_time_unix_nano for point in counted.data_points}, "nobody takes it for a restart"
    assert {str(reading.resource) for reading in collector.readings} == {str(first.resource)}
    assert running.stop() == 0


def test_metrics_alone_can_be_switched_off(
    service: Callable[..., Any], linear_bundle: Path, collector: Collector
) -> None:
    """And the last ones are sent at the end: the control sends them."""
    environ = {"OTEL_METRIC_EXPORT_INTERVAL": "600000", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    for exporter, readings in (("none", 0), ("otlp", 1)):
        running = service(linear_bundle, "--no-store", OTEL_METRICS_EXPORTER=exporter, **environ)
        assert running.ask("/predict", json.loads((linear_bundle / "example.json").read_text())).status == 200
        assert running.stop() == 0
        assert len(collector.readings) == readings
    assert collector.answered() == 1
    assert len(collector.named("POST /predict")) == 2


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
    off = service(linear_bundle, "--no-store", fresh=True, OTEL_SERVICE_NAME="iris")
    assert off.ask("/health").status == 200
    assert not loaded(off.process.pid)
    disabled = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SDK_DISABLED": "true"}
    switched = service(linear_bundle, "--no-store", fresh=True, **disabled)
    assert not loaded(switched.process.pid)
    on = service(linear_bundle, "--no-store", fresh=True, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert loaded(on.process.pid), "it would be seen"


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, ""),
        ({"OTEL_SERVICE_NAME": "x"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "traces metrics"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, "traces"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"}, "metrics"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, "metrics"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_METRICS_EXPORTER": "none"}, "traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, ""),
    ],
)
def test_what_is_sent(environ: dict[str, str], asked: str) -> None:
    found = collecting.Collector(NOBODY, environ=environ)
    assert [each for each in SIGNALS if found.wants(each)] == asked.split()


NOBODY: Any = None  # a manifest that nothing asks for
SIGNALS: tuple[collecting.Signal, ...] = ("traces", "metrics")
ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def test_the_settings_name_a_collector_and_the_variables_another() -> None:
    named = collecting.Collector(NOBODY, "http://settings:4318", environ={})
    assert [named.wants(each) for each in SIGNALS] == [True, True]
    assert named.endpoint("metrics") == "http://settings:4318/v1/metrics"
    said = collecting.Collector(NOBODY, "http://settings:4318", environ=ON)
    assert said.endpoint("traces") == "http://127.0.0.1:9/v1/traces"


def test_what_cannot_be_had_is_told_and_the_service_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    grpc = collecting.Collector(NOBODY, environ={**ON, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert traces(grpc, told.append) is None
    often = collecting.Collector(NOBODY, environ={**ON, "OTEL_METRIC_EXPORT_INTERVAL": "often"})
    assert meter(often, str, 0, told.append) is None
    monkeypatch.setitem(sys.modules, "wherry.server.otlp", None)
    monkeypatch.delattr("wherry.server.otlp", raising=False)
    assert traces(collecting.Collector(NOBODY, environ=ON), told.append) is None
    assert ["grpc" in told[0].text, "often" in told[1].text, "wherry[otel]" in told[2].hint] == [True] * 3


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


def test_what_waits_is_bounded() -> None:
    exporter, told = Blocked(), []
    found = Traces(lambda: exporter, told.append, every=0.01)
    request: Any = Request()
    for _ in range(MOST + 100):
        found.note(request, "i", 200, 0.001, "native")
    assert MOST <= len(found.waiting) + 1 <= MOST + 1
    assert found.lost >= 99
    exporter.may.set()
    until(lambda: exporter.got + found.lost == MOST + 100)
    until(lambda: bool(told))
    collecting.finish(found)
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
    collecting.finish(found)
