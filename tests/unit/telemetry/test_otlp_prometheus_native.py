from __future__ import annotations

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import ExponentialHistogramDataPoint

from agent.telemetry.batch import STALE_NAN_BITS
from agent.telemetry.otlp_attributes import content_of, double, message_fields
from agent.telemetry.otlp_prometheus_native import Exponential, added, encode, read_point


def point(scale: int, offset: int, counts: list[int], **more: float) -> bytes:
    built = ExponentialHistogramDataPoint(count=sum(counts), sum=1.0, scale=scale, **more)  # type: ignore[arg-type]
    built.positive.offset = offset
    built.positive.bucket_counts.extend(counts)
    return built.SerializeToString()


def read(message: bytes) -> Exponential:
    found = read_point(message)
    assert found is not None
    return found


def unzigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)


def varints(packed: bytes) -> list[int]:
    found, value, shift = [], 0, 0
    for byte in packed:
        value, shift = value | (byte & 127) << shift, shift + 7
        if byte < 128:
            found.append(value)
            value = shift = 0
    return found


def buckets_of(message: bytes) -> dict[int, int]:
    """The positive buckets of a ``Histogram`` message."""
    deltas = [unzigzag(v) for packed in content_of(message, 12) for v in varints(packed)]
    found, index, count, at = {}, 0, 0, 0
    for span in content_of(message, 11):
        fields = dict(message_fields(span))
        gap, length = fields[1], fields[2]
        assert isinstance(gap, int)
        assert isinstance(length, int)
        index += unzigzag(gap)
        for _ in range(length):
            count += deltas[at]
            if count:
                found[index] = count
            index, at = index + 1, at + 1
    assert at == len(deltas)
    return found


@pytest.mark.parametrize(
    ("scale", "offset", "counts", "schema", "buckets"),
    [
        (0, 0, [1, 2], 0, {1: 1, 2: 2}),
        (2, -2, [1, 0, 0, 0, 4], 2, {-1: 1, 3: 4}),
        (9, 0, [1, 2, 3], 8, {1: 3, 2: 3}),
        (10, -1, [1, 1, 1, 1, 1], 8, {0: 1, 1: 4}),
        (3, 5, [], 3, {}),
    ],
    ids=["indices move by one", "gaps", "one finer", "two finer, across zero", "no buckets"],
)
def test_buckets(scale: int, offset: int, counts: list[int], schema: int, buckets: dict[int, int]) -> None:
    histogram = read(point(scale, offset, counts))
    assert (histogram.schema, histogram.positive) == (schema, buckets)
    assert buckets_of(encode(histogram, 5)) == buckets


def test_a_coarser_scale_than_prometheus_has_is_none() -> None:
    assert read_point(point(-5, 0, [1])) is None


def test_the_zero_threshold_of_the_point_holds_else_that_of_prometheus() -> None:
    assert read(point(0, 0, [1], zero_threshold=0.5)).zero_threshold == 0.5
    assert read(point(0, 0, [1])).zero_threshold == 1e-128


def test_a_stale_point_has_the_marker_as_sum_and_count() -> None:
    fields = dict(message_fields(encode(read(point(0, 0, [], flags=1)), 5)))
    assert (fields[1], fields[3], fields[15]) == (STALE_NAN_BITS, STALE_NAN_BITS, 5)


def test_the_sum_of_two_scales_is_in_the_coarser() -> None:
    both = added(read(point(0, 0, [1, 1])), read(point(1, 0, [1, 1, 1])))
    assert (both.schema, both.positive, both.count, both.sum) == (0, {1: 3, 2: 2}, 5, 2.0)


def test_count_and_sum_travel() -> None:
    fields = dict(message_fields(encode(read(point(0, 0, [1, 2])), 7)))
    total = fields[3]
    assert isinstance(total, int)
    assert (fields[1], double(total), fields[15]) == (3, 1.0, 7)
