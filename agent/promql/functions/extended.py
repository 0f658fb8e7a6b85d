"""The range functions under ``anchored`` and ``smoothed``: what they take from outside of the range.

Anchored, a range begins with the last sample at or before its beginning; smoothed, it begins and ends on the
line between the samples around each border (from zero where a counter was reset between them). Both look no
farther than the look-back, and neither extrapolates.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.promql.functions import native, texts
from agent.promql.functions.kinds import Call, Windows
from agent.promql.functions.ranges import run, with_cell
from agent.promql.functions.slide import reach
from agent.promql.values import Matrix, Objects
from agent.telemetry.frames import I64
from agent.telemetry.labels import METRIC_NAME
from agent.telemetry.native import CounterReset, FloatHistogram, IncompatibleSchemas

SMOOTHED = "smoothed"


@njit(cache=True, nogil=True, error_model="numpy")
def _on_the_line(time_ms, value, row, at_ms, is_counter):  # type: ignore[no-untyped-def]
    """The value at a time between two rows; after a reset the line begins at zero."""
    before, after = value[row], value[row + 1]
    if is_counter and after < before:
        before = 0.0
    part = after - before
    return before + part * float(at_ms - time_ms[row]) / float(time_ms[row + 1] - time_ms[row])


@njit(cache=True, nogil=True, error_model="numpy")
def extended_rates(offsets, time_ms, value, ends_ms, range_ms, lookback_ms, is_smoothed, is_counter, per_s):  # type: ignore[no-untyped-def]
    """The rise from border to border, by ``per_s``."""
    series, steps = len(offsets) - 1, len(ends_ms)
    out = np.zeros((series, steps))
    present = np.zeros((series, steps), np.bool_)
    for i in range(series):
        start, stop = offsets[i], offsets[i + 1]
        at = start
        for j in range(steps):
            end = ends_ms[j]
            begin = end - range_ms
            first, last = reach(time_ms, at, start, stop, begin, end, lookback_ms, is_smoothed)
            at = first
            if last < first:
                continue
            left, right = value[first], value[last]
            if is_smoothed and time_ms[first] < begin:
                left = _on_the_line(time_ms, value, first, begin, is_counter)
            if is_smoothed and last > first and time_ms[last] > end:
                right = _on_the_line(time_ms, value, last - 1, end, is_counter)
            rise = right - left
            before, lost = left, 0.0
            if is_counter:
                inner = first + (1 if time_ms[first] <= begin else 0)
                outer = last - (1 if time_ms[last] >= end else 0)
                for k in range(inner, outer + 1):
                    if value[k] < before:
                        lost += before
                    before = value[k]
                if right < before:
                    lost += before
            out[i, j] = (rise + lost) / per_s
            present[i, j] = True
    return out, present


def extended_rate(call: Call, windows: Windows, *, is_counter: bool, is_rate: bool) -> Matrix:
    """rate, increase or delta of an anchored or smoothed range."""
    per_s = windows.range_ms / 1000 if is_rate else 1.0
    is_smoothed = windows.extension == SMOOTHED
    value, present = run(extended_rates, windows, windows.lookback_ms, is_smoothed, is_counter, per_s)
    result = Matrix(windows.selection.labels, value, present)
    chosen = windows.selection.histograms
    if chosen is None:
        return result
    names = windows.selection.labels.column(METRIC_NAME)
    for row in np.flatnonzero(np.diff(chosen.offsets)).tolist():
        own = slice(int(chosen.offsets[row]), int(chosen.offsets[row + 1]))
        voice = native.Voice(call.notes, names[row])
        counter = _Histograms(chosen.time_ms[own], chosen.sample[own], windows, is_counter, voice)
        for step in range(len(windows.ends_ms)):
            result = _with_step(counter, result, row, step, per_s)
    return result


def _with_step(counter: _Histograms, result: Matrix, row: int, step: int, per_s: float) -> Matrix:
    found = counter.inside(step)
    if not len(found):
        return result
    if counter.holds_floats(row, step):
        result.present[row, step] = False
        counter.voice.notes.warning(texts.mixed_samples(counter.voice.metric))
        return result
    rise = counter.rise(step)
    return result if rise is None else with_cell(result, row, step, rise.div(per_s))


class _Histograms:
    """The native histograms of one series under an extended range."""

    def __init__(
        self, time_ms: I64, samples: Objects, windows: Windows, is_counter: bool, voice: native.Voice
    ) -> None:
        self.voice = voice
        self._time_ms, self._samples, self._windows = time_ms, samples, windows
        self._is_counter, self._is_smoothed = is_counter, windows.extension == SMOOTHED

    def _borders(self, step: int) -> tuple[int, int, int, int]:
        """Beginning and end of the range, and how far samples count (open, closed)."""
        windows = self._windows
        end = int(windows.ends_ms[step])
        begin = end - windows.range_ms
        return begin, end, begin - windows.lookback_ms, end + self._is_smoothed * windows.lookback_ms

    def inside(self, step: int) -> I64:
        """The rows that the step may look at."""
        _, _, lowest, highest = self._borders(step)
        return np.flatnonzero((self._time_ms > lowest) & (self._time_ms <= highest))

    def holds_floats(self, row: int, step: int) -> bool:
        chosen = self._windows.selection
        _, _, lowest, highest = self._borders(step)
        times = chosen.time_ms[chosen.offsets[row] : chosen.offsets[row + 1]]
        return bool(((times > lowest) & (times <= highest)).any())

    def rise(self, step: int) -> FloatHistogram | None:
        try:
            return self._rise(step)
        except IncompatibleSchemas:
            self.voice.mixed_schemas()
            return None

    def _rise(self, step: int) -> FloatHistogram | None:
        begin, end, _, _ = self._borders(step)
        at, stop = int(self.inside(step)[0]), len(self._time_ms)
        first, last = reach(
            self._time_ms, at, at, stop, begin, end, self._windows.lookback_ms, self._is_smoothed
        )
        if last < first or not self._fit(first, last):
            return None
        left, right = self._samples[first], self._samples[last]
        if self._is_smoothed and self._time_ms[first] < begin:
            left = self._between(first, begin)
        if self._is_smoothed and last > 0 and self._time_ms[last] > end:
            right = self._between(last - 1, end)
        if not self._is_counter and not left.hint == right.hint == CounterReset.GAUGE:
            self.voice.not_a_gauge()
        rise = _sub(right, left, self.voice)
        for lost in self._lost(first, last, left, right, begin):
            rise = _add(rise, lost, self.voice)
        return rise.hinted(CounterReset.GAUGE).compact()

    def _fit(self, first: int, last: int) -> bool:
        samples = self._samples[first : last + 1]
        if any(sample.custom != samples[0].custom for sample in samples):
            self.voice.mixed_schemas()
            return False
        if self._is_counter and any(sample.hint == CounterReset.GAUGE for sample in samples):
            self.voice.not_a_counter()
        return True

    def _between(self, row: int, at_ms: int) -> FloatHistogram:
        """On the line from one row to the next."""
        pair: tuple[FloatHistogram, FloatHistogram] = (self._samples[row], self._samples[row + 1])
        from_ms, to_ms = int(self._time_ms[row]), int(self._time_ms[row + 1])
        if at_ms in (from_ms, to_ms):
            return pair[at_ms == to_ms]
        part = (at_ms - from_ms) / (to_ms - from_ms)
        return between(*pair, part, self.voice, is_counter=self._is_counter)

    def _lost(
        self, first: int, last: int, left: FloatHistogram, right: FloatHistogram, begin: int
    ) -> list[FloatHistogram]:
        """What the counter held at each reset inside of the range."""
        if not self._is_counter:
            return []
        inner, before = first + 1, left
        if self._is_smoothed and self._time_ms[first] < begin:
            following = self._samples[first + 1]
            if following.detect_reset(self._samples[first]):
                before, inner = following, inner + 1
        if inner > last:
            return []
        lost = []
        for sample in [*self._samples[inner:last], right]:
            if sample.detect_reset(before):
                lost.append(before)
            before = sample
        return lost


def between(
    before: FloatHistogram, after: FloatHistogram, part: float, voice: native.Voice, *, is_counter: bool
) -> FloatHistogram:
    """``part`` of the way from one histogram to the next; from zero where a counter was reset between them.
    Raises IncompatibleSchemas."""
    if is_counter and after.detect_reset(before):
        return after.mul(part)
    return _add(_sub(after, before, voice).mul(part), before, voice)


def _add(one: FloatHistogram, other: FloatHistogram, voice: native.Voice) -> FloatHistogram:
    combined = one.add(other)
    if combined.reconciled:
        voice.reconciled(native.ADDITION)
    return combined.histogram


def _sub(one: FloatHistogram, other: FloatHistogram, voice: native.Voice) -> FloatHistogram:
    combined = one.sub(other)
    if combined.reconciled:
        voice.reconciled(native.SUBTRACTION)
    return combined.histogram
