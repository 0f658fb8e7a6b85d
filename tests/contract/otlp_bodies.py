"""OTLP bodies as the OpenTelemetry SDK's own encoders make them, one a signal."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agent.telemetry.batch import Signal

RESOURCE = Resource({"service.name": "cart", "k8s.pod.name": "cart-0", "process.pid": 17})


def sdk_spans() -> bytes:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("shop", "1.2")
    with tracer.start_as_current_span("GET /cart", kind=trace.SpanKind.SERVER) as server:
        server.set_attributes({"http.route": "/cart", "ok": True, "sizes": [1, 2, 3], "ratio": 0.5})
        with tracer.start_as_current_span("SELECT", links=[trace.Link(server.get_span_context())]) as query:
            query.set_attribute("db.system.name", "postgresql")
            query.record_exception(ValueError("größer"))
            query.set_status(trace.StatusCode.ERROR, "gone")
    return encode_spans(exporter.get_finished_spans()).SerializeToString()


def sdk_logs() -> bytes:
    exporter = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = provider.get_logger("shop")
    for body in ("disk größer than 90 %", 7, {"a": [1, None, "x"]}, None, b"\0\xff", True):
        logger.emit(
            LogRecord(timestamp=1_700_000_000_000_000_001, severity_number=SeverityNumber.WARN, body=body)
        )
    logger.emit(
        LogRecord(observed_timestamp=5, trace_id=2**127 + 3, span_id=2**63 + 1, body="x", attributes={"k": 1})
    )
    return encode_logs(exporter.get_finished_logs()).SerializeToString()


def sdk_metrics() -> bytes:
    reader = InMemoryMetricReader()
    exponential = View(
        instrument_type=Histogram, instrument_name="exp", aggregation=ExponentialBucketHistogramAggregation()
    )
    provider = MeterProvider([reader], resource=RESOURCE, views=[exponential], shutdown_on_exit=False)
    meter = provider.get_meter("shop", "1.2")
    for route in ("/cart", "/pay"):
        meter.create_counter("requests", unit="1").add(3, {"route": route, "code": 200})
        meter.create_up_down_counter("open").add(-2, {"route": route})
        for value in (0.1, 7.0, 1e9):
            meter.create_histogram("latency", unit="ms").record(value, {"route": route})
            meter.create_histogram("exp").record(value, {"route": route, "ok": True})
    meter.create_gauge("temperature").set(21.25)
    data = reader.get_metrics_data()
    assert data is not None
    return encode_metrics(data).SerializeToString()


BODIES = {Signal.SPANS: sdk_spans(), Signal.LOGS: sdk_logs(), Signal.METRICS: sdk_metrics()}
