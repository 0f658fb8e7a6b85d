"""min_over_time, max_over_time and the times of the extremes.

The sliding extreme keeps two parts of a window: of the older samples the extreme of every suffix, of the
newer ones one number. A sample enters each part once (the two-stack queue), whatever the range and the step.
NaN is the result only where there is nothing else. A minimum is the maximum of the negated values.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.promql.functions.kinds import Function
from agent.promql.functions.ranges import over_floats, run_sharing
from agent.promql.functions.slide import borders, first_after, longest


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _larger(one, other):  # type: ignore[no-untyped-def]
    return one if one > other or other != other else other


@njit(cache=True, nogil=True, error_model="numpy")
def _extremes(offsets, times, value, ends_ms, range_ms, sign):  # type: ignore[no-untyped-def]
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    older = np.empty(longest(offsets) + 1)
    first, behind = np.empty(steps, np.int64), np.empty(steps, np.int64)
    for i in range(series):
        borders(i, offsets, times, ends_ms, range_ms, first, behind)
        values = value[offsets[i] : offsets[i + 1]]
        lo = hi = split = 0
        newer = np.nan
        for j in range(steps):
            last_lo, last_hi = lo, hi
            lo, hi = first[j], behind[j]
            if hi <= lo:
                split = lo
                continue
            if lo >= split or lo < last_lo or hi < last_hi:
                split = hi
                newer = np.nan
                best = np.nan
                for k in range(hi - 1, lo - 1, -1):
                    best = _larger(sign * values[k], best)
                    older[k] = best
            else:
                for k in range(max(last_hi, split), hi):
                    newer = _larger(sign * values[k], newer)
            out[i, j] = sign * _larger(newer, older[lo])
            present[i, j] = True
    return out, present


@njit(cache=True, nogil=True)
def maxima(offsets, times, value, ends_ms, range_ms):  # type: ignore[no-untyped-def]
    return _extremes(offsets, times, value, ends_ms, range_ms, 1.0)


@njit(cache=True, nogil=True)
def minima(offsets, times, value, ends_ms, range_ms):  # type: ignore[no-untyped-def]
    return _extremes(offsets, times, value, ends_ms, range_ms, -1.0)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _later(value, sign, row, other):  # type: ignore[no-untyped-def]
    """The row of the larger value; ``row`` is the later one and wins a tie."""
    held = sign * value[other]
    return row if sign * value[row] >= held or held != held else other


@njit(cache=True, nogil=True, error_model="numpy")
def _times(offsets, time_ms, value, ends_ms, range_ms, sign):  # type: ignore[no-untyped-def]
    """The time (s) of the latest sample with the largest ``sign * value`` of each window."""
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    older = np.empty(longest(offsets) + 1, np.int64)
    for i in range(series):
        start, stop = offsets[i], offsets[i + 1]
        lo = hi = split = start
        newer = -1
        for j in range(steps):
            last_lo, last_hi = lo, hi
            hi = first_after(time_ms, hi, start, stop, ends_ms[j])
            lo = first_after(time_ms, lo, start, stop, ends_ms[j] - range_ms)
            if hi <= lo:
                split = lo
                continue
            if lo >= split or lo < last_lo or hi < last_hi:
                split = hi
                newer = -1
                best = hi - 1
                for k in range(hi - 1, lo - 1, -1):
                    best = _later(value, sign, best, k)
                    older[k - start] = best
            else:
                for k in range(max(last_hi, split), hi):
                    newer = k if newer < 0 else _later(value, sign, k, newer)
            at = older[lo - start]
            if newer >= 0:
                at = _later(value, sign, newer, at)
            out[i, j] = time_ms[at] / 1000.0
            present[i, j] = True
    return out, present


@njit(cache=True, nogil=True)
def maximum_times(offsets, time_ms, value, ends_ms, range_ms):  # type: ignore[no-untyped-def]
    return _times(offsets, time_ms, value, ends_ms, range_ms, 1.0)


@njit(cache=True, nogil=True)
def minimum_times(offsets, time_ms, value, ends_ms, range_ms):  # type: ignore[no-untyped-def]
    return _times(offsets, time_ms, value, ends_ms, range_ms, -1.0)


EXTREMES = {
    "max_over_time": Function(over_floats(maxima, run=run_sharing)),
    "min_over_time": Function(over_floats(minima, run=run_sharing)),
    "ts_of_max_over_time": Function(over_floats(maximum_times), experimental=True),
    "ts_of_min_over_time": Function(over_floats(minimum_times), experimental=True),
}
