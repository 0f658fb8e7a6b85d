"""Quantiles, fractions and variance of one native histogram, by the rules of Prometheus 3 (promql/quantile.go).

Within a bucket of an exponential schema the observations are taken to lie evenly on a logarithmic scale,
within a zero bucket or one with custom bounds evenly on the linear one. A zero bucket reaches from or to 0
where there are no buckets on its other side.
"""

from __future__ import annotations

import math
from enum import StrEnum

import numpy as np

from agent.telemetry.native import FloatHistogram
from agent.telemetry.native_kahan import inc
from agent.telemetry.native_log2 import exp2, log2


class Doubt(StrEnum):
    """What NaN among the observations did to a quantile."""

    NONE = ""
    NAN_RESULT = "result is NaN"
    SKEWED = "result is skewed higher"


def quantile(q: float, h: FloatHistogram) -> tuple[float, Doubt]:
    """The value below which a share ``q`` of the observations lies."""
    if q < 0 or q > 1:
        return math.copysign(math.inf, q), Doubt.NONE
    if h.count == 0 or math.isnan(q):
        return math.nan, Doubt.NONE
    has_nan = math.isnan(h.sum)
    forward = has_nan or q < 0.5
    rows = h.rows()
    turn = slice(None) if forward else slice(None, None, -1)
    counts = rows.counts[turn]
    rank = (q if forward else 1 - q) * h.count
    if not len(counts):
        return _of_no_bucket(rank, has_nan)
    running = np.cumsum(counts)
    reached = np.flatnonzero((counts != 0) & (running >= rank))
    place = int(reached[0]) if len(reached) else len(counts) - 1
    lower, upper, within = (
        float(rows.lower[turn][place]),
        float(rows.upper[turn][place]),
        float(counts[place]),
    )
    if not h.custom:
        lower, upper = _without_other_side(h, lower, upper)
    elif math.isinf(lower):
        if upper <= 0:
            return upper, Doubt.NONE
        lower = 0.0
    elif math.isinf(upper):
        return lower, Doubt.NONE
    seen = min(float(running[place]), h.count)
    if seen < rank:
        return (math.nan, Doubt.NAN_RESULT) if has_nan else (upper, Doubt.NONE)
    rank = rank - (seen - within) if forward else seen - rank
    doubt = Doubt.SKEWED if has_nan and float(running[-1]) < h.count else Doubt.NONE
    return _within(lower, upper, rank / within if within else math.nan, linear=h.custom), doubt


def _of_no_bucket(rank: float, has_nan: bool) -> tuple[float, Doubt]:
    """Observations without a bucket: NaN, or a histogram that keeps count and sum only."""
    if rank <= 0:
        return math.nan, Doubt.SKEWED if has_nan else Doubt.NONE
    return (math.nan, Doubt.NAN_RESULT) if has_nan else (0.0, Doubt.NONE)


def fraction(lower: float, upper: float, h: FloatHistogram) -> tuple[float, bool]:
    """``(share of the observations between lower and upper, whether there were NaN among them)``."""
    if h.count == 0 or math.isnan(lower) or math.isnan(upper):
        return math.nan, False
    if lower >= upper:
        return 0.0, False
    rows = h.rows()
    below_lower, below_upper = _ranks(
        h, rows.lower.tolist(), rows.upper.tolist(), rows.counts.tolist(), (lower, upper)
    )
    count, has_nan = h.count, False
    if math.isnan(h.sum):
        count = float(np.cumsum(rows.counts)[-1]) if len(rows.counts) else 0.0
        has_nan = count < h.count
    return (min(below_upper, count) - min(below_lower, count)) / h.count, has_nan


def variance(h: FloatHistogram) -> float:
    """Every observation counts as the middle of its bucket: the arithmetic mean of custom bounds, the
    geometric mean of others, 0 in the zero bucket."""
    if h.count == 0:
        return math.nan
    mean, total, lost = h.sum / h.count, 0.0, 0.0
    rows = h.rows()
    for lower, upper, count in zip(
        rows.lower.tolist(), rows.upper.tolist(), rows.counts.tolist(), strict=True
    ):
        if count == 0:
            continue
        if h.custom:
            middle = (upper + lower) / 2.0
        elif lower <= 0 <= upper:
            middle = 0.0
        else:
            middle = math.copysign(math.sqrt(upper * lower), upper)
        off = middle - mean
        total, lost = inc(total, lost, count * off * off)
    return (total + lost) / h.count


def _without_other_side(h: FloatHistogram, lower: float, upper: float) -> tuple[float, float]:
    """The ends of a bucket around 0. For fractions Prometheus holds custom buckets to this as well, so that
    with positive ones the first begins at 0."""
    if not lower <= 0 <= upper:
        return lower, upper
    if not len(h.negative) and len(h.positive):
        return 0.0, upper
    if not len(h.positive) and len(h.negative):
        return lower, 0.0
    return lower, upper


def _within(lower: float, upper: float, share: float, *, linear: bool) -> float:
    if linear or lower <= 0 <= upper:
        return lower + (upper - lower) * share
    low, high = log2(abs(lower)), log2(abs(upper))
    if lower > 0:
        return exp2(low + (high - low) * share)
    return -exp2(high + (low - high) * (1 - share))


def _ranks(
    h: FloatHistogram,
    lowers: list[float],
    uppers: list[float],
    counts: list[float],
    values: tuple[float, float],
) -> tuple[float, float]:
    """How many observations lie below each of the two values; infinitely many means all."""
    found = [math.inf, math.inf]
    open_ends = {0, 1}
    rank = 0.0
    for lower, upper, count in zip(lowers, uppers, counts, strict=True):
        linear = h.custom or lower <= 0 <= upper
        lower, upper = _without_other_side(h, lower, upper)
        for end in tuple(open_ends):
            value = values[end]
            if lower >= value:
                found[end] = rank
            elif upper > value:
                found[end] = _rank_within(lower, upper, count, value, rank, linear=linear)
            else:
                continue
            open_ends.discard(end)
        if not open_ends:
            break
        rank += count
    return found[0], found[1]


def _rank_within(
    lower: float, upper: float, count: float, value: float, rank: float, *, linear: bool
) -> float:
    if linear:
        if math.isinf(lower):
            return count
        return rank + count * (value - lower) / (upper - lower)
    low, high, at = log2(abs(lower)), log2(abs(upper)), log2(abs(value))
    share = (at - low) / (high - low) if value > 0 else 1 - ((at - high) / (low - high))
    return rank + count * share
