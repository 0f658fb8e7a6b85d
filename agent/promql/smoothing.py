"""``smoothed`` instant vectors: every series on the line between its samples around each step.

Past the last sample its value stands, before the first there is none; neither way farther than the look-back.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.promql import kernels
from agent.promql.annotations import Annotations, PlacedNotes
from agent.promql.functions import native, texts
from agent.promql.functions.extended import between
from agent.promql.selectors import pruned, without_stale
from agent.promql.values import Histograms, Matrix, Selection
from agent.telemetry.frames import I64
from agent.telemetry.labels import METRIC_NAME
from agent.telemetry.native import CounterReset, FloatHistogram, IncompatibleSchemas


def smoothed(selection: Selection, ends_ms: I64, lookback_ms: int, notes: Annotations, pos: int) -> Matrix:
    """The interpolated value of every series at every step. Annotations point to ``pos``."""
    fresh = without_stale(selection)
    out = np.empty((len(fresh), len(ends_ms)))
    present = np.empty(out.shape, np.bool_)
    kernels.interpolate(fresh.offsets, fresh.time_ms, fresh.value, ends_ms, lookback_ms, out, present)
    result = Matrix(fresh.labels, out, present)
    if fresh.histograms is not None:
        result = _with_histograms(result, fresh, fresh.histograms, (ends_ms, lookback_ms), notes, pos)
    return pruned(result)


def _with_histograms(
    result: Matrix,
    fresh: Selection,
    histograms: Histograms,
    reach: tuple[I64, int],
    notes: Annotations,
    pos: int,
) -> Matrix:
    """Series by series; a step that reaches both kinds of samples has no result."""
    ends_ms, lookback_ms = reach
    cells = np.full(result.value.shape, None, np.object_)
    names, placed = fresh.labels.column(METRIC_NAME), PlacedNotes(notes, pos)
    for row in np.flatnonzero(np.diff(histograms.offsets)).tolist():
        own = slice(int(histograms.offsets[row]), int(histograms.offsets[row + 1]))
        floats = fresh.time_ms[fresh.offsets[row] : fresh.offsets[row + 1]]
        for step, end in enumerate(ends_ms.tolist()):
            first, last = np.searchsorted(
                histograms.time_ms[own], (end - lookback_ms, end + lookback_ms), "right"
            ).tolist()
            if first == last:
                continue
            if ((floats > end - lookback_ms) & (floats <= end + lookback_ms)).any():
                placed.warning(texts.mixed_samples(names[row]))
                result.present[row, step] = False
                continue
            near = slice(own.start + first, own.start + last)
            voice = native.Voice(placed, names[row])
            cells[row, step] = _at(histograms.time_ms[near], histograms.sample[near].tolist(), end, voice)
    return replace(result, histogram=cells)


def _at(
    time_ms: I64, samples: list[FloatHistogram], end_ms: int, voice: native.Voice
) -> FloatHistogram | None:
    """One cell. The pair around the step is a counter unless both are gauges."""
    behind = int(np.searchsorted(time_ms, end_ms))
    if behind < len(samples) and time_ms[behind] == end_ms:
        return samples[behind]
    if behind == 0:
        return None
    before = samples[behind - 1]
    if behind == len(samples):
        return before.hinted(CounterReset.UNKNOWN)
    after = samples[behind]
    part = (end_ms - int(time_ms[behind - 1])) / int(time_ms[behind] - time_ms[behind - 1])
    is_counter = not before.hint == after.hint == CounterReset.GAUGE
    try:
        if before.custom != after.custom:
            raise IncompatibleSchemas
        return between(before, after, part, voice, is_counter=is_counter)
    except IncompatibleSchemas:
        voice.mixed_schemas()
        return None
