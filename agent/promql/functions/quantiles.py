"""Quantiles of samples: quantile_over_time, mad_over_time, and the ``quantile`` aggregation's arithmetic.

A quantile between two samples is their weighted mean. NaN sorts below all numbers; below 0 the quantile is
-Inf, above 1 +Inf. The kernels keep the samples of the window sorted while it slides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit

from agent.promql.functions import texts
from agent.promql.functions.kinds import Argument, Call, Function, Result
from agent.promql.functions.ranges import floats_of, numbers, over_floats, range_vector, run
from agent.promql.functions.slide import first_after, longest
from agent.telemetry.frames import F64


@njit(cache=True, nogil=True, error_model="numpy")
def _at(ordered, nans, index):  # type: ignore[no-untyped-def]
    return np.nan if index < nans else ordered[index - nans]


@njit(cache=True, nogil=True, error_model="numpy")
def interpolated(q, ordered, count, nans):  # type: ignore[no-untyped-def]
    """The ``q`` quantile of ``nans`` NaN and the first ``count`` entries of ``ordered``, which ascend."""
    total = count + nans
    if total == 0 or np.isnan(q):
        return np.nan
    if q < 0:
        return -np.inf
    if q > 1:
        return np.inf
    rank = q * (total - 1)
    lower = np.int64(math.floor(rank))
    upper = min(total - 1, lower + 1)
    weight = rank - math.floor(rank)
    return _at(ordered, nans, lower) * (1 - weight) + _at(ordered, nans, upper) * weight


@njit(cache=True, nogil=True, error_model="numpy")
def quantile(values, q):  # type: ignore[no-untyped-def]
    """The ``q`` quantile of unsorted values; NaN without any."""
    ordered = np.sort(values)  # NumPy sorts NaN to the end
    count = len(ordered)
    while count > 0 and np.isnan(ordered[count - 1]):
        count -= 1
    return interpolated(q, ordered, count, len(ordered) - count)


@njit(cache=True, nogil=True)
def _place(ordered, count, x):  # type: ignore[no-untyped-def]
    """The first of the ascending ``ordered[:count]`` that is not below ``x``."""
    low, high = 0, count
    while low < high:
        middle = (low + high) >> 1
        if ordered[middle] < x:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _enter(ordered, count, x):  # type: ignore[no-untyped-def]
    place = _place(ordered, count, x)
    for k in range(count, place, -1):
        ordered[k] = ordered[k - 1]
    ordered[place] = x


@njit(cache=True, nogil=True)
def _leave(ordered, count, x):  # type: ignore[no-untyped-def]
    for k in range(_place(ordered, count, x), count - 1):
        ordered[k] = ordered[k + 1]


@njit(cache=True, nogil=True)
def _deviation(ordered, count, spare):  # type: ignore[no-untyped-def]
    """The median of the distances from the median: on sorted values two runs that ascend, merged."""
    median = interpolated(0.5, ordered, count, 0)
    right = _place(ordered, count, median)
    left = right - 1
    for k in range(count // 2 + 1):
        if right >= count or (left >= 0 and median - ordered[left] <= ordered[right] - median):
            spare[k] = median - ordered[left]
            left -= 1
        else:
            spare[k] = ordered[right] - median
            right += 1
    if count % 2:
        return spare[count // 2]
    return spare[count // 2 - 1] * 0.5 + spare[count // 2] * 0.5


@njit(cache=True, nogil=True, error_model="numpy")
def _sliding(offsets, time_ms, value, ends_ms, range_ms, qs, is_mad):  # type: ignore[no-untyped-def]
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    room = longest(offsets) + 1
    ordered, spare = np.empty(room), np.empty(room)
    for i in range(series):
        start, stop = offsets[i], offsets[i + 1]
        lo = hi = start
        count = nans = 0
        for j in range(steps):
            last_lo, last_hi = lo, hi
            hi = first_after(time_ms, hi, start, stop, ends_ms[j])
            lo = first_after(time_ms, lo, start, stop, ends_ms[j] - range_ms)
            if lo < last_lo or hi < last_hi or lo >= last_hi:
                count = nans = 0
                last_lo = last_hi = lo
            for k in range(last_lo, lo):
                if np.isnan(value[k]):
                    nans -= 1
                else:
                    _leave(ordered, count, value[k])
                    count -= 1
            for k in range(last_hi, hi):
                if np.isnan(value[k]):
                    nans += 1
                else:
                    _enter(ordered, count, value[k])
                    count += 1
            if hi <= lo:
                continue
            present[i, j] = True
            if not is_mad:
                out[i, j] = interpolated(qs[j], ordered, count, nans)
            elif nans > 0 or np.isinf(ordered[0]) or np.isinf(ordered[count - 1]):
                out[i, j] = _plain_deviation(value[lo:hi])
            else:
                out[i, j] = _deviation(ordered, count, spare)
    return out, present


@njit(cache=True, nogil=True, error_model="numpy")
def _plain_deviation(values):  # type: ignore[no-untyped-def]
    if np.isnan(values).any():
        return np.nan
    return quantile(np.abs(values - quantile(values, 0.5)), 0.5)


_NO_QUANTILES = np.empty(0)


@njit(cache=True, nogil=True)
def quantiles(offsets, time_ms, value, ends_ms, range_ms, qs):  # type: ignore[no-untyped-def]
    """The quantile ``qs[j]`` of each window of step ``j``."""
    return _sliding(offsets, time_ms, value, ends_ms, range_ms, qs, False)


@njit(cache=True, nogil=True)
def deviations(offsets, time_ms, value, ends_ms, range_ms):  # type: ignore[no-untyped-def]
    """The median absolute deviation of each window."""
    return _sliding(offsets, time_ms, value, ends_ms, range_ms, _NO_QUANTILES, True)


def invalid(qs: F64) -> list[float]:
    """Those of ``qs`` that are no quantile, each once."""
    wrong = np.isnan(qs) | (qs < 0) | (qs > 1)
    return [float(q) for q in np.unique(qs[wrong])]


def _quantile_over_time(call: Call, arguments: Sequence[Argument]) -> Result:
    qs, windows = numbers(arguments, 0), range_vector(arguments, 1)
    value, present = run(quantiles, windows, qs)
    for q in invalid(qs[present.any(axis=0)]):
        call.notes.warning(texts.invalid_quantile(q))
    return floats_of(call, windows, value, present)


QUANTILES = {
    "quantile_over_time": Function(_quantile_over_time),
    "mad_over_time": Function(over_floats(deviations), experimental=True),
}
