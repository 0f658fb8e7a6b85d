from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from agent.telemetry.batch import (
    COMPONENT_COUNT,
    COMPONENT_PART,
    COMPONENT_SUM,
    COMPONENT_VALUE,
    METRIC_EXP_HISTOGRAM,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
    METRIC_SUM,
    METRIC_SUMMARY,
    STALE_NAN_BITS,
    TEMPORALITY_DELTA,
    MetricBatch,
    Reject,
)
from agent.telemetry.otlp_metrics import decode_metrics
from tests.unit.telemetry.requests import (
    NOW_NS,
    attributes,
    counter,
    exp_histogram,
    gauge,
    histogram,
    metrics_body,
    number,
    summary,
)

NO_RECORDED_VALUE = 1


def decode(*metrics: Metric, scope: str = "") -> MetricBatch:
    return decode_metrics(metrics_body(list(metrics), scope=scope))


def samples(batch: MetricBatch) -> list[tuple[int, float]]:
    return list(zip(batch.component.tolist(), batch.value.tolist(), strict=True))


def test_gauge() -> None:
    batch = decode(gauge(number(as_double=-0.25), number(as_int=-7)))
    assert samples(batch) == [(COMPONENT_VALUE, -0.25), (COMPONENT_VALUE, -7.0)]
    assert batch.kind.tolist() == [METRIC_GAUGE] * 2
    assert batch.raw[batch.name_off[1] :][: batch.name_len[1]].tobytes() == b"temperature"


def test_sum_carries_its_nature_and_start() -> None:
    batch = decode(counter(number(start_time_unix_nano=3), temporality=TEMPORALITY_DELTA))
    assert (batch.kind[0], batch.temporality[0], batch.monotonic[0]) == (METRIC_SUM, TEMPORALITY_DELTA, 1)
    assert (batch.start_ns[0], batch.time_ns[0]) == (3, NOW_NS)


def test_histogram_gives_cumulative_buckets() -> None:
    batch = decode(histogram())
    assert samples(batch) == [
        (COMPONENT_COUNT, 6.0),
        (COMPONENT_SUM, 12.5),
        (COMPONENT_PART, 1.0),
        (COMPONENT_PART + 1, 3.0),
        (COMPONENT_PART + 2, 6.0),
    ]
    assert batch.kind.tolist() == [METRIC_HISTOGRAM] * 5


def test_histogram_without_buckets_or_sum_is_its_count() -> None:
    metric = histogram(bucket_counts=[], explicit_bounds=[])
    metric.histogram.data_points[0].ClearField("sum")
    assert samples(decode(metric)) == [(COMPONENT_COUNT, 6.0)]


def test_histogram_with_bounds_that_do_not_match_keeps_count_and_sum() -> None:
    batch = decode(histogram(explicit_bounds=[0.1]))
    assert batch.reject.tolist() == [0, 0, *[Reject.BAD_BUCKETS] * 3]


def test_unpacked_buckets_read_like_packed_ones() -> None:
    point = b"\x19" + NOW_NS.to_bytes(8, "little")
    point += b"".join(b"\x31" + count.to_bytes(8, "little") for count in (1, 2))
    point += b"\x39" + np.float64(0.5).tobytes()
    batch = decode_metrics(request_of(point))
    assert samples(batch) == [(COMPONENT_COUNT, 0.0), (COMPONENT_PART, 1.0), (COMPONENT_PART + 1, 3.0)]


def request_of(point: bytes) -> bytes:
    """A request round the bytes of one histogram point, which the protobuf package would pack again."""
    content = b"\x0a\x01x" + b"\x4a" + sized(b"\x0a" + sized(point))
    return b"\x0a" + sized(b"\x12" + sized(b"\x12" + sized(content)))


def sized(content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([len(content)]) + content


def test_exponential_histogram_gives_count_sum_and_zero_count() -> None:
    batch = decode(exp_histogram())
    assert samples(batch) == [(COMPONENT_COUNT, 6.0), (COMPONENT_SUM, 12.5), (COMPONENT_PART, 2.0)]
    assert batch.kind.tolist() == [METRIC_EXP_HISTOGRAM] * 3


def test_summary_gives_quantiles() -> None:
    batch = decode(summary({0.5: 1.0, 0.99: 9.0}))
    assert samples(batch) == [
        (COMPONENT_COUNT, 6.0),
        (COMPONENT_SUM, 12.5),
        (COMPONENT_PART, 1.0),
        (COMPONENT_PART + 1, 9.0),
    ]
    assert batch.kind.tolist() == [METRIC_SUMMARY] * 4


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_values_that_are_not_finite_are_taken(value: float) -> None:
    batch = decode(gauge(number(as_double=value)))
    np.testing.assert_equal(batch.value, [value])
    assert batch.reject[0] == Reject.NONE


@pytest.mark.parametrize(
    "metric",
    [
        gauge(number(flags=NO_RECORDED_VALUE)),
        histogram(flags=NO_RECORDED_VALUE),
        summary({0.5: 1}, flags=NO_RECORDED_VALUE),
    ],
)
def test_no_recorded_value_is_the_stale_marker(metric: Metric) -> None:
    batch = decode(metric)
    assert set(batch.value.view(np.uint64).tolist()) == {STALE_NAN_BITS}


@pytest.mark.parametrize(
    ("metric", "reject"),
    [
        (gauge(number(time_unix_nano=0)), Reject.NO_TIME),
        (gauge(number(time_unix_nano=1 << 63)), Reject.TIME_OUT_OF_RANGE),
        (gauge(number(start_time_unix_nano=1 << 63)), Reject.TIME_OUT_OF_RANGE),
        (gauge(number(), name=""), Reject.NO_NAME),
        (histogram(time_unix_nano=0), Reject.NO_TIME),
    ],
)
def test_rejects(metric: Metric, reject: Reject) -> None:
    assert set(decode(metric).reject.tolist()) == {reject}


def test_point_without_a_value_is_rejected() -> None:
    point = number()
    point.ClearField("as_double")
    assert decode(gauge(point)).reject.tolist() == [Reject.NO_VALUE]


def hashes(*metrics: Metric, scope: str = "") -> list[int]:
    return [int(h) for h in decode(*metrics, scope=scope).series_hash]


def labelled(**labels: Any) -> Metric:
    return gauge(number(attributes=attributes(labels)))


def test_series_hash_ignores_the_order_of_attributes() -> None:
    assert hashes(labelled(a="x", b="y")) == hashes(labelled(b="y", a="x"))


def test_series_hash_ignores_value_and_time() -> None:
    assert hashes(gauge(number(as_int=3, time_unix_nano=9))) == hashes(gauge(number()))


def test_series_hash_tells_series_apart() -> None:
    variants = [
        labelled(),
        labelled(a="x"),
        labelled(a="y"),
        labelled(a="x", b="y"),
        labelled(a="y", b="x"),
        labelled(a=1),
        labelled(a=True),
        gauge(number(), name="other"),
        gauge(number(), unit="s"),
        counter(number(), name="temperature"),
        counter(number(), name="temperature", monotonic=False),
        counter(number(), name="temperature", temporality=1),
        histogram(),
        histogram(explicit_bounds=[0.2, 5.0]),
        summary({0.5: 1, 0.9: 1}),
    ]
    found = hashes(*variants)
    shared = 1 + 1 + 2  # count, sum, +Inf and the bound 5.0 of the two histograms are the same series
    assert len(found) - len(set(found)) == shared
    assert not set(found) & set(hashes(*variants, scope="library"))
