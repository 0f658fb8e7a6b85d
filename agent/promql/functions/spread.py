"""stdvar_over_time and stddev_over_time.

Prometheus runs Welford's method over every window, a division a sample. Here the mean comes from the prefix
sums of ``sums`` and a second pass adds up the squares of the distances from it, corrected for the rounding of
the mean (Chan, Golub, LeVeque, 1983); both ways agree within about ``u * mean / deviation`` (u = 2^-53).
Where that is no longer small, and where a window holds what is not finite, Welford's method runs as it does
in Prometheus.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from agent.promql.functions.kinds import Function
from agent.promql.functions.ranges import over_floats, run_sharing
from agent.promql.functions.slide import borders, longest
from agent.promql.functions.sums import between, direct_mean, is_sound, neumaier, prefixes

_NARROW = 1e-8  # of the squared mean; a variance below it is computed as Prometheus does


@njit(cache=True, nogil=True, error_model="numpy")
def welford(value, lo, hi):  # type: ignore[no-untyped-def]
    """The variance of ``value[lo:hi]``, which is not empty, with compensated sums."""
    mean = mean_error = squares = squares_error = 0.0
    for k in range(lo, hi):
        delta = value[k] - (mean + mean_error)
        mean, mean_error = neumaier(mean, mean_error, delta / (k - lo + 1))
        rest = value[k] - (mean + mean_error)
        squares, squares_error = neumaier(squares, squares_error, delta * rest)
    return (squares + squares_error) / (hi - lo)


@njit(cache=True, nogil=True, error_model="numpy")
def _around(value, lo, hi, mean):  # type: ignore[no-untyped-def]
    """The variance of ``value[lo:hi]`` around its mean; four sums keep the processor busy."""
    a = b = c = d = 0.0
    away = off = 0.0
    k = lo
    while k + 4 <= hi:
        p, q, r, s = value[k] - mean, value[k + 1] - mean, value[k + 2] - mean, value[k + 3] - mean
        a += p * p
        b += q * q
        c += r * r
        d += s * s
        away += (p + q) + (r + s)
        k += 4
    while k < hi:
        p = value[k] - mean
        a += p * p
        off += p
        k += 1
    away += off
    return (((a + b) + (c + d)) - away * away / (hi - lo)) / (hi - lo)


@njit(cache=True, nogil=True, error_model="numpy")
def _variances(offsets, times, value, ends_ms, range_ms, is_root):  # type: ignore[no-untyped-def]
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    room = longest(offsets) + 1
    high, low, size = np.empty(room), np.empty(room), np.empty(room)
    odd, same = np.empty(room, np.int64), np.empty(room, np.int64)
    first, behind = np.empty(steps, np.int64), np.empty(steps, np.int64)
    for i in range(series):
        borders(i, offsets, times, ends_ms, range_ms, first, behind)
        values = value[offsets[i] : offsets[i + 1]]
        prefixes(values, high, low, size, odd)
        for k in range(len(values)):  # from which row on the values are the same
            same[k] = same[k - 1] if k > 0 and values[k] == values[k - 1] else k
        for j in range(steps):
            lo, hi = first[j], behind[j]
            if hi <= lo:
                continue
            finite = odd[lo] == odd[hi]
            spread = 0.0
            if not finite or same[hi - 1] > lo:
                total = between(high, low, lo, hi)
                sound = is_sound(total, size, hi)
                mean = total / (hi - lo) if sound else direct_mean(values, lo, hi)
                spread = _around(values, lo, hi, mean) if finite else np.nan
                if not spread > _NARROW * mean * mean or np.isinf(spread):
                    spread = welford(values, lo, hi)
            out[i, j] = math.sqrt(spread) if is_root else spread
            present[i, j] = True
    return out, present


@njit(cache=True, nogil=True)
def variances(offsets, times, value, ends_ms, range_ms):  # type: ignore[no-untyped-def]
    return _variances(offsets, times, value, ends_ms, range_ms, False)


@njit(cache=True, nogil=True)
def deviations(offsets, times, value, ends_ms, range_ms):  # type: ignore[no-untyped-def]
    return _variances(offsets, times, value, ends_ms, range_ms, True)


SPREADS = {
    "stdvar_over_time": Function(over_floats(variances, run=run_sharing)),
    "stddev_over_time": Function(over_floats(deviations, run=run_sharing)),
}
