"""Selections to matrices and range vectors, and back: what a selector means at the steps of a grid."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from agent.promql import kernels
from agent.promql.errors import ExecutionError
from agent.promql.functions.kinds import Windows
from agent.promql.values import Grid, Histograms, Matrix, Selection, Times
from agent.telemetry.frames import F64, I64, Bool
from agent.telemetry.native import CounterReset, FloatHistogram


def at_steps(selection: Selection, ends_ms: I64, lookback_ms: int, *, stamps: bool = False) -> Matrix:
    """The last sample of every series at every step; series without any are left out. ``stamps`` gives
    the time of the sample, in seconds, in its stead."""
    shape = (len(selection), len(ends_ms))
    out, present, filled = np.empty(shape), np.empty(shape, np.bool_), np.empty(shape[0], np.int64)
    value = selection.time_ms / 1000 if stamps else selection.value
    bits = selection.value.view(np.int64)
    times = (selection.times.start, selection.times.ms)
    kernels.look_back(selection.offsets, times, value, bits, ends_ms, lookback_ms, out, present, filled)
    if selection.histograms is not None and len(selection.histograms.time_ms):
        return _with_histograms(
            selection, ends_ms, lookback_ms, Matrix(selection.labels, out, present), stamps
        )
    if not (filled > 0).all():
        rows = np.flatnonzero(filled)
        return Matrix(selection.labels.take(rows), out[rows], present[rows])
    return Matrix(selection.labels, out, present)


def _with_histograms(
    selection: Selection, ends_ms: I64, lookback_ms: int, floats: Matrix, stamps: bool
) -> Matrix:
    histograms = selection.histograms
    assert histograms is not None  # noqa: S101  # the caller looked
    rows = np.empty(floats.value.shape, np.int64)
    float_rows = np.empty(floats.value.shape, np.int64)
    kernels.last_rows(histograms.offsets, histograms.time_ms, ends_ms, lookback_ms, rows)
    kernels.last_rows(selection.offsets, selection.time_ms, ends_ms, lookback_ms, float_rows)
    # Of a series that changed its kind the later sample counts, a stale marker among them.
    float_time = np.where(float_rows >= 0, _taken(selection.time_ms, float_rows), np.iinfo(np.int64).min)
    newer = (rows >= 0) & (_taken(histograms.time_ms, rows) > float_time)
    stale = np.fromiter((one.stale for one in histograms.sample), np.bool_, len(histograms.sample))
    shown = newer & ~stale[rows]
    present = floats.present & ~newer
    if stamps:
        value = np.where(shown, histograms.time_ms[rows] / 1000, floats.value)
        return pruned(Matrix(floats.labels, value, present | shown))
    cells = np.full(rows.shape, None, np.object_)
    cells[shown] = histograms.sample[rows[shown]]
    return pruned(Matrix(floats.labels, np.where(present, floats.value, 0.0), present, cells))


def _taken(column: I64, rows: I64) -> I64:
    """``column[rows]``, anything where the row is -1."""
    return column[rows] if len(column) else np.zeros(rows.shape, np.int64)


def without_stale(selection: Selection) -> Selection:
    """The selection less its stale markers."""
    bits = selection.value.view(np.int64)
    histograms = selection.histograms
    if selection.stale and kernels.count_stale(bits):
        kept, offsets = bits != kernels.STALE, selection.offsets
        offsets = _thinned(offsets, kept)
        times = Times(offsets[:-1], selection.time_ms[kept])
        selection = replace(selection, offsets=offsets, times=times, value=selection.value[kept], stale=False)
    if histograms is None or not len(histograms.sample):
        return replace(selection, histograms=None)
    fresh = np.fromiter((not one.stale for one in histograms.sample), np.bool_, len(histograms.sample))
    if fresh.all():
        return selection
    return replace(
        selection,
        histograms=Histograms(
            _thinned(histograms.offsets, fresh), histograms.time_ms[fresh], histograms.sample[fresh]
        ),
    )


def totals_only(selection: Selection) -> Selection:
    """The selection with histograms that have count and sum only, and say of every sample but the first of a
    series whether it is a reset, which buckets would have told."""
    histograms = selection.histograms
    if histograms is None:
        return selection
    sample = histograms.sample.copy()
    for start, stop in pairwise(histograms.offsets.tolist()):
        before: FloatHistogram | None = None
        for k in range(start, stop):
            one: FloatHistogram = histograms.sample[k]
            if one.stale:
                continue
            hint = one.hint
            if hint is CounterReset.UNKNOWN and before is not None:
                hint = CounterReset.RESET if one.detect_reset(before) else CounterReset.NOT_RESET
            sample[k] = FloatHistogram(count=one.count, sum=one.sum, hint=hint)
            before = one
    return replace(selection, histograms=replace(histograms, sample=sample))


def _thinned(offsets: I64, kept: Bool) -> I64:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])[offsets]


def selection_of(matrix: Matrix, times_ms: I64) -> Selection:
    """A subquery's matrix as the samples of series. Hints of counter resets say nothing any more: the
    samples in between are not there."""
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(matrix.present.sum(axis=1))])
    columns = np.nonzero(matrix.present)[1]
    histograms = None
    if matrix.histogram is not None:
        there = matrix.histogram != None  # noqa: E711  # element by element
        sample = np.empty(int(there.sum()), np.object_)
        sample[:] = [_unhinted(one) for one in matrix.histogram[there]]
        counts = np.concatenate([np.zeros(1, np.int64), np.cumsum(there.sum(axis=1))])
        histograms = Histograms(counts, times_ms[np.nonzero(there)[1]], sample)
    return Selection(matrix.labels, offsets, times_ms[columns], matrix.value[matrix.present], histograms)


def _unhinted(histogram: FloatHistogram) -> FloatHistogram:
    if histogram.hint in (CounterReset.RESET, CounterReset.NOT_RESET):
        return histogram.hinted(CounterReset.UNKNOWN)
    return histogram


def cut(windows: Windows) -> Selection:
    """The one window of an instant query as a selection of its own; series without samples are left out."""
    if windows.extension:
        return _extended(windows)
    selection, end = windows.selection, int(windows.ends_ms[0])
    inside = (selection.time_ms > end - windows.range_ms) & (selection.time_ms <= end)
    offsets, histograms = _thinned(selection.offsets, inside), selection.histograms
    counts = np.diff(offsets)
    if histograms is not None:
        kept = (histograms.time_ms > end - windows.range_ms) & (histograms.time_ms <= end)
        own = _thinned(histograms.offsets, kept)
        histograms = Histograms(own, histograms.time_ms[kept], histograms.sample[kept])
        counts = counts + np.diff(own)
    rows = np.flatnonzero(counts)
    if histograms is not None:
        histograms = replace(histograms, offsets=_kept_offsets(histograms.offsets, rows))
    return Selection(
        selection.labels.take(rows),
        _kept_offsets(offsets, rows),
        selection.time_ms[inside],
        selection.value[inside],
        histograms,
    )


def reordered(selection: Selection, rows: I64) -> Selection:
    """The series in another order."""
    histograms = selection.histograms
    if histograms is not None:
        offsets, samples = _moved(histograms.offsets, rows)
        histograms = Histograms(offsets, histograms.time_ms[samples], histograms.sample[samples])
    offsets, samples = _moved(selection.offsets, rows)
    return Selection(
        selection.labels.take(rows), offsets, selection.time_ms[samples], selection.value[samples], histograms
    )


def _moved(offsets: I64, rows: I64) -> tuple[I64, I64]:
    """``(offsets of the rows, which samples they have)``."""
    moved = _kept_offsets(offsets, rows)
    shift = np.repeat(offsets[:-1][rows] - moved[:-1], np.diff(moved))
    return moved, np.arange(moved[-1]) + shift


def _extended(windows: Windows) -> Selection:
    """The one window of an ``anchored`` or ``smoothed`` selector: with a sample at each end of the range. Raises
    ExecutionError where it holds histograms."""
    selection, end = windows.selection, int(windows.ends_ms[0])
    if selection.histograms is not None and len(selection.histograms.time_ms):
        raise ExecutionError(f"{windows.extension} modifier is not supported with histograms")
    begin, back = end - windows.range_ms, windows.lookback_ms
    smooth = windows.extension == "smoothed"
    rows, times, values = [], [], []
    for i in range(len(selection)):
        part = slice(selection.offsets[i], selection.offsets[i + 1])
        time, value = selection.time_ms[part], selection.value[part]
        near = (time > begin - back) & (time <= (end + back if smooth else end))
        time, value = time[near], value[near]
        if not len(time) or time[-1] <= begin:
            continue
        inside = (time > begin) & (time < end)
        edges = _edge(time, value, begin, smooth), _edge(time, value, end, smooth)
        rows.append(i)
        times.append(np.concatenate([[begin], time[inside], [end]]))
        values.append(np.concatenate([edges[:1], value[inside], edges[1:]]))
    offsets = np.cumsum([0, *(len(one) for one in times)])
    return Selection(
        selection.labels.take(np.array(rows, np.int64)),
        offsets.astype(np.int64),
        np.concatenate([np.empty(0, np.int64), *times]).astype(np.int64),
        np.concatenate([np.empty(0), *values]),
    )


def _edge(time: I64, value: F64, at: int, smooth: bool) -> float:
    """The value at an end of the range: on the line between its neighbours, or that of the sample before; of
    the next one where there is none before."""
    behind = int(np.searchsorted(time, at, side="right"))
    if behind == 0:
        return float(value[0])
    if smooth and behind < len(time) and time[behind - 1] < at:
        return float(np.interp(at, time[behind - 1 : behind + 1], value[behind - 1 : behind + 1]))
    return float(value[behind - 1])


def _kept_offsets(offsets: I64, rows: I64) -> I64:
    """The offsets of some rows; those left out have no samples."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.diff(offsets)[rows])])


