"""Spans and metrics as OpenTelemetry's SDK makes them, sent as OTLP over HTTP: the only module that imports it."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TypeAlias

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from wherry import __version__
from wherry.contract.exposition import Family, families
from wherry.server.collector import Collector
from wherry.server.tracing import Seen

NANOSECONDS = 1_000_000_000
Data: TypeAlias = Gauge | Histogram | Sum


class Spans:
    """A tracer whose spans wait in a bounded queue, and are sent by the SDK's own thread."""

    def __init__(self, collector: Collector) -> None:
        # Not at exit: a collector that is away would hold the process up.
        self.provider = TracerProvider(resource=Resource.create(collector.resource()), shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(collector.endpoint("traces"))))
        self.tracer = self.provider.get_tracer("wherry", __version__)
        self.propagator = TraceContextTextMapPropagator()

    def record(self, seen: Seen) -> None:
        parent, state = seen.context
        context = self.propagator.extract({"traceparent": parent, "tracestate": state}) if parent else None
        attributes: dict[str, str | int | float] = {
            "http.request.method": seen.method,
            "url.path": seen.path,
            "http.response.status_code": seen.status,
            "wherry.door": seen.door,
            "wherry.request_id": seen.request_id,
        }
        if seen.scored is not None:
            attributes |= {
                "wherry.rows": seen.scored.rows,
                "wherry.batch.rows": seen.scored.batch,
                "wherry.model.seconds": seen.scored.seconds,
            }
        # A path that is not there is whatever somebody typed: no name of a span.
        name = seen.method if seen.status == 404 else f"{seen.method} {seen.path}"
        start = seen.end - int(NANOSECONDS * seen.seconds)
        span = self.tracer.start_span(name, context, SpanKind.SERVER, attributes, start_time=start)
        if seen.status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(seen.end)

    def close(self) -> None:
        """Send what is left."""
        self.provider.shutdown()


class Points:
    """Sends the text of /metrics as data points, each of which says all since `begun` (nanoseconds since 1970)."""

    def __init__(self, collector: Collector, begun: int) -> None:
        self.begun = begun
        self.resource = Resource.create(collector.resource())
        self.exporter = OTLPMetricExporter(collector.endpoint("metrics"))

    def send(self, text: str) -> None:
        now, scope = time.time_ns(), InstrumentationScope("wherry", __version__)
        # Not through instruments: none takes a histogram that was counted elsewhere.
        metrics = [Metric(each.name, each.help, "", self.data(each, now)) for each in families(text) if each.samples]
        held = ScopeMetrics(scope, metrics, "")
        self.exporter.export(MetricsData([ResourceMetrics(self.resource, [held], "")]))

    def data(self, family: Family, now: int) -> Data:
        if family.kind == "histogram":
            return Histogram(self.histograms(family, now), AggregationTemporality.CUMULATIVE)
        points = [NumberDataPoint(labels, self.begun, now, value) for _, labels, value in family.samples]
        if family.kind == "gauge":
            return Gauge(points)
        return Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)

    def histograms(self, family: Family, now: int) -> list[HistogramDataPoint]:
        made: list[HistogramDataPoint] = []
        bounds: list[float] = []
        upto = [0]
        total = 0.0
        for name, labels, value in family.samples:  # of each its buckets, its sum, its count
            if name.endswith("_bucket"):
                bounds.append(float(labels["le"]))
                upto.append(int(value))
            elif name.endswith("_sum"):
                total = value
            else:
                counts = [high - low for low, high in pairwise(upto)]
                unknown: float = None  # type: ignore[assignment]  # the highest and the lowest, which the wire may lack
                made.append(
                    HistogramDataPoint(
                        labels, self.begun, now, int(value), total, counts, bounds[:-1], unknown, unknown
                    )
                )
                bounds, upto = [], [0]
        return made

    def close(self) -> None:
        self.exporter.shutdown()
