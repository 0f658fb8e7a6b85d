"""The protobuf exposition: messages ``io.prometheus.client.MetricFamily``, each behind its length.

The messages are described here field by field after ``io/prometheus/client/metrics.proto``, for the protobuf
package to parse.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from agent.telemetry.openmetrics_model import BadExposition
from agent.telemetry.varint import MAX_VARINT_BYTES, read_varint, varint, zigzag

COUNTER, GAUGE, SUMMARY, UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM = range(6)
TYPES = ("counter", "gauge", "summary", "unknown", "histogram", "gaugehistogram")
_KINDS = {
    "double": 1,
    "int64": 3,
    "uint64": 4,
    "int32": 5,
    "string": 9,
    "uint32": 13,
    "sint32": 17,
    "sint64": 18,
}
# message: "name number type", a star behind the type where it is repeated.
_SCHEMA = {
    "LabelPair": "name 1 string, value 2 string",
    "Timestamp": "seconds 1 int64, nanos 2 int32",
    "Exemplar": "label 1 LabelPair*, value 2 double, timestamp 3 Timestamp",
    "Gauge": "value 1 double",
    "Counter": "value 1 double, exemplar 2 Exemplar",
    "Quantile": "quantile 1 double, value 2 double",
    "Summary": "sample_count 1 uint64, sample_sum 2 double, quantile 3 Quantile*",
    "Untyped": "value 1 double",
    "Bucket": "cumulative_count 1 uint64, upper_bound 2 double, exemplar 3 Exemplar, cumulative_count_float 4 double",
    "BucketSpan": "offset 1 sint32, length 2 uint32",
    "Histogram": (
        "sample_count 1 uint64, sample_sum 2 double, bucket 3 Bucket*, sample_count_float 4 double,"
        "schema 5 sint32, zero_threshold 6 double, zero_count 7 uint64, zero_count_float 8 double,"
        "negative_span 9 BucketSpan*, negative_delta 10 sint64*, negative_count 11 double*,"
        "positive_span 12 BucketSpan*, positive_delta 13 sint64*, positive_count 14 double*,"
        "exemplars 16 Exemplar*"
    ),
    "Metric": (
        "label 1 LabelPair*, gauge 2 Gauge, counter 3 Counter, summary 4 Summary, untyped 5 Untyped,"
        "timestamp_ms 6 int64, histogram 7 Histogram"
    ),
    "MetricFamily": "name 1 string, help 2 string, type 3 int32, metric 4 Metric*, unit 5 string",
}
GAUGE_HINT = 3  # CounterResetHint of a histogram that is no counter


@cache
def message(name: str) -> Any:
    """The class of a message."""
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="client", syntax="proto2")
    for title, fields in _SCHEMA.items():
        described = file.message_type.add(name=title)
        for text in fields.split(","):
            field, number, kind = text.split()
            repeated, kind = kind.endswith("*"), kind.rstrip("*")
            added = described.field.add(name=field, number=int(number), label=3 if repeated else 1)
            added.type = _KINDS.get(kind, 11)  # type: ignore[assignment]
            if kind not in _KINDS:
                added.type_name = f".client.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"client.{name}"))


def families(body: bytes) -> Iterator[Any]:
    """The families of an exposition. Raises ``BadExposition``, its line being the number of the family."""
    family, pos, count = message("MetricFamily"), 0, 0
    while pos < len(body):
        count += 1
        length, pos = _length(body, pos, count)
        if pos + length > len(body):
            raise BadExposition(count, "a metric family leads beyond the end of the body")
        try:
            found = family.FromString(body[pos : pos + length])
        except DecodeError:
            raise BadExposition(count, "the metric family is not valid protobuf") from None
        if not found.name or not 0 <= found.type < len(TYPES):
            raise BadExposition(count, "the metric family has no name, or a type that is not known")
        pos += length
        yield found


def _length(body: bytes, pos: int, count: int) -> tuple[int, int]:
    try:
        length, size = read_varint(body[pos : pos + MAX_VARINT_BYTES], 0)
    except IndexError:
        raise BadExposition(count, "the length of a metric family is cut off") from None
    return length, pos + size


def is_native(histogram: Any) -> bool:
    """As Prometheus tells it: an empty native histogram has a span without buckets, or a zero threshold."""
    return bool(
        histogram.positive_span
        or histogram.negative_span
        or histogram.zero_threshold > 0
        or histogram.zero_count > 0
        or histogram.zero_count_float > 0
    )


def histogram_field(histogram: Any, time_ms: int, is_gauge: bool) -> bytes:
    """The ``Histogram`` of remote write 1.0, as a field of its TimeSeries. Raises ``ValueError`` where spans
    and buckets do not fit together."""
    floating = histogram.sample_count_float > 0
    out = bytearray()
    if floating:
        out += b"\x11" + struct.pack("<d", histogram.sample_count_float)
    else:
        out += b"\x08" + varint(histogram.sample_count)
    out += b"\x19" + struct.pack("<d", histogram.sample_sum)
    out += b"\x20" + varint(zigzag(histogram.schema))
    out += b"\x29" + struct.pack("<d", histogram.zero_threshold)
    if floating:
        out += b"\x39" + struct.pack("<d", histogram.zero_count_float)
    else:
        out += b"\x30" + varint(histogram.zero_count)
    out += _side(histogram.negative_span, histogram.negative_delta, histogram.negative_count, 8, floating)
    out += _side(histogram.positive_span, histogram.positive_delta, histogram.positive_count, 11, floating)
    if is_gauge:
        out += b"\x70" + varint(GAUGE_HINT)
    out += b"\x78" + varint(time_ms)
    return b"\x22" + varint(len(out)) + bytes(out)


def _side(spans: Any, deltas: Any, counts: Any, first: int, floating: bool) -> bytes:
    """Spans and buckets; ``first`` is the number of the field of the spans."""
    buckets = counts if floating else deltas
    if sum(span.length for span in spans) != len(buckets):
        raise ValueError(
            f"a native histogram has spans for other buckets than the {len(buckets)} that it has"
        )
    out = bytearray()
    for span in spans:
        content = b"\x08" + varint(zigzag(span.offset)) + b"\x10" + varint(span.length)
        out += bytes((first << 3 | 2,)) + varint(len(content)) + content
    if buckets:
        tag = (first + (2 if floating else 1)) << 3 | 2
        if floating:
            packed = struct.pack(f"<{len(counts)}d", *counts)
        else:
            packed = b"".join(varint(zigzag(delta)) for delta in deltas)
        out += bytes((tag,)) + varint(len(packed)) + packed
    return bytes(out)
