"""Spans as OpenTelemetry's SDK makes them, sent as OTLP over HTTP: the only module that imports it."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from wherry import __version__
from wherry.contract.manifest import Manifest
from wherry.server.tracing import Seen

NANOSECONDS = 1_000_000_000


class Sdk:
    """A tracer whose spans wait in a bounded queue, and are sent by the SDK's own thread."""

    def __init__(self, manifest: Manifest, environ: Mapping[str, str]) -> None:
        known = environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
        own = {"service.name": manifest.name, "service.version": manifest.version}
        if environ.get("OTEL_SERVICE_NAME"):
            del own["service.name"]
        resource = Resource.create({key: value for key, value in own.items() if f"{key}=" not in known})
        # Not at exit: a collector that is away would hold the process up.
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
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
