"""stdvar_over_time and stddev_over_time: the variance of every window by Welford's method with compensated
sums, as Prometheus computes it."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from agent.promql.functions.kinds import Function
from agent.promql.functions.ranges import over_floats
from agent.promql.functions.slide import first_after
from agent.promql.functions.sums import neumaier


@njit(cache=True, nogil=True, error_model="numpy")
def variance(value, lo, hi):  # type: ignore[no-untyped-def]
    """Of ``value[lo:hi]``, which is not empty."""
    mean = mean_error = squares = squares_error = 0.0
    for k in range(lo, hi):
        delta = value[k] - (mean + mean_error)
        mean, mean_error = neumaier(mean, mean_error, delta / (k - lo + 1))
        rest = value[k] - (mean + mean_error)
        squares, squares_error = neumaier(squares, squares_error, delta * rest)
    return (squares + squares_error) / (hi - lo)


@njit(cache=True, nogil=True, error_model="numpy")
def _variances(offsets, time_ms, value, ends_ms, range_ms, is_root):  # type: ignore[no-untyped-def]
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    for i in range(series):
        start, stop = offsets[i], offsets[i + 1]
        lo = hi = start
        for j in range(steps):
            hi = first_after(time_ms, hi, start, stop, ends_ms[j])
            lo = first_after(time_ms, lo, start, stop, ends_ms[j] - range_ms)
            if hi <= lo:
                continue
            spread = variance(value, lo, hi)
            out[i, j] = math.sqrt(spread) if is_root else spread
            present[i, j] = True
    return out, present


@njit(cache=True, nogil=True)
def variances(offsets, time_ms, value, ends_ms, range_ms):  # type: ignore[no-untyped-def]
    return _variances(offsets, time_ms, value, ends_ms, range_ms, False)


@njit(cache=True, nogil=True)
def deviations(offsets, time_ms, value, ends_ms, range_ms):  # type: ignore[no-untyped-def]
    return _variances(offsets, time_ms, value, ends_ms, range_ms, True)


SPREADS = {
    "stdvar_over_time": Function(over_floats(variances)),
    "stddev_over_time": Function(over_floats(deviations)),
}
