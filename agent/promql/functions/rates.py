"""rate, increase, delta, irate and idelta: the kernels over floats, and where histograms come in.

The extrapolation is that of Prometheus 3 (``extrapolatedRate``): to the border of the range where the first
or last sample is closer to it than 1.1 average intervals, by half an interval otherwise, and for counters
never below zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit

from agent.promql.functions import native, texts
from agent.promql.functions.extended import extended_rate
from agent.promql.functions.kinds import Argument, Body, Call, Function, Result, Windows
from agent.promql.functions.ranges import (
    Mixed,
    mixed,
    range_vector,
    run,
    with_cell,
    with_histograms,
)
from agent.promql.functions.slide import first_after, longest
from agent.promql.values import Matrix
from agent.telemetry.labels import METRIC_NAME
from agent.telemetry.native import FloatHistogram

COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


@njit(cache=True, nogil=True, error_model="numpy")
def _reset_rows(value, start, stop, rows):  # type: ignore[no-untyped-def]
    """Writes the rows of ``start:stop`` that are below the row before; returns how many."""
    found = 0
    for k in range(start + 1, stop):
        rows[found] = k
        found += value[k] < value[k - 1]
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _rises(offsets_of, time_ms, value, ends_ms, range_ms, resets, windows):  # type: ignore[no-untyped-def]
    """What a counter or gauge did in every window of one series: see ``extrapolated`` for ``windows``.
    ``resets`` are the rows of the counter's resets, none of a gauge."""
    start, stop = offsets_of
    first_ms, last_ms, count, rises, firsts = windows
    lo = hi = start
    r = 0
    for j in range(len(ends_ms)):
        hi = first_after(time_ms, hi, start, stop, ends_ms[j])
        lo = first_after(time_ms, lo, start, stop, ends_ms[j] - range_ms)
        count[j] = hi - lo
        if hi - lo < 2:
            first_ms[j], last_ms[j], rises[j], firsts[j] = 0, 1, 0.0, -1.0
            continue
        rise = value[hi - 1] - value[lo]
        if len(resets):
            while r > 0 and resets[r - 1] > lo:
                r -= 1
            while r < len(resets) and resets[r] <= lo:
                r += 1
            k = r
            while k < len(resets) and resets[k] < hi:
                rise += value[resets[k] - 1]
                k += 1
        first_ms[j], last_ms[j], rises[j], firsts[j] = time_ms[lo], time_ms[hi - 1], rise, value[lo]


@njit(cache=True, nogil=True, error_model="numpy")
def _stretch(windows, ends_ms, range_ms, is_counter, per_s, out):  # type: ignore[no-untyped-def]
    """The rises stretched to the whole range; without a branch, so that the processor takes several at once.
    Windows without two samples get any number."""
    first_ms, last_ms, count, rises, firsts = windows
    for j in range(len(ends_ms)):
        to_start = (first_ms[j] - (ends_ms[j] - range_ms)) / 1000.0
        to_end = (ends_ms[j] - last_ms[j]) / 1000.0
        sampled = (last_ms[j] - first_ms[j]) / 1000.0
        average = sampled / (count[j] - 1)
        threshold = average * 1.1
        half = average / 2
        to_start = half if to_start >= threshold else to_start
        if is_counter:
            to_zero = sampled * (firsts[j] / rises[j])
            bounded = (firsts[j] >= 0) & (rises[j] > 0) & (to_zero < to_start)
            to_start = to_zero if bounded else to_start
        to_end = half if to_end >= threshold else to_end
        factor = (sampled + to_start + to_end) / sampled
        out[j] = rises[j] * (factor / per_s)


@njit(cache=True, nogil=True, error_model="numpy")
def extrapolated(offsets, time_ms, value, ends_ms, range_ms, is_counter, is_rate):  # type: ignore[no-untyped-def]
    """rate (counter, rate), increase (counter) or delta (neither)."""
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    resets = np.empty(longest(offsets) + 1, np.int64)
    # Of every window of a series: times of the first and the last sample, how many, rise, first value.
    count, rises = np.empty(steps, np.int64), np.empty(steps)
    windows = (np.empty(steps, np.int64), np.empty(steps, np.int64), count, rises, np.empty(steps))
    per_s = range_ms / 1000.0 if is_rate else 1.0
    for i in range(series):
        start, stop = offsets[i], offsets[i + 1]
        found = _reset_rows(value, start, stop, resets) if is_counter else 0
        _rises((start, stop), time_ms, value, ends_ms, range_ms, resets[:found], windows)
        _stretch(windows, ends_ms, range_ms, is_counter, per_s, out[i])
        for j in range(steps):
            present[i, j] = count[j] >= 2
            if count[j] < 2:
                out[i, j] = 0.0
    return out, present


