"""What a native histogram must obey before it is taken in: the checks and texts of Prometheus."""

from __future__ import annotations

import math

import numpy as np

from agent.telemetry.native_buckets import Side
from agent.telemetry.native_histogram import FloatHistogram, InvalidHistogram

_TOO_FEW = "histogram's observation count should be at least the number of observations found in the buckets"
_MISMATCH = "histogram's observation count should equal the number of observations found in the buckets (in absence of NaN)"
_NEGATIVE = "histogram has a bucket whose observation count is negative"


def validate_histogram(h: FloatHistogram, *, integral: bool) -> None:
    """``integral`` for a histogram that came with integer counts: these must add up. A stale marker is always
    right. Raises InvalidHistogram."""
    if h.stale:
        return
    _check_layout(h)
    if h.count < 0:
        raise InvalidHistogram(f"observation count is {h.count}: histogram's observation count is negative")
    for name, side in (("positive side", h.positive), ("negative side", h.negative)):
        _check_side(name, side)
    if integral:
        _check_count(h)


def _check_layout(h: FloatHistogram) -> None:
    if not h.custom:
        if h.zero_count < 0:
            raise InvalidHistogram(f"zero bucket has observation count of {h.zero_count}: {_NEGATIVE}")
        if len(h.custom_values):
            raise InvalidHistogram("histogram with exponential schema must not have custom bounds")
        return
    values = h.custom_values
    if np.isnan(values).any():
        raise InvalidHistogram("custom buckets: histogram custom bounds must not be NaN")
    if (np.diff(values) <= 0).any():
        raise InvalidHistogram("custom buckets: histogram custom bounds must be in strictly increasing order")
    if np.isinf(values).any():
        raise InvalidHistogram("custom buckets: histogram custom bounds must be finite")
    if len(h.positive) and not 0 <= h.positive.index[0] <= h.positive.index[-1] <= len(values):
        raise InvalidHistogram(
            f"custom buckets: only {len(values)} custom bounds defined which is insufficient to cover bucket "
            f"{int(h.positive.index[-1])}: histogram custom bounds are too few"
        )
    if h.zero_count != 0:
        raise InvalidHistogram("custom buckets: must have zero count of 0")
    if h.zero_threshold != 0:
        raise InvalidHistogram("custom buckets: must have zero threshold of 0")
    if len(h.negative):
        raise InvalidHistogram("custom buckets: must not have negative buckets")


def _check_side(name: str, side: Side) -> None:
    wrong = np.flatnonzero(side.count < 0)
    if len(wrong):
        at = int(wrong[0])
        raise InvalidHistogram(
            f"{name}: bucket number {at + 1} has observation count of {side.count[at]}: {_NEGATIVE}"
        )


def _check_count(h: FloatHistogram) -> None:
    inside = float(h.positive.count.sum() + h.negative.count.sum()) + h.zero_count
    found = f"{inside:.0f} observations found in buckets, but the Count field is {h.count:.0f}"
    if math.isnan(h.sum):
        if inside > h.count:
            raise InvalidHistogram(f"{found}: {_TOO_FEW}")
    elif inside != h.count:
        raise InvalidHistogram(f"{found}: {_MISMATCH}")
