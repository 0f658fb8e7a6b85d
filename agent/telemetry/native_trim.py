"""Trimming native histograms: the observations below or above a value, as ``</`` and ``>/`` of Prometheus 3
have it (model/histogram, TrimBuckets).

Buckets on the far side go, the one around the value is divided: on a logarithmic scale where the schema is
exponential, on the linear one in custom buckets and in the zero bucket. Where anything went, count and sum
are made anew from the buckets, each standing for the middle of what is left of it. A bucket without an end
is not divided, nobody knows how it is filled: it goes or stays as a whole, but for a first custom bucket with
a positive end, which is taken to begin at 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from agent.telemetry.native_buckets import Side, bounds, custom_bounds
from agent.telemetry.native_histogram import FloatHistogram
from agent.telemetry.native_log2 import log2


@dataclass(frozen=True, slots=True)
class _Bucket:
    lower: float
    upper: float
    count: float
    linear: bool
    positive: bool


def trimmed(h: FloatHistogram, value: float, *, upper: bool) -> FloatHistogram:
    """``upper``: without what is above ``value``; else without what is below."""
    kept: list[list[float]] = []
    count = total = 0.0
    changed = False
    populated = {True: False, False: False}
    for side, positive in ((h.positive, True), (h.negative, False)):
        left = []
        for bucket in _buckets(h, side, positive=positive):
            rest, middle = _trimmed(bucket, value, upper) if bucket.count else (bucket.count, 0.0)
            populated[positive] |= bucket.count != 0
            changed |= rest != bucket.count
            count += rest
            total += middle * rest
            left.append(rest)
        kept.append(left)
    zero = h.zero_count
    if zero > 0:
        zero, middle = _zero(h, value, upper, populated[True], populated[False])
        changed |= zero != h.zero_count
        total += middle * zero
        count += zero
    if not changed:
        return h
    positive_side, negative_side = (
        Side(side.index, np.array(left, np.float64))
        for side, left in zip((h.positive, h.negative), kept, strict=True)
    )
    return replace(
        h, count=count, sum=total, zero_count=zero, positive=positive_side, negative=negative_side
    ).compact()


def _buckets(h: FloatHistogram, side: Side, *, positive: bool) -> Iterator[_Bucket]:
    """From the zero bucket outwards."""
    if h.custom:
        lower, upper = custom_bounds(side.index, h.custom_values)
    elif positive:
        lower, upper = bounds(side.index - 1, h.schema), bounds(side.index, h.schema)
    else:
        lower, upper = -bounds(side.index, h.schema), -bounds(side.index - 1, h.schema)
    for low, high, count in zip(lower.tolist(), upper.tolist(), side.count.tolist(), strict=True):
        yield _Bucket(low, high, count, h.custom, positive)


def _trimmed(bucket: _Bucket, value: float, upper: bool) -> tuple[float, float]:
    """``(count left, its middle)``."""
    if bucket.upper <= value if upper else bucket.lower >= value:
        return bucket.count, _middle(bucket.lower, bucket.upper, bucket)
    if not (bucket.lower < value if upper else bucket.upper > value):
        return 0.0, 0.0
    if math.isinf(bucket.lower):
        return _without_begin(bucket, value, upper)
    if math.isinf(bucket.upper):
        return (0.0, bucket.lower) if upper else (bucket.count, value)
    under = _under(bucket, value)
    if upper:
        return under, _middle(bucket.lower, value, bucket)
    return bucket.count - under, _middle(value, bucket.upper, bucket)


def _without_begin(bucket: _Bucket, value: float, upper: bool) -> tuple[float, float]:
    """A bucket from -Inf that the value lies in."""
    end = bucket.upper
    if math.isinf(end):
        return 0.0, 0.0
    if upper:
        if value > 0 and end > 0:
            return bucket.count * value / end, value / 2
        return (bucket.count, value) if end <= 0 else (0.0, end)
    if value >= 0:
        return bucket.count * (1 - value / end), (value + end) / 2
    return 0.0, end


def _under(bucket: _Bucket, value: float) -> float:
    """How much of a bucket lies up to the value."""
    if bucket.linear:
        return bucket.count * ((value - bucket.lower) / (bucket.upper - bucket.lower))
    low, high, at = log2(abs(bucket.lower)), log2(abs(bucket.upper)), log2(abs(value))
    if bucket.positive:
        return bucket.count * ((at - low) / (high - low))
    return bucket.count * (1 - ((at - high) / (low - high)))


def _middle(lower: float, upper: float, bucket: _Bucket) -> float:
    if math.isinf(lower):
        if math.isinf(upper):
            return 0.0
        return upper / 2 if upper > 0 else upper
    if math.isinf(upper):
        return lower
    if bucket.linear:
        return (lower + upper) / 2
    middle = math.sqrt(abs(lower * upper))
    return middle if bucket.positive else -middle


def _zero(
    h: FloatHistogram, value: float, upper: bool, has_positive: bool, has_negative: bool
) -> tuple[float, float]:
    """``(count left, its middle)`` of the zero bucket, which ends at 0 on the side where nothing else is."""
    low = 0.0 if has_positive and not has_negative else -h.zero_threshold
    high = 0.0 if has_negative and not has_positive else h.zero_threshold
    if value <= low:
        return (0.0, 0.0) if upper else (h.zero_count, (low + high) / 2)
    if value >= high:
        return (h.zero_count, (low + high) / 2) if upper else (0.0, 0.0)
    share = (value - low) / (high - low) if upper else (high - value) / (high - low)
    return h.zero_count * share, (low + value) / 2 if upper else (value + high) / 2