@njit(cache=True, nogil=True, error_model="numpy")
def instant(offsets, time_ms, value, ends_ms, range_ms, is_rate):  # type: ignore[no-untyped-def]
    """irate (rate) or idelta: the last two samples of a window."""
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    for i in range(series):
        start, stop = offsets[i], offsets[i + 1]
        lo = hi = start
        for j in range(steps):
            hi = first_after(time_ms, hi, start, stop, ends_ms[j])
            lo = first_after(time_ms, lo, start, stop, ends_ms[j] - range_ms)
            if hi - lo < 2 or time_ms[hi - 1] == time_ms[hi - 2]:
                continue
            last, before = value[hi - 1], value[hi - 2]
            rise = last if is_rate and last < before else last - before
            out[i, j] = rise / ((time_ms[hi - 1] - time_ms[hi - 2]) / 1000.0) if is_rate else rise
            present[i, j] = True
    return out, present


def doubt_counters(call: Call, result: Matrix) -> None:
    """Notes the metrics that have a result and do not carry the name of a counter."""
    labels = result.labels
    if METRIC_NAME not in labels.names:
        return
    place = labels.names.index(METRIC_NAME)
    values = labels.values[place]
    for code in np.unique(labels.codes[:, place]).tolist():
        if code < 0 or values[code].endswith(COUNTER_SUFFIXES):
            continue
        if result.present[labels.codes[:, place] == code].any():
            call.notes.info(texts.not_a_counter(values[code]))


def _extrapolating(is_counter: bool, is_rate: bool) -> Body:
    def fold(call: Call, windows: Windows, series: Mixed, step: int) -> FloatHistogram | None:
        times, samples = series.samples(step)
        end_ms = int(windows.ends_ms[step])
        span = native.Span(end_ms - windows.range_ms, end_ms)
        voice = native.Voice(call.notes, series.metric)
        if is_counter:
            return native.rate(times, samples, span, voice, per_second=is_rate)
        return native.delta(times, samples, span, voice)

    def body(call: Call, arguments: Sequence[Argument]) -> Result:
        windows = range_vector(arguments)
        if windows.extension:
            result = extended_rate(call, windows, is_counter=is_counter, is_rate=is_rate)
        else:
            value, present = run(extrapolated, windows, is_counter, is_rate)
            result = with_histograms(call, windows, value, present, fold)
        if is_counter:
            doubt_counters(call, result)
        return result

    return body


def _instant(is_rate: bool) -> Body:
    def body(call: Call, arguments: Sequence[Argument]) -> Result:
        windows = range_vector(arguments)
        value, present = run(instant, windows, is_rate)
        result = Matrix(windows.selection.labels, value, present)
        for series in mixed(windows):
            for step in np.flatnonzero(series.has_histogram).tolist():
                result = _last_two(call, windows, series, step, result, is_rate)
        return result

    return body


def _last_two(
    call: Call, windows: Windows, series: Mixed, step: int, result: Matrix, is_rate: bool
) -> Matrix:
    """The result with the cell of a window that holds histograms: the last two samples, which must both be
    floats or both be histograms."""
    latest = series.latest(windows.selection, step, 2)
    kinds = {isinstance(sample, float) for _, sample in latest}
    if kinds == {True}:
        return result
    result.present[series.row, step] = False
    if len(kinds) == 2:
        call.notes.warning(texts.mixed_samples(series.metric))
        return result
    times, samples = series.samples(step)
    voice = native.Voice(call.notes, series.metric)
    folded = native.instant(times, samples, voice, is_rate=is_rate)
    return result if folded is None else with_cell(result, series.row, step, folded)


RATES = {
    "rate": Function(_extrapolating(is_counter=True, is_rate=True)),
    "increase": Function(_extrapolating(is_counter=True, is_rate=False)),
    "delta": Function(_extrapolating(is_counter=False, is_rate=False)),
    "irate": Function(_instant(is_rate=True)),
    "idelta": Function(_instant(is_rate=False)),
}
