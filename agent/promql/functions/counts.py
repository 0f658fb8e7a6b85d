"""Functions that need of a sample only that it is there, when, or whether it differs from the one before:
count, present, first, last and ts_of_first/last _over_time, changes and resets.

Native histograms count as samples here, beside floats in the same window, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numba import njit

from agent.promql.functions.kinds import Argument, Body, Call, Function, Result, Windows
from agent.promql.functions.ranges import Mixed, mixed, range_vector, run, with_cell
from agent.promql.functions.slide import first_after, longest, reach
from agent.promql.values import Matrix

COUNT, PRESENT, FIRST, LAST, FIRST_TIME, LAST_TIME = range(6)
CHANGES, RESETS = range(2)


@njit(cache=True, nogil=True, error_model="numpy")
def edges(offsets, time_ms, value, ends_ms, range_ms, what):  # type: ignore[no-untyped-def]
    """What is told by the first and the last sample of a window; times in seconds."""
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
            present[i, j] = True
            if what == LAST:
                out[i, j] = value[hi - 1]
            elif what == COUNT:
                out[i, j] = hi - lo
            elif what == PRESENT:
                out[i, j] = 1.0
            elif what == FIRST:
                out[i, j] = value[lo]
            elif what == FIRST_TIME:
                out[i, j] = time_ms[lo] / 1000.0
            else:
                out[i, j] = time_ms[hi - 1] / 1000.0
    return out, present


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def differs(value, before, what):  # type: ignore[no-untyped-def]
    if what == RESETS:
        return value < before
    return value != before and not (np.isnan(value) and np.isnan(before))


@njit(cache=True, nogil=True, error_model="numpy")
def events(offsets, time_ms, value, ends_ms, range_ms, what):  # type: ignore[no-untyped-def]
    """How often a value differs from (CHANGES) or is below (RESETS) the one before it in a window."""
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    until = np.empty(longest(offsets) + 1, np.int64)  # events up to a sample, it included
    for i in range(series):
        start, stop = offsets[i], offsets[i + 1]
        until[0] = 0
        for k in range(start + 1, stop):
            until[k - start] = until[k - start - 1] + differs(value[k], value[k - 1], what)
        lo = hi = start
        for j in range(steps):
            hi = first_after(time_ms, hi, start, stop, ends_ms[j])
            lo = first_after(time_ms, lo, start, stop, ends_ms[j] - range_ms)
            if hi <= lo:
                continue
            out[i, j] = until[hi - 1 - start] - until[lo - start]
            present[i, j] = True
    return out, present


@njit(cache=True, nogil=True, error_model="numpy")
def anchored_events(offsets, time_ms, value, ends_ms, range_ms, lookback_ms, what):  # type: ignore[no-untyped-def]
    """changes or resets from the anchor on."""
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    for i in range(series):
        start, stop = offsets[i], offsets[i + 1]
        at = start
        for j in range(steps):
            end = ends_ms[j]
            first, last = reach(time_ms, at, start, stop, end - range_ms, end, lookback_ms, False)
            at = first
            if last < first:
                continue
            for k in range(first + 1, last + 1):
                out[i, j] += differs(value[k], value[k - 1], what)
            present[i, j] = True
    return out, present


Correct = Callable[[Windows, Mixed, int], Any]
"""The value of a step in which a series has histograms: a number or a ``FloatHistogram``."""


def _body(kernel: Callable[..., Any], what: int, correct: Correct) -> Body:
    def body(call: Call, arguments: Sequence[Argument]) -> Result:
        windows = range_vector(arguments)
        if windows.extension:
            return _anchored(windows, what)
        value, present = run(kernel, windows, what)
        result = Matrix(windows.selection.labels, value, present)
        for series in mixed(windows):
            for step in np.flatnonzero(series.has_histogram).tolist():
                cell = correct(windows, series, step)
                if isinstance(cell, float | int):
                    value[series.row, step], present[series.row, step] = cell, True
                else:
                    result = with_cell(result, series.row, step, cell)
        return result

    return body


def _anchored(windows: Windows, what: int) -> Matrix:
    """changes or resets from the anchor on, which is the last sample up to the beginning, of either kind."""
    value, present = run(anchored_events, windows, windows.lookback_ms, what)
    for series in mixed(replace(windows, range_ms=windows.range_ms + windows.lookback_ms)):
        for step in np.flatnonzero(series.has_histogram).tolist():
            samples = series.latest(windows.selection, step)
            begin = int(windows.ends_ms[step]) - windows.range_ms
            inside = sum(time > begin for time, _ in samples)
            present[series.row, step] = inside > 0
            value[series.row, step] = _events([one for _, one in samples[-(inside + 1) :]], what)
    return Matrix(windows.selection.labels, value, present)


def _count(windows: Windows, series: Mixed, step: int) -> int:
    floats = series.float_to[step] - series.float_from[step]
    return int(floats + series.to[step] - series.from_[step])


def _one(windows: Windows, series: Mixed, step: int) -> int:
    return 1


def _first(windows: Windows, series: Mixed, step: int) -> Any:
    times, samples = series.samples(step)
    at = series.float_from[step]
    if series.has_float[step] and windows.selection.time_ms[at] < times[0]:
        return float(windows.selection.value[at])
    return samples[0]


def _last(windows: Windows, series: Mixed, step: int) -> Any:
    times, samples = series.samples(step)
    at = series.float_to[step] - 1
    if series.has_float[step] and windows.selection.time_ms[at] > times[-1]:
        return float(windows.selection.value[at])
    return samples[-1]


def _first_time(windows: Windows, series: Mixed, step: int) -> float:
    times = [int(series.samples(step)[0][0])]
    if series.has_float[step]:
        times.append(int(windows.selection.time_ms[series.float_from[step]]))
    return min(times) / 1000


def _last_time(windows: Windows, series: Mixed, step: int) -> float:
    times = [int(series.samples(step)[0][-1])]
    if series.has_float[step]:
        times.append(int(windows.selection.time_ms[series.float_to[step] - 1]))
    return max(times) / 1000


def _counting(what: int) -> Correct:
    def count(windows: Windows, series: Mixed, step: int) -> int:
        return _events([sample for _, sample in series.latest(windows.selection, step)], what)

    return count


def _events(samples: Sequence[Any], what: int) -> int:
    return sum(_is_event(sample, before, what) for before, sample in pairwise(samples))


def _is_event(sample: Any, before: Any, what: int) -> bool:
    if isinstance(sample, float) != isinstance(before, float):
        return True
    if isinstance(sample, float) and isinstance(before, float):
        if what == RESETS:
            return sample < before
        return sample != before and not (math.isnan(sample) and math.isnan(before))
    return bool(sample.detect_reset(before)) if what == RESETS else not sample.equals(before)


COUNTS = {
    "count_over_time": Function(_body(edges, COUNT, _count)),
    "present_over_time": Function(_body(edges, PRESENT, _one)),
    "first_over_time": Function(_body(edges, FIRST, _first), drops_name=False),
    "last_over_time": Function(_body(edges, LAST, _last), drops_name=False),
    "ts_of_first_over_time": Function(_body(edges, FIRST_TIME, _first_time), experimental=True),
    "ts_of_last_over_time": Function(_body(edges, LAST_TIME, _last_time), experimental=True),
    "changes": Function(_body(events, CHANGES, _counting(CHANGES))),
    "resets": Function(_body(events, RESETS, _counting(RESETS))),
}
