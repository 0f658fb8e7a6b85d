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
    run_sharing,
    with_cell,
    with_histograms,
)
from agent.promql.functions.slide import first_after, longest
from agent.promql.kernels import alike
from agent.promql.values import Matrix
from agent.telemetry.labels import METRIC_NAME
from agent.telemetry.native import FloatHistogram

COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


@njit(cache=True, nogil=True, error_model="numpy")
def _reset_rows(value, rows):  # type: ignore[no-untyped-def]
    """Writes the rows of values that are below the one before; returns how many. Most counters have none, which is
    told several values at once."""
    before, behind = value[:-1], value[1:]
    resets = 0
    for k in range(len(behind)):
        resets += behind[k] < before[k]
    if resets == 0:
        return 0
    found = 0
    for k in range(1, len(value)):
        rows[found] = k
        found += value[k] < value[k - 1]
    return found


@njit(cache=True, nogil=True, error_model="numpy")
def _rises_alone(offsets_of, time_ms, value, ends_ms, range_ms, resets, windows):  # type: ignore[no-untyped-def]
    """What a counter or gauge did in every window of one series: see ``alone`` in ``extrapolated`` for ``windows``.
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
def _stretch_alone(windows, ends_ms, range_ms, is_counter, per_s, out):  # type: ignore[no-untyped-def]
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
def _window_times(time_ms, ends_ms, range_ms, per_s, windows):  # type: ignore[no-untyped-def]
    """What of ``extrapolated`` the times of a series alone decide, for every window of it."""
    first, last, enough, sampled_s, to_start_s, to_end_s, factor, bound = windows
    lo = hi = 0
    for j in range(len(ends_ms)):
        hi = first_after(time_ms, hi, 0, len(time_ms), ends_ms[j])
        lo = first_after(time_ms, lo, 0, len(time_ms), ends_ms[j] - range_ms)
        enough[j] = hi - lo > 1
        if not enough[j]:
            first[j], last[j], factor[j], bound[j] = 0, 0, 0.0, -1.0
            continue
        first[j], last[j] = lo, hi - 1
        sampled = (time_ms[hi - 1] - time_ms[lo]) / 1000.0
        to_start = (time_ms[lo] - (ends_ms[j] - range_ms)) / 1000.0
        to_end = (ends_ms[j] - time_ms[hi - 1]) / 1000.0
        average = sampled / (hi - lo - 1)
        threshold, half = average * 1.1, average / 2
        to_start = half if to_start >= threshold else to_start
        to_end = half if to_end >= threshold else to_end
        sampled_s[j], to_start_s[j], to_end_s[j] = sampled, to_start, to_end
        factor[j] = (sampled + to_start + to_end) / sampled / per_s
        bound[j] = to_start / sampled * (1 + 1e-9)  # a little more: whoever is near is looked at closely


@njit(cache=True, nogil=True, error_model="numpy")
def _add_resets(value, resets, first, last, rise):  # type: ignore[no-untyped-def]
    """Add to the rise of every window what its counter had lost, in the order of time."""
    r = 0
    for j in range(len(rise)):
        lo, hi = np.int64(first[j]), np.int64(last[j])
        while r > 0 and resets[r - 1] > lo:
            r -= 1
        while r < len(resets) and resets[r] <= lo:
            r += 1
        k = r
        while k < len(resets) and resets[k] <= hi:
            rise[j] += value[resets[k] - 1]
            k += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _any_near_zero(value, first, bound, rise):  # type: ignore[no-untyped-def]
    """Whether a line back from the first value of some window may cross zero within the range."""
    near = 0
    for j in range(len(rise)):
        start = value[first[j]]
        near += (start >= 0) & (rise[j] > 0) & (start <= rise[j] * bound[j])
    return near > 0


@njit(cache=True, nogil=True, error_model="numpy")
def _stretch_from_zero(value, windows, per_s, rise):  # type: ignore[no-untyped-def]
    """The rises of a counter stretched to the whole range, and not below zero."""
    first, _, _, sampled_s, to_start_s, to_end_s, factor, bound = windows
    for j in range(len(rise)):
        by, start, risen = factor[j], value[first[j]], rise[j]
        if start >= 0 and risen > 0 and start <= risen * bound[j]:
            to_zero = sampled_s[j] * (start / risen)
            if to_zero < to_start_s[j]:
                by = (sampled_s[j] + to_zero + to_end_s[j]) / sampled_s[j] / per_s
        rise[j] = risen * by


@njit(cache=True, nogil=True, error_model="numpy")
def extrapolated(offsets, shared, value, ends_ms, range_ms, is_counter, is_rate):  # type: ignore[no-untyped-def]
    """rate (counter, rate), increase (counter) or delta (neither). Series that were scraped together have the
    same times, and lie side by side: what these decide is worked out once."""
    series, steps = len(offsets) - 1, len(ends_ms)
    start, time_ms = shared
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    resets = np.empty(longest(offsets) + 1, np.int64)
    per_s = range_ms / 1000.0 if is_rate else 1.0
    # Of every window of a series: its first and last row, whether these are two; seconds sampled, to its start, to
    # its end; what a rise is taken times; how large a first value may be, in rises, to matter. Rows without a sign
    # spare the look whether they count from the end.
    first, last, enough = np.empty(steps, np.uint64), np.empty(steps, np.uint64), np.empty(steps, np.bool_)
    factor, bound = np.empty(steps), np.empty(steps)
    windows = (first, last, enough, np.empty(steps), np.empty(steps), np.empty(steps), factor, bound)
    # Of the windows of a series that is like none before it: times of the first and last sample, how many, rise,
    # first value.
    count, rises = np.empty(steps, np.int64), np.empty(steps)
    alone = (np.empty(steps, np.int64), np.empty(steps, np.int64), count, rises, np.empty(steps))
    before, before_start, known = time_ms[:0], np.int64(-1), False
    for i in range(series):
        values = value[offsets[i] : offsets[i + 1]]
        times = time_ms[start[i] : start[i] + len(values)]
        if len(times) < 2:
            continue
        found = _reset_rows(values, resets) if is_counter else 0
        rise = out[i]
        same = start[i] == before_start and len(times) == len(before)
        if not same and not alike(times, before):
            before, before_start, known = times, start[i], False
            _rises_alone((0, len(times)), times, values, ends_ms, range_ms, resets[:found], alone)
            _stretch_alone(alone, ends_ms, range_ms, is_counter, per_s, rise)
            for j in range(steps):
                present[i, j] = count[j] >= 2
                if count[j] < 2:
                    rise[j] = 0.0
            continue
        if not known:
            _window_times(times, ends_ms, range_ms, per_s, windows)
            known = True
        for j in range(steps):
            rise[j] = values[last[j]] - values[first[j]]
        if found:
            _add_resets(values, resets[:found], first, last, rise)
        if is_counter and _any_near_zero(values, first, bound, rise):
            _stretch_from_zero(values, windows, per_s, rise)
        else:
            for j in range(steps):
                rise[j] *= factor[j]
        for j in range(steps):
            present[i, j] = enough[j]
            if not enough[j]:
                rise[j] = 0.0
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
            value, present = run_sharing(extrapolated, windows, is_counter, is_rate)
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
