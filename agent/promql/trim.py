"""Trimming native histograms: ``h </ 5`` keeps the observations up to 5, ``h >/ 5`` those from 5 on.

Buckets on the far side go; the one that holds the bound is divided, exponential buckets by logarithmic,
custom buckets and the zero bucket by linear interpolation. The sum loses what was removed, at the midpoint of
where it lay. The rules are those of Prometheus' promql/engine.go.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from agent.telemetry.frames import F64
from agent.telemetry.native import FloatHistogram, Side
from agent.telemetry.native_buckets import bounds, custom_bounds


def trimmed(histogram: FloatHistogram, bound: float, *, upper: bool) -> FloatHistogram:
    """``upper``: what is above ``bound`` is removed, else what is below."""
    cut = _Cut(bound, upper, histogram.custom)
    if histogram.custom:
        low, high = custom_bounds(histogram.positive.index, histogram.custom_values)
        positive, negative = cut.side(histogram.positive, low, high, positive=True), histogram.negative
    else:
        at, below = bounds(histogram.positive.index, histogram.schema), histogram.positive.index - 1
        positive = cut.side(histogram.positive, bounds(below, histogram.schema), at, positive=True)
        at, below = bounds(histogram.negative.index, histogram.schema), histogram.negative.index - 1
        negative = cut.side(histogram.negative, -at, -bounds(below, histogram.schema), positive=False)
    zero_count = histogram.zero_count
    if zero_count > 0:
        zero_count = cut.zero(zero_count, histogram)
    total = 0.0
    if cut.count != 0:
        total = histogram.sum - cut.removed_sum
        if (not cut.has_negative and total < 0) or (not cut.has_positive and total > 0):
            total = 0.0
    return replace(
        histogram, count=cut.count, sum=total, zero_count=zero_count, positive=positive, negative=negative
    ).compact()


class _Cut:
    """One trimming: what is left and what was removed so far."""

    def __init__(self, bound: float, upper: bool, linear: bool) -> None:
        self._bound, self._upper, self._linear = bound, upper, linear
        self.count = self.removed_sum = 0.0
        self.has_positive = self.has_negative = False

    def side(self, side: Side, lower: F64, upper: F64, *, positive: bool) -> Side:
        kept = side.count.copy()
        for i, (low, high, count) in enumerate(
            zip(lower.tolist(), upper.tolist(), side.count.tolist(), strict=True)
        ):
            if count != 0:
                self._see(low, high, positive)
                kept[i] = self._bucket(low, high, count, positive)
        return Side(side.index, kept)

    def zero(self, count: float, histogram: FloatHistogram) -> float:
        edge = histogram.zero_threshold
        under = self._under(-edge, edge, count, positive=True, linear=True)
        kept = under if self._upper else count - under
        self.count += kept
        return kept

    def _see(self, low: float, high: float, positive: bool) -> None:
        if not self._linear:
            self.has_positive |= positive
            self.has_negative |= not positive
        elif high <= 0:
            self.has_negative = True
        else:
            self.has_negative |= low < 0
            self.has_positive = True

    def _bucket(self, low: float, high: float, count: float, positive: bool) -> float:
        whole = high <= self._bound if self._upper else low >= self._bound
        if whole:
            self.count += count
            return count
        divided = low < self._bound if self._upper else high > self._bound
        kept, middle = self._divided(low, high, count, positive)
        if not divided:
            kept = 0.0
            if not self._linear or not positive:
                # As the root of the product of both bounds, which is positive on either side.
                middle = math.sqrt(low * high) if low * high >= 0 else math.nan
        self.removed_sum += (count - kept) * middle
        self.count += kept
        return kept

    def _divided(self, low: float, high: float, count: float, positive: bool) -> tuple[float, float]:
        """``(count kept, midpoint of what goes)`` of a bucket that the bound may divide."""
        if math.isinf(low) or math.isinf(high):
            return self._open(low, high, count)
        under = self._under(low, high, count, positive=positive, linear=self._linear)
        other = low if self._upper else high
        if self._linear:
            middle = (low + high) / 2
        else:
            middle = math.copysign(math.sqrt(abs(other) * abs(self._bound)), 1 if positive else -1)
        return (under if self._upper else count - under), middle

    def _open(self, low: float, high: float, count: float) -> tuple[float, float]:
        """Of a bucket without an end, of which nobody knows how it is filled."""
        bound = self._bound
        if low == -math.inf:
            if self._upper and bound >= high:
                return count, 0.0
            if not self._upper and bound <= low:
                return count, 0.0
            if bound >= 0 and high > bound and not math.isinf(high):
                # A first custom bucket with a positive end is taken to begin at 0.
                part = bound / high
                return (count * part, (bound + high) / 2) if self._upper else (count * (1 - part), bound / 2)
            return 0.0, high
        if not self._upper and bound <= low:
            return count, 0.0
        return 0.0, low

    def _under(self, low: float, high: float, count: float, *, positive: bool, linear: bool) -> float:
        """The part of a bucket's count up to the bound."""
        bound = self._bound
        if bound <= low:
            return 0.0
        if bound >= high:
            return count
        if linear:
            return count * (bound - low) / (high - low)
        with np.errstate(all="ignore"):
            log_low, log_high, log_bound = (float(np.log2(abs(x))) for x in (low, high, bound))
        if positive:
            return count * (log_bound - log_low) / (log_high - log_low)
        return count * (1 - (log_bound - log_high) / (log_low - log_high))
