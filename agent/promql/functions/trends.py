"""deriv, predict_linear and double_exponential_smoothing: the line or the trend through every window.

The line is the least-squares fit over seconds, with the sums compensated as in Prometheus
(``linearRegression``); times are taken from a moment near the samples, so that they stay small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from agent.promql.errors import ExecutionError
from agent.promql.functions.kinds import Argument, Call, Function, Result
from agent.promql.functions.ranges import floats_of, numbers, over_floats, range_vector, run
from agent.promql.functions.slide import first_after
from agent.promql.functions.sums import neumaier
from agent.telemetry.frames import F64


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _added(total, error, add):  # type: ignore[no-untyped-def]
    """``neumaier`` without a branch (TwoSum): the same bits as long as nothing overflows."""
    fresh = total + add
    back = fresh - total
    return fresh, error + ((total - (fresh - back)) + (add - back))


@njit(cache=True, nogil=True, error_model="numpy")
def _sums(time_ms, value, lo, hi, origin_ms):  # type: ignore[no-untyped-def]
    """The sums of x, y, xy and xx; not finite where one overflows, or a value is not finite."""
    x_sum = x_error = y_sum = y_error = xy_sum = xy_error = xx_sum = xx_error = 0.0
    for k in range(lo, hi):
        x = (time_ms[k] - origin_ms) / 1000.0
        y = value[k]
        x_sum, x_error = _added(x_sum, x_error, x)
        y_sum, y_error = _added(y_sum, y_error, y)
        xy_sum, xy_error = _added(xy_sum, xy_error, x * y)
        xx_sum, xx_error = _added(xx_sum, xx_error, x * x)
    return x_sum + x_error, y_sum + y_error, xy_sum + xy_error, xx_sum + xx_error


@njit(cache=True, nogil=True, error_model="numpy")
def _careful_sums(time_ms, value, lo, hi, origin_ms):  # type: ignore[no-untyped-def]
    """As ``_sums``, as Prometheus takes them."""
    x_sum = x_error = y_sum = y_error = xy_sum = xy_error = xx_sum = xx_error = 0.0
    for k in range(lo, hi):
        x = (time_ms[k] - origin_ms) / 1000.0
        y = value[k]
        x_sum, x_error = neumaier(x_sum, x_error, x)
        y_sum, y_error = neumaier(y_sum, y_error, y)
        xy_sum, xy_error = neumaier(xy_sum, xy_error, x * y)
        xx_sum, xx_error = neumaier(xx_sum, xx_error, x * x)
    return x_sum + x_error, y_sum + y_error, xy_sum + xy_error, xx_sum + xx_error


@njit(cache=True, nogil=True, error_model="numpy")
def line(time_ms, value, lo, hi, origin_ms):  # type: ignore[no-untyped-def]
    """``(slope a second, value at origin_ms)`` of the samples ``lo:hi``, at least two."""
    same = lo + 1
    while same < hi and value[same] == value[lo]:
        same += 1
    if same == hi:
        return (np.nan, np.nan) if np.isinf(value[lo]) else (0.0, value[lo])
    x, y, xy, xx = _sums(time_ms, value, lo, hi, origin_ms)
    if not np.isfinite(y + xy):
        x, y, xy, xx = _careful_sums(time_ms, value, lo, hi, origin_ms)
    count = float(hi - lo)
    covariance = xy - x * y / count
    spread = xx - x * x / count
    slope = covariance / spread
    return slope, y / count - slope * x / count


@njit(cache=True, nogil=True, error_model="numpy")
def slopes(offsets, time_ms, value, ends_ms, range_ms):  # type: ignore[no-untyped-def]
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    for i in range(series):
        start, stop = offsets[i], offsets[i + 1]
        lo = hi = start
        for j in range(steps):
            hi = first_after(time_ms, hi, start, stop, ends_ms[j])
            lo = first_after(time_ms, lo, start, stop, ends_ms[j] - range_ms)
            if hi - lo < 2:
                continue
            out[i, j] = line(time_ms, value, lo, hi, time_ms[lo])[0]
            present[i, j] = True
    return out, present


@njit(cache=True, nogil=True, error_model="numpy")
def predictions(offsets, time_ms, value, ends_ms, range_ms, now_ms, ahead_s):  # type: ignore[no-untyped-def]
    """The line's value ``ahead_s[j]`` after ``now_ms[j]``, the time of the step."""
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    for i in range(series):
        start, stop = offsets[i], offsets[i + 1]
        lo = hi = start
        for j in range(steps):
            hi = first_after(time_ms, hi, start, stop, ends_ms[j])
            lo = first_after(time_ms, lo, start, stop, ends_ms[j] - range_ms)
            if hi - lo < 2:
                continue
            slope, now = line(time_ms, value, lo, hi, now_ms[j])
            out[i, j] = slope * ahead_s[j] + now
            present[i, j] = True
    return out, present


@njit(cache=True, nogil=True, error_model="numpy")
def smoothed(offsets, time_ms, value, ends_ms, range_ms, smoothing, trends):  # type: ignore[no-untyped-def]
    """Holt's double exponential smoothing with the factors of each step."""
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    for i in range(series):
        start, stop = offsets[i], offsets[i + 1]
        lo = hi = start
        for j in range(steps):
            hi = first_after(time_ms, hi, start, stop, ends_ms[j])
            lo = first_after(time_ms, lo, start, stop, ends_ms[j] - range_ms)
            if hi - lo < 2:
                continue
            before, level = 0.0, value[lo]
            slope = value[lo + 1] - value[lo]
            for k in range(lo + 1, hi):
                if k > lo + 1:
                    slope = trends[j] * (level - before) + (1 - trends[j]) * slope
                before, level = (
                    level,
                    smoothing[j] * value[k] + (1 - smoothing[j]) * (level + slope),
                )
            out[i, j] = level
            present[i, j] = True
    return out, present


def _predict_linear(call: Call, arguments: Sequence[Argument]) -> Result:
    windows, ahead_s = range_vector(arguments), numbers(arguments, 1)
    value, present = run(predictions, windows, call.grid.times, ahead_s)
    return floats_of(call, windows, value, present)


def _double_exponential_smoothing(call: Call, arguments: Sequence[Argument]) -> Result:
    windows = range_vector(arguments)
    smoothing, trends = numbers(arguments, 1), numbers(arguments, 2)
    if len(windows.selection):
        _check_factor("smoothing", "sf", smoothing)
        _check_factor("trend", "tf", trends)
    value, present = run(smoothed, windows, smoothing, trends)
    return floats_of(call, windows, value, present)


def _check_factor(name: str, short: str, factors: F64) -> None:
    wrong = (factors <= 0) | (factors >= 1)
    if wrong.any():
        got = factors[wrong][0]
        raise ExecutionError(f"invalid {name} factor. Expected: 0 < {short} < 1, got: {got:f}")


TRENDS = {
    "deriv": Function(over_floats(slopes)),
    "predict_linear": Function(_predict_linear),
    "double_exponential_smoothing": Function(_double_exponential_smoothing, experimental=True),
}
