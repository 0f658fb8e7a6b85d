"""sum_over_time and avg_over_time over floats: the compensated sum of every window, without summing it.

Prometheus sums a window by Neumaier's method (Kahan-Babuska; A. Neumaier, 1974), whose result S' obeys
``|S' - S| <= u |S| + O(n^2 u^2) A`` where A is the sum of the absolute values and u = 2^-53. The kernels
keep that method's running state (sum ``high``, its error ``low``) for every prefix of a series; a window's
sum is the difference of two prefixes, taken without loss (TwoDiff; D. Knuth, TAOCP 2, 4.2.2). Its error
obeys the same bound with the n and A of the whole prefix, so that where ``n^2 u A <= |S|`` both ways lie within
a few u of S. Where that does not hold (values cancel, or earlier ones were larger by many orders), where a
window holds what is not finite, and where it is short, the window is summed by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from agent.promql.functions import native
from agent.promql.functions.kinds import Argument, Body, Call, Function, Result, Windows
from agent.promql.functions.ranges import Mixed, range_vector, run_sharing, with_histograms
from agent.promql.functions.slide import borders, longest
from agent.telemetry.native import FloatHistogram

_UNIT = 2.0**-53
_SHORT = 6  # windows up to this many samples are summed by themselves: that is quicker, too


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def neumaier(total, error, add):  # type: ignore[no-untyped-def]
    """One step of the compensated sum, as Prometheus takes it: ``(total, error)``."""
    fresh = total + add
    if np.isinf(fresh):
        error = 0.0
    elif abs(total) >= abs(add):
        error += (total - fresh) + add
    else:
        error += (add - fresh) + total
    return fresh, error


@njit(cache=True, nogil=True, error_model="numpy")
def direct_sum(value, lo, hi):  # type: ignore[no-untyped-def]
    total = error = 0.0
    for k in range(lo, hi):
        total, error = neumaier(total, error, value[k])
    return total if np.isinf(total) else total + error


@njit(cache=True, nogil=True, error_model="numpy")
def direct_mean(value, lo, hi):  # type: ignore[no-untyped-def]
    """The mean by the sum; from where that overflows on by the incremental mean."""
    total, error, mean = value[lo], 0.0, 0.0
    incremental = False
    for k in range(lo + 1, hi):
        count = float(k - lo + 1)
        if not incremental:
            fresh, fresh_error = neumaier(total, error, value[k])
            if not np.isinf(fresh):
                total, error = fresh, fresh_error
                continue
            incremental = True
            mean = total / (count - 1)
            error /= count - 1
        part = (count - 1) / count
        mean, error = neumaier(part * mean, part * error, value[k] / count)
    if incremental:
        return mean + error
    return total / (hi - lo) + error / (hi - lo)


@njit(cache=True, nogil=True, error_model="numpy")
def prefixes(value, high, low, size, odd):  # type: ignore[no-untyped-def]
    """The compensated sum of the first k finite values as ``high[k] + low[k]``, the sum of their absolute values, and
    how many of the first k are not finite."""
    total = error = absolute = 0.0
    strange = 0
    high[0] = low[0] = size[0] = 0.0
    odd[0] = 0
    for k in range(len(value)):
        add = value[k]
        if not np.isfinite(add):
            strange += 1
            add = 0.0
        fresh = total + add
        back = fresh - total
        error += (total - (fresh - back)) + (add - back)
        total = fresh
        absolute += abs(add)
        high[k + 1] = total
        low[k + 1] = error
        size[k + 1] = absolute
        odd[k + 1] = strange


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def between(high, low, a, b):  # type: ignore[no-untyped-def]
    """The sum of the values from prefix ``a`` to prefix ``b``."""
    difference = high[b] - high[a]
    back = difference - high[b]
    lost = (high[b] - (difference - back)) - (high[a] + back)
    return difference + (lost + (low[b] - low[a]))


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def is_sound(total, size, b):  # type: ignore[no-untyped-def]
    """Whether a sum that ends with prefix ``b`` is right to a few units in the last place."""
    return float(b) * float(b) * _UNIT * size[b] <= abs(total)


@njit(cache=True, nogil=True, error_model="numpy")
def window_sums(offsets, times, value, ends_ms, range_ms, is_mean):  # type: ignore[no-untyped-def]
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    room = longest(offsets) + 1
    high, low, size = np.empty(room), np.empty(room), np.empty(room)
    odd = np.empty(room, np.int64)
    first, behind = np.empty(steps, np.int64), np.empty(steps, np.int64)
    for i in range(series):
        borders(i, offsets, times, ends_ms, range_ms, first, behind)
        values = value[offsets[i] : offsets[i + 1]]
        prefixes(values, high, low, size, odd)
        for j in range(steps):
            lo, hi = first[j], behind[j]
            if hi <= lo:
                continue
            present[i, j] = True
            if hi - lo > _SHORT and odd[lo] == odd[hi]:
                total = between(high, low, lo, hi)
                if is_sound(total, size, hi):
                    out[i, j] = total / (hi - lo) if is_mean else total
                    continue
            out[i, j] = direct_mean(values, lo, hi) if is_mean else direct_sum(values, lo, hi)
    return out, present


def _summing(is_mean: bool) -> Body:
    def fold(call: Call, windows: Windows, series: Mixed, step: int) -> FloatHistogram | None:
        _, samples = series.samples(step)
        voice = native.Voice(call.notes, series.metric)
        return native.mean(samples, voice) if is_mean else native.total(samples, voice)

    def body(call: Call, arguments: Sequence[Argument]) -> Result:
        windows = range_vector(arguments)
        value, present = run_sharing(window_sums, windows, is_mean)
        return with_histograms(call, windows, value, present, fold)

    return body


SUMS = {
    "sum_over_time": Function(_summing(is_mean=False)),
    "avg_over_time": Function(_summing(is_mean=True)),
}
