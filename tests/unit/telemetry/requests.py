"""OTLP requests for tests, made with the protobuf package; the fields given override sound defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TRACE_ID, SPAN_ID = bytes(range(1, 17)), bytes(range(1, 9))
NOW_NS = 1_700_000_000_000_000_000


def attribute(key: str, value: object) -> KeyValue:
    kind = {
        str: "string_value",
        bool: "bool_value",
        int: "int_value",
        float: "double_value",
        bytes: "bytes_value",
    }
    return KeyValue(key=key, value=AnyValue(**{kind[type(value)]: value}))  # type: ignore[arg-type]


def attributes(values: Mapping[str, object]) -> list[KeyValue]:
    return [attribute(key, value) for key, value in values.items()]


def span(**fields: Any) -> Span:
    defaults = {
        "trace_id": TRACE_ID, "span_id": SPAN_ID, "name": "GET /",
        "start_time_unix_nano": NOW_NS, "end_time_unix_nano": NOW_NS + 5,
    }  # fmt: skip
    return Span(**{**defaults, **fields})


def log_record(**fields: Any) -> LogRecord:
    return LogRecord(**{"time_unix_nano": NOW_NS, "body": AnyValue(string_value="hello"), **fields})


def number(**fields: Any) -> NumberDataPoint:
    value = {} if "as_int" in fields else {"as_double": 1.5}
    return NumberDataPoint(**{"time_unix_nano": NOW_NS, **value, **fields})


def gauge(*points: NumberDataPoint, **fields: Any) -> Metric:
    metric = Metric(**{"name": "temperature", **fields})
    metric.gauge.data_points.extend(points)
    return metric


def counter(*points: NumberDataPoint, temporality: int = 2, monotonic: bool = True, **fields: Any) -> Metric:
    metric = Metric(**{"name": "requests", **fields})
    metric.sum.data_points.extend(points)
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.sum.is_monotonic = monotonic
    return metric


def histogram(**fields: Any) -> Metric:
    defaults = {
        "time_unix_nano": NOW_NS, "count": 6, "sum": 12.5,
        "bucket_counts": [1, 2, 3], "explicit_bounds": [0.1, 5.0],
    }  # fmt: skip
    metric = Metric(name="latency")
    metric.histogram.data_points.append(HistogramDataPoint(**{**defaults, **fields}))
    metric.histogram.aggregation_temporality = 2  # type: ignore[assignment]
    return metric


def exp_histogram(**fields: Any) -> Metric:
    defaults = {"time_unix_nano": NOW_NS, "count": 6, "sum": 12.5, "zero_count": 2, "scale": -3}
    metric = Metric(name="sizes")
    point = ExponentialHistogramDataPoint(**{**defaults, **fields})
    point.positive.offset = -4
    point.positive.bucket_counts.extend([1, 300, 70_000])
    metric.exponential_histogram.data_points.append(point)
    return metric


def summary(quantiles: Mapping[float, float], **fields: Any) -> Metric:
    metric = Metric(name="pauses")
    point = SummaryDataPoint(**{"time_unix_nano": NOW_NS, "count": 6, "sum": 12.5, **fields})
    for quantile, value in quantiles.items():
        point.quantile_values.add(quantile=quantile, value=value)
    metric.summary.data_points.append(point)
    return metric


def resource(service: str) -> Resource:
    return Resource(attributes=[attribute("service.name", service)])


def trace_body(*blocks: list[Span]) -> bytes:
    """One ResourceSpans a list; the services are called svc-0, svc-1, ..."""
    request = ExportTraceServiceRequest()
    for i, spans in enumerate(blocks):
        block = request.resource_spans.add(resource=resource(f"svc-{i}"))
        block.scope_spans.add().spans.extend(spans)
    return request.SerializeToString()


def logs_body(*blocks: list[LogRecord]) -> bytes:
    request = ExportLogsServiceRequest()
    for i, records in enumerate(blocks):
        block = request.resource_logs.add(resource=resource(f"svc-{i}"))
        block.scope_logs.add().log_records.extend(records)
    return request.SerializeToString()


def metrics_body(*blocks: list[Metric], scope: str = "") -> bytes:
    request = ExportMetricsServiceRequest()
    for i, metrics in enumerate(blocks):
        block = request.resource_metrics.add(resource=resource(f"svc-{i}"))
        scoped = block.scope_metrics.add()
        scoped.scope.name = scope
        scoped.metrics.extend(metrics)
    return request.SerializeToString()
