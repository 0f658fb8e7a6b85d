"""Recorded Nezha days as OTLP requests in event time, for the front door.

The same data as ``Recording.telemetry`` gives: a span is sent when it has ended, a line and a
sample at their time. Each chunk holds what happened in one step of event time, one request a signal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import ResourceLogs
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from agent.telemetry.frames import I64
from agent.telemetry.nezha import NS, UNITS, Recording
from agent.telemetry.source import Source


class Signal(StrEnum):
    TRACES = "traces"
    METRICS = "metrics"
    LOGS = "logs"


@dataclass(frozen=True, slots=True)
class Chunk:
    """One Export*ServiceRequest, serialized; all in it happened before ``event_time_ns``."""

    event_time_ns: int
    signal: Signal
    body: bytes
    records: int


def chunks(
    day: Recording, start_ns: int | None = None, end_ns: int | None = None, step_s: float = 2.0
) -> Iterator[Chunk]:
    """All that became known in ``[start_ns, end_ns)`` (``None``: from the first, to the last record),
    in order of event time, cut into steps of ``step_s``."""
    start = day.start_ns if start_ns is None else start_ns
    end = day.end_ns if end_ns is None else end_ns
    step = max(int(step_s * NS), 1)
    metric_order = np.argsort(day.metrics.time_ns, kind="stable")
    known = (day.spans.end_ns, day.logs.time_ns, day.metrics.time_ns[metric_order])
    # Only steps in which something happened: a recorded day is mostly silence.
    times = np.concatenate([t[(t >= start) & (t < end)] for t in known])
    for index in np.unique((times - start) // step).tolist():
        begin = start + index * step
        until = min(begin + step, end)
        spans, lines, samples = (
            np.arange(*np.searchsorted(t, [begin, until]), dtype=np.int64) for t in known
        )
        if len(spans):
            yield Chunk(until, Signal.TRACES, _traces(day, spans), len(spans))
        if len(lines):
            yield Chunk(until, Signal.LOGS, _logs(day, lines), len(lines))
        if len(samples):
            yield Chunk(until, Signal.METRICS, _metrics(day, metric_order[samples]), len(samples))


def resource_of(source: Source) -> Resource:
    attributes = {
        "service.name": source.service,
        "service.instance.id": source.instance,
        "k8s.pod.name": source.instance,
    }
    return Resource(
        attributes=[KeyValue(key=k, value=AnyValue(string_value=v)) for k, v in attributes.items()]
    )


def _traces(day: Recording, rows: I64) -> bytes:
    frame = day.spans
    request = ExportTraceServiceRequest()
    groups: dict[int, ResourceSpans] = {}
    for row in rows.tolist():
        source = int(frame.source[row])
        if source not in groups:
            groups[source] = request.resource_spans.add(resource=resource_of(frame.sources[source]))
            groups[source].scope_spans.add().scope.name = "nezha"
        parent = int(frame.parent_id[row])
        groups[source].scope_spans[0].spans.add(
            trace_id=_trace_id(frame.trace_hi[row], frame.trace_lo[row]),
            span_id=int(frame.span_id[row]).to_bytes(8, "big"),
            parent_span_id=parent.to_bytes(8, "big") if parent else b"",
            name=frame.names[frame.name[row]],
            kind=int(frame.kind[row]),
            start_time_unix_nano=int(frame.start_ns[row]),
            end_time_unix_nano=int(frame.end_ns[row]),
        )
    return request.SerializeToString()


def _logs(day: Recording, rows: I64) -> bytes:
    frame = day.logs
    request = ExportLogsServiceRequest()
    groups: dict[int, ResourceLogs] = {}
    for row in rows.tolist():
        source = int(frame.source[row])
        if source not in groups:
            groups[source] = request.resource_logs.add(resource=resource_of(frame.sources[source]))
            groups[source].scope_logs.add().scope.name = "nezha"
        time_ns = int(frame.time_ns[row])
        groups[source].scope_logs[0].log_records.add(
            time_unix_nano=time_ns,
            observed_time_unix_nano=time_ns,
            severity_number=int(frame.severity[row]),
            body=AnyValue(string_value=day.bodies[row]),
            trace_id=_trace_id(frame.trace_hi[row], frame.trace_lo[row]),
            span_id=int(frame.span_id[row]).to_bytes(8, "big") if frame.span_id[row] else b"",
        )
    return request.SerializeToString()


def _metrics(day: Recording, rows: I64) -> bytes:
    frame = day.metrics
    request = ExportMetricsServiceRequest()
    groups: dict[Source, ResourceMetrics] = {}
    metrics: dict[tuple[Source, str], Metric] = {}
    of_series = np.searchsorted(frame.offsets, rows, "right") - 1
    for row, index in zip(rows.tolist(), of_series.tolist(), strict=True):
        series = frame.series[index]
        if series.source not in groups:
            groups[series.source] = request.resource_metrics.add(resource=resource_of(series.source))
            groups[series.source].scope_metrics.add().scope.name = "nezha"
        key = (series.source, series.name)
        if key not in metrics:
            metrics[key] = (
                groups[series.source]
                .scope_metrics[0]
                .metrics.add(name=series.name, unit=UNITS.get(series.name, ""))
            )
        point = metrics[key].gauge.data_points.add(
            time_unix_nano=int(frame.time_ns[row]), as_double=float(frame.value[row])
        )
        for name, value in series.labels:
            point.attributes.add(key=name, value=AnyValue(string_value=value))
    return request.SerializeToString()


def _trace_id(high: np.uint64, low: np.uint64) -> bytes:
    return int(high).to_bytes(8, "big") + int(low).to_bytes(8, "big") if high or low else b""