def pruned(matrix: Matrix) -> Matrix:
    """The matrix less the series that have nothing at any step, and less histograms where it has none."""
    filled, histogram = matrix.present.any(axis=1), matrix.histogram
    if histogram is not None:
        there = (histogram != None).any(axis=1)  # noqa: E711  # element by element
        if not there.any():
            histogram, matrix = None, replace(matrix, histogram=None)
        filled = filled | there
    return matrix if filled.all() else taken(matrix, np.flatnonzero(filled))


def taken(matrix: Matrix, rows: I64) -> Matrix:
    return Matrix(
        matrix.labels.take(rows),
        matrix.value[rows],
        matrix.present[rows],
        None if matrix.histogram is None else matrix.histogram[rows],
        matrix.drop_name[rows] if len(matrix.drop_name) else matrix.drop_name,
    )


def stretched(matrix: Matrix, steps: int) -> Matrix:
    """One step repeated."""
    return Matrix(
        matrix.labels,
        np.repeat(matrix.value, steps, axis=1),
        np.repeat(matrix.present, steps, axis=1),
        None if matrix.histogram is None else np.repeat(matrix.histogram, steps, axis=1),
        matrix.drop_name,
    )


def holds_histogram(matrix: Matrix) -> Bool:
    """Where a cell is a histogram."""
    if matrix.histogram is None:
        return np.zeros(matrix.present.shape, np.bool_)
    found: Bool = matrix.histogram != None  # noqa: E711  # element by element
    return found


def dropped(matrix: Matrix) -> Bool:
    """``drop_name`` for every row."""
    return matrix.drop_name if len(matrix.drop_name) else np.zeros(len(matrix), np.bool_)


def subquery_grid(grid: Grid, range_ms: int, step_ms: int, shift_ms: int) -> Grid:
    """The steps of a subquery at all of ``grid``, ``shift_ms`` before it: multiples of its own step, after
    the first range's (open) beginning."""
    first = grid.start_ms - shift_ms - range_ms
    last_step = grid.start_ms + (len(grid) - 1) * max(1, grid.step_ms)
    return Grid((first // step_ms + 1) * step_ms, last_step - shift_ms, step_ms)
