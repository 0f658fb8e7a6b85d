"""The OTLP messages as tables: which fields a message has, and how each lies on the wire.

This is the schema that the validating kernel walks. The tests hold it against the descriptors of the
``opentelemetry-proto`` package, so that a new release with new fields is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agent.telemetry.batch import Signal
from agent.telemetry.frames import U8

# How a known field lies on the wire. COUNTED64 is PACKED64 whose numbers become rows of their own.
# From MESSAGE on: a message, number ``entry - MESSAGE`` of MESSAGES.
UNKNOWN, VARINT, FIXED64, BYTES, FIXED32, PACKED64, PACKED_VARINT, COUNTED64, MESSAGE = range(9)
MAX_FIELD = 31


@dataclass(frozen=True, slots=True)
class Message:
    """``fields`` maps a field number to a wire kind, or to the name of the message it holds."""

    full_name: str
    fields: Mapping[int, int | str]


_COMMON = "opentelemetry.proto.common.v1."
_TRACE = "opentelemetry.proto.trace.v1."
_LOGS = "opentelemetry.proto.logs.v1."
_METRICS = "opentelemetry.proto.metrics.v1."
_COLLECTOR = "opentelemetry.proto.collector."

_POINT = {2: FIXED64, 3: FIXED64, 4: FIXED64}

# KeyValue and AnyValue lead: the kernel knows them by number.
MESSAGES: Mapping[str, Message] = {
    "KeyValue": Message(_COMMON + "KeyValue", {1: BYTES, 2: "AnyValue", 3: VARINT}),
    "AnyValue": Message(
        _COMMON + "AnyValue",
        {1: BYTES, 2: VARINT, 3: VARINT, 4: FIXED64, 5: "ArrayValue", 6: "KeyValueList", 7: BYTES, 8: VARINT},
    ),
    "ArrayValue": Message(_COMMON + "ArrayValue", {1: "AnyValue"}),
    "KeyValueList": Message(_COMMON + "KeyValueList", {1: "KeyValue"}),
    "EntityRef": Message(_COMMON + "EntityRef", {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES}),
    "Resource": Message(
        "opentelemetry.proto.resource.v1.Resource", {1: "KeyValue", 2: VARINT, 3: "EntityRef"}
    ),
    "Scope": Message(_COMMON + "InstrumentationScope", {1: BYTES, 2: BYTES, 3: "KeyValue", 4: VARINT}),
    "TraceRequest": Message(_COLLECTOR + "trace.v1.ExportTraceServiceRequest", {1: "ResourceSpans"}),
    "ResourceSpans": Message(_TRACE + "ResourceSpans", {1: "Resource", 2: "ScopeSpans", 3: BYTES}),
    "ScopeSpans": Message(_TRACE + "ScopeSpans", {1: "Scope", 2: "Span", 3: BYTES}),
    "Span": Message(
        _TRACE + "Span",
        {1: BYTES, 2: BYTES, 3: BYTES, 4: BYTES, 5: BYTES, 6: VARINT, 7: FIXED64, 8: FIXED64, 9: "KeyValue",
         10: VARINT, 11: "Event", 12: VARINT, 13: "Link", 14: VARINT, 15: "Status", 16: FIXED32},
    ),
    "Event": Message(_TRACE + "Span.Event", {1: FIXED64, 2: BYTES, 3: "KeyValue", 4: VARINT}),
    "Link": Message(
        _TRACE + "Span.Link", {1: BYTES, 2: BYTES, 3: BYTES, 4: "KeyValue", 5: VARINT, 6: FIXED32}
    ),
    "Status": Message(_TRACE + "Status", {2: BYTES, 3: VARINT}),
    "LogsRequest": Message(_COLLECTOR + "logs.v1.ExportLogsServiceRequest", {1: "ResourceLogs"}),
    "ResourceLogs": Message(_LOGS + "ResourceLogs", {1: "Resource", 2: "ScopeLogs", 3: BYTES}),
    "ScopeLogs": Message(_LOGS + "ScopeLogs", {1: "Scope", 2: "LogRecord", 3: BYTES}),
    "LogRecord": Message(
        _LOGS + "LogRecord",
        {1: FIXED64, 2: VARINT, 3: BYTES, 5: "AnyValue", 6: "KeyValue", 7: VARINT, 8: FIXED32, 9: BYTES,
         10: BYTES, 11: FIXED64, 12: BYTES},
    ),
    "MetricsRequest": Message(_COLLECTOR + "metrics.v1.ExportMetricsServiceRequest", {1: "ResourceMetrics"}),
    "ResourceMetrics": Message(_METRICS + "ResourceMetrics", {1: "Resource", 2: "ScopeMetrics", 3: BYTES}),
    "ScopeMetrics": Message(_METRICS + "ScopeMetrics", {1: "Scope", 2: "Metric", 3: BYTES}),
    "Metric": Message(
        _METRICS + "Metric",
        {1: BYTES, 2: BYTES, 3: BYTES, 5: "Gauge", 7: "Sum", 9: "Histogram", 10: "ExponentialHistogram",
         11: "Summary", 12: "KeyValue"},
    ),
    "Gauge": Message(_METRICS + "Gauge", {1: "NumberDataPoint"}),
    "Sum": Message(_METRICS + "Sum", {1: "NumberDataPoint", 2: VARINT, 3: VARINT}),
    "Histogram": Message(_METRICS + "Histogram", {1: "HistogramDataPoint", 2: VARINT}),
    "ExponentialHistogram": Message(
        _METRICS + "ExponentialHistogram", {1: "ExponentialHistogramDataPoint", 2: VARINT}
    ),
    "Summary": Message(_METRICS + "Summary", {1: "SummaryDataPoint"}),
    "NumberDataPoint": Message(
        _METRICS + "NumberDataPoint", _POINT | {5: "Exemplar", 6: FIXED64, 7: "KeyValue", 8: VARINT}
    ),
    "HistogramDataPoint": Message(
        _METRICS + "HistogramDataPoint",
        _POINT | {5: FIXED64, 6: COUNTED64, 7: PACKED64, 8: "Exemplar", 9: "KeyValue", 10: VARINT,
                  11: FIXED64, 12: FIXED64},
    ),
    "ExponentialHistogramDataPoint": Message(
        _METRICS + "ExponentialHistogramDataPoint",
        _POINT | {1: "KeyValue", 5: FIXED64, 6: VARINT, 7: FIXED64, 8: "Buckets", 9: "Buckets", 10: VARINT,
                  11: "Exemplar", 12: FIXED64, 13: FIXED64, 14: FIXED64},
    ),
    "SummaryDataPoint": Message(
        _METRICS + "SummaryDataPoint",
        _POINT | {5: FIXED64, 6: "ValueAtQuantile", 7: "KeyValue", 8: VARINT},
    ),
    "Buckets": Message(
        _METRICS + "ExponentialHistogramDataPoint.Buckets", {1: VARINT, 2: PACKED_VARINT}
    ),
    "ValueAtQuantile": Message(
        _METRICS + "SummaryDataPoint.ValueAtQuantile", {1: FIXED64, 2: FIXED64}
    ),
    "Exemplar": Message(
        _METRICS + "Exemplar", {2: FIXED64, 3: FIXED64, 4: BYTES, 5: BYTES, 6: FIXED64, 7: "KeyValue"}
    ),
}  # fmt: skip

NUMBER: Mapping[str, int] = {name: number for number, name in enumerate(MESSAGES)}
ROOT: Mapping[Signal, str] = {
    Signal.SPANS: "TraceRequest",
    Signal.LOGS: "LogsRequest",
    Signal.METRICS: "MetricsRequest",
}


def _table() -> U8:
    table = np.zeros((len(MESSAGES), MAX_FIELD + 1), np.uint8)
    for name, message in MESSAGES.items():
        for field, kind in message.fields.items():
            table[NUMBER[name], field] = MESSAGE + NUMBER[kind] if isinstance(kind, str) else kind
    return table


SCHEMA: U8 = _table()
SCHEMA.setflags(write=False)


def field_name(message: int, field: int) -> str:
    """``Span field 9``, as errors name a place."""
    return f"{tuple(MESSAGES)[message]} field {field}"
