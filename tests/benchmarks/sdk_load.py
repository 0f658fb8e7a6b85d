"""Senders on the OpenTelemetry SDK's own data model and OTLP/HTTP exporters: one call, one batch."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.metrics.export import (
    Gauge,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.util.types import AnyValue

RESOURCE = Resource({"service.name": "bench", "service.instance.id": "bench-1"})
SCOPE = InstrumentationScope("bench")
NS = 1_000_000_000


def span_sender(endpoint: str, count: int) -> Callable[[int], None]:
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
    attributes: dict[str, AnyValue] = {
        "http.request.method": "GET",
        "http.route": "/products/{id}",
        "http.response.status_code": 200,
    }

    def export(tick: int) -> None:
        now_ns = time.time_ns()
        batch = [
            ReadableSpan(
                name=f"GET /products {tick}",
                context=SpanContext(random.getrandbits(128) | 1, random.getrandbits(64) | 1, False, TraceFlags(1)),
                resource=RESOURCE, instrumentation_scope=SCOPE, attributes=attributes, kind=SpanKind.SERVER,
                start_time=now_ns - 20_000_000, end_time=now_ns,
            )
            for _ in range(count)
        ]  # fmt: skip
        _check(exporter.export(batch).name)

    return export


def log_sender(endpoint: str, count: int) -> Callable[[int], None]:
    exporter = OTLPLogExporter(endpoint=f"{endpoint}/v1/logs")

    def export(tick: int) -> None:
        now_ns = time.time_ns()
        batch = [
            ReadableLogRecord(
                log_record=LogRecord(
                    timestamp=now_ns + i, observed_timestamp=now_ns + i, severity_number=SeverityNumber.INFO,
                    severity_text="INFO", body=f"order {i} of customer {i * 7} accepted in tick {tick}", attributes={"code": i % 5},
                ),
                resource=RESOURCE, instrumentation_scope=SCOPE,
            )
            for i in range(count)
        ]  # fmt: skip
        _check(exporter.export(batch).name)

    return export


def sample_sender(endpoint: str, count: int) -> Callable[[int], None]:
    exporter = OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics")
    labels = [{"series": str(i)} for i in range(count)]

    def export(tick: int) -> None:
        now_ns = time.time_ns()
        points = [NumberDataPoint(label, now_ns - NS, now_ns, tick) for label in labels]
        metric = Metric("bench.queue.depth", "", "1", Gauge(points))
        scopes = [ScopeMetrics(SCOPE, [metric], "")]
        _check(exporter.export(MetricsData([ResourceMetrics(RESOURCE, scopes, "")])).name)

    return export


def _check(result: str) -> None:
    if result != "SUCCESS":
        raise RuntimeError(f"the exporter reports {result}")
