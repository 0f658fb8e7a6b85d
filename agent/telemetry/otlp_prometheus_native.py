"""Exponential histograms of OTLP as native histograms of Prometheus: message to message.

Both have buckets whose bounds are powers of ``2 ** (2 ** -scale)``. OTLP's bucket ``i`` ends at
``base ** (i + 1)``, Prometheus' at ``base ** i``, so that indices move by one. Prometheus has the scales
-4 to 8: finer ones are merged by two, coarser ones are refused. What is written is the ``Histogram``
message of remote write (the same in ``prometheus.proto`` and ``io.prometheus.write.v2``), integer counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from agent.telemetry.batch import STALE_NAN_BITS
from agent.telemetry.otlp_attributes import double, message_fields
from agent.telemetry.varint import varint, zigzag

MIN_SCHEMA, MAX_SCHEMA = -4, 8
ZERO_THRESHOLD = 1e-128  # of a point that does not say its own, as Prometheus has it
MAX_GAP = 2  # so many empty buckets cost less than a new span

_F64, _U64 = struct.Struct("<d"), struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Exponential:
    """An exponential histogram with Prometheus' bucket indices. ``stale`` marks the end of the series."""

    schema: int
    count: int
    sum: float
    zero_count: int
    zero_threshold: float
    positive: Mapping[int, int] = field(default_factory=dict)
    negative: Mapping[int, int] = field(default_factory=dict)
    stale: bool = False


def read_point(message: bytes) -> Exponential | None:
    """An ExponentialHistogramDataPoint; None where its scale is coarser than Prometheus has any."""
    numbers = dict.fromkeys((4, 5, 6, 7, 10, 14), 0)
    buckets: dict[int, tuple[int, list[int]]] = {8: (0, []), 9: (0, [])}
    for number, content in message_fields(message):
        if number in numbers and isinstance(content, int):
            numbers[number] = content
        elif number in buckets and isinstance(content, bytes):
            buckets[number] = _buckets(content)
    scale = _unzigzag(numbers[6])
    if scale < MIN_SCHEMA:
        return None
    down = max(0, scale - MAX_SCHEMA)
    return Exponential(
        schema=scale - down,
        count=numbers[4],
        sum=double(numbers[5]),
        zero_count=numbers[7],
        zero_threshold=double(numbers[14]) or ZERO_THRESHOLD,
        positive=_sparse(*buckets[8], down),
        negative=_sparse(*buckets[9], down),
        stale=bool(numbers[10] & 1),
    )


def added(total: Exponential, delta: Exponential) -> Exponential:
    """The sum of two, in the coarser schema and with the wider zero bucket of them."""
    schema = min(total.schema, delta.schema)
    left, right = _coarser(total, schema), _coarser(delta, schema)
    return replace(
        left,
        count=left.count + right.count,
        sum=left.sum + right.sum,
        zero_count=left.zero_count + right.zero_count,
        zero_threshold=max(left.zero_threshold, right.zero_threshold),
        positive=_merged(left.positive, right.positive),
        negative=_merged(left.negative, right.negative),
    )


def encode(histogram: Exponential, time_ms: int) -> bytes:
    """The ``Histogram`` message."""
    count, total = histogram.count, _F64.pack(histogram.sum)
    if histogram.stale:
        count, total = STALE_NAN_BITS, _U64.pack(STALE_NAN_BITS)
    out = bytearray(b"\x08") + varint(count) + b"\x19" + total
    out += b"\x20" + varint(zigzag(histogram.schema))
    out += b"\x29" + _F64.pack(histogram.zero_threshold) + b"\x30" + varint(histogram.zero_count)
    for span_tag, delta_tag, buckets in ((0x42, 0x4A, histogram.negative), (0x5A, 0x62, histogram.positive)):
        spans, deltas = _layout(buckets)
        for gap, length in spans:
            span = b"\x08" + varint(zigzag(gap)) + b"\x10" + varint(length)
            out += bytes((span_tag,)) + varint(len(span)) + span
        packed = b"".join([varint(zigzag(delta)) for delta in deltas])
        if packed:
            out += bytes((delta_tag,)) + varint(len(packed)) + packed
    return bytes(out + b"\x78" + varint(time_ms))


def _layout(buckets: Mapping[int, int]) -> tuple[list[tuple[int, int]], list[int]]:
    """``(spans, deltas)``: spans as ``(gap before, length)``, the first gap being the first index."""
    spans: list[tuple[int, int]] = []
    deltas: list[int] = []
    end = previous = 0
    for index in sorted(buckets):
        gap = index - end
        if spans and gap <= MAX_GAP:
            for _ in range(gap):
                deltas.append(-previous)
                previous = 0
            spans[-1] = spans[-1][0], spans[-1][1] + gap + 1
        else:
            spans.append((gap, 1))
        deltas.append(buckets[index] - previous)
        end, previous = index + 1, buckets[index]
    return spans, deltas


def _buckets(message: bytes) -> tuple[int, list[int]]:
    offset, counts = 0, list[int]()
    for number, content in message_fields(message):
        if number == 1 and isinstance(content, int):
            offset = _unzigzag(content)
        elif number == 2:
            counts += [content] if isinstance(content, int) else _varints(content)
    return offset, counts


def _sparse(offset: int, counts: Iterable[int], down: int) -> dict[int, int]:
    if not down:
        return {index: count for index, count in enumerate(counts, offset + 1) if count}
    found: dict[int, int] = {}
    for index, count in enumerate(counts, offset):
        if count:
            place = (index >> down) + 1
            found[place] = found.get(place, 0) + count
    return found


def _coarser(histogram: Exponential, schema: int) -> Exponential:
    down = histogram.schema - schema
    if down == 0:
        return histogram
    positive, negative = (_merge_down(b, down) for b in (histogram.positive, histogram.negative))
    return replace(histogram, schema=schema, positive=positive, negative=negative)


def _merge_down(buckets: Mapping[int, int], down: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for index, count in buckets.items():
        place = ((index - 1) >> down) + 1
        found[place] = found.get(place, 0) + count
    return found


def _merged(left: Mapping[int, int], right: Mapping[int, int]) -> dict[int, int]:
    return {index: left.get(index, 0) + right.get(index, 0) for index in left.keys() | right.keys()}


def _varints(packed: bytes) -> list[int]:
    if packed.isascii():  # every number is one byte
        return list(packed)
    found, value, shift = list[int](), 0, 0
    for byte in packed:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(value)
            value = shift = 0
    return found


def _unzigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
