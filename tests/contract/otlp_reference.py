"""What a codec is compared with: the protobuf package's reading of the same bytes, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent.telemetry.batch import Batch, LogBatch, MetricBatch, Signal, SpanBatch
from agent.telemetry.otlp_attributes import point_labels
from agent.telemetry.otlp_logs import decode_logs
from agent.telemetry.otlp_metrics import decode_metrics
from agent.telemetry.otlp_spans import decode_spans

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Codec:
    """One signal: our decoder, the package's message, and the rows that each makes of a body."""

    signal: Signal
    decode: Callable[[bytes], Batch]
    request: type[Message]
    rows: Callable[[Any], list[Row]]
    expected: Callable[[Any], list[Row]]


def _text(batch: Batch, off: int, length: int) -> str:
    return batch.raw[off : off + length].tobytes().decode()


def _span_rows(b: SpanBatch) -> list[Row]:
    return [
        (
            int(b.block[i]), f"{b.trace_hi[i]:016x}{b.trace_lo[i]:016x}", f"{b.span_id[i]:016x}",
            f"{b.parent_id[i]:016x}", int(b.start_ns[i]), int(b.end_ns[i]), int(b.kind[i]), int(b.status[i]),
            _text(b, b.name_off[i], b.name_len[i]),
        )
        for i in range(len(b))
    ]  # fmt: skip


def _span_expected(request: Any) -> list[Row]:
    return [
        (
            block, s.trace_id.hex(), s.span_id.hex(), s.parent_span_id.hex() or "0" * 16,
            s.start_time_unix_nano, s.end_time_unix_nano, s.kind, s.status.code, s.name,
        )
        for block, spans in enumerate(request.resource_spans)
        for scope in spans.scope_spans
        for s in scope.spans
    ]  # fmt: skip


def _log_rows(b: LogBatch) -> list[Row]:
    return [
        (
            int(b.block[i]), int(b.time_ns[i]), f"{b.trace_hi[i]:016x}{b.trace_lo[i]:016x}",
            f"{b.span_id[i]:016x}", int(b.severity[i]), int(b.body_kind[i]),
            b.raw[b.body_off[i] : b.body_off[i] + b.body_len[i]].tobytes(),
        )
        for i in range(len(b))
    ]  # fmt: skip


def _log_expected(request: Any) -> list[Row]:
    return [
        (
            block, r.time_unix_nano or r.observed_time_unix_nano, r.trace_id.hex() or "0" * 32,
            r.span_id.hex() or "0" * 16, r.severity_number, *_body(r.body),
        )
        for block, logs in enumerate(request.resource_logs)
        for scope in logs.scope_logs
        for r in scope.log_records
    ]  # fmt: skip


def _body(value: Any) -> tuple[int, bytes]:
    kind = value.WhichOneof("value")
    number = value.DESCRIPTOR.fields_by_name[kind].number if kind else 0
    return number, value.string_value.encode() if number == 1 else value.SerializeToString()


def _metric_rows(b: MetricBatch) -> list[Row]:
    return [
        (
            int(b.block[i]), _text(b, b.name_off[i], b.name_len[i]), int(b.start_ns[i]), int(b.time_ns[i]),
            int(b.temporality[i]), bool(b.monotonic[i]), point_labels(b, i), int(b.component[i]), _value(b.value[i]),
        )
        for i in range(len(b))
    ]  # fmt: skip


def _value(value: float) -> float | str:
    return "NaN" if math.isnan(value) else float(value)


def _metric_expected(request: Any) -> list[Row]:
    rows: list[Row] = []
    for block, metrics in enumerate(request.resource_metrics):
        for metric in (m for scope in metrics.scope_metrics for m in scope.metrics):
            data = getattr(metric, metric.WhichOneof("data"))
            nature = getattr(data, "aggregation_temporality", 0), getattr(data, "is_monotonic", False)
            for point in data.data_points:
                times = point.start_time_unix_nano, point.time_unix_nano
                for labels, component, value in _samples(point):
                    rows.append((block, metric.name, *times, *nature, labels, component, _value(value)))
    return rows


def _samples(point: Any) -> Iterator[tuple[tuple[tuple[str, str], ...], int, float]]:
    labels = {kv.key: _label(kv.value) for kv in point.attributes}
    plain = tuple(sorted(labels.items()))
    if hasattr(point, "as_double"):
        yield plain, -1, getattr(point, point.WhichOneof("value"))
        return
    yield plain, 0, point.count
    if hasattr(point, "quantile_values") or point.HasField("sum"):
        yield plain, 1, point.sum
    if hasattr(point, "zero_count"):
        yield plain, 2, point.zero_count
    for i in range(len(getattr(point, "bucket_counts", ()))):
        bound = repr(point.explicit_bounds[i]) if i < len(point.explicit_bounds) else "+Inf"
        bucket = tuple(sorted({**labels, "le": bound}.items()))
        yield bucket, 2 + i, sum(point.bucket_counts[: i + 1])


def _label(value: Any) -> str:
    held = getattr(value, value.WhichOneof("value"))
    return str(held).lower() if isinstance(held, bool) else str(held)


CODECS = {
    codec.signal: codec
    for codec in (
        Codec(Signal.SPANS, decode_spans, ExportTraceServiceRequest, _span_rows, _span_expected),
        Codec(Signal.LOGS, decode_logs, ExportLogsServiceRequest, _log_rows, _log_expected),
        Codec(Signal.METRICS, decode_metrics, ExportMetricsServiceRequest, _metric_rows, _metric_expected),
    )
}


def _without_text_checks() -> descriptor_pool.DescriptorPool:
    """OTLP's descriptors with every text as bytes: the package refuses texts that are not UTF-8, which the
    kernels leave to whoever reads them, and nothing else is to hide behind that difference."""
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(file: Any) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        pending = list(proto.message_type)
        while pending:
            message = pending.pop()
            pending += message.nested_type
            for field in message.field:
                if field.type == descriptor_pb2.FieldDescriptorProto.TYPE_STRING:
                    field.type = descriptor_pb2.FieldDescriptorProto.TYPE_BYTES
        pool.Add(proto)

    for codec in CODECS.values():
        add(codec.request.DESCRIPTOR.file)
    return pool


_POOL = _without_text_checks()


def package_takes(codec: Codec, body: bytes) -> bool:
    """Whether the protobuf package finds ``body`` well formed, whatever its texts."""
    descriptor = _POOL.FindMessageTypeByName(codec.request.DESCRIPTOR.full_name)
    try:
        message_factory.GetMessageClass(descriptor).FromString(body)
    except DecodeError:
        return False
    return True
