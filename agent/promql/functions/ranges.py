"""What the bodies of the range functions share: the argument, the result, and windows that hold both floats
and native histograms.

Floats of all series go through one kernel call. Series that hold native histograms are few; they are
looked at one by one behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agent.promql.functions import texts
from agent.promql.functions.kinds import Argument, Body, Call, Result, Windows
from agent.promql.values import Histograms, Matrix, Objects, Selection
from agent.telemetry.frames import F64, I64, Bool
from agent.telemetry.labels import METRIC_NAME
from agent.telemetry.native import FloatHistogram

Column = np.ndarray[Any, Any]
Kernel = Callable[[I64, I64, F64, I64, int], tuple[F64, Bool]]
"""``(offsets, time_ms, value, ends_ms, range_ms)`` to value and present, both ``(series, steps)``."""


def range_vector(arguments: Sequence[Argument], place: int = 0) -> Windows:
    windows = arguments[place]
    if not isinstance(windows, Windows):
        raise TypeError(f"argument {place}: got {type(windows).__name__}, expected a range vector")
    return windows


def numbers(arguments: Sequence[Argument], place: int) -> F64:
    """A scalar argument: a number a step."""
    value = arguments[place]
    if not isinstance(value, np.ndarray):
        raise TypeError(f"argument {place}: got {type(value).__name__}, expected a scalar")
    return value


def run(kernel: Callable[..., Any], windows: Windows, *more: Any) -> tuple[F64, Bool]:
    """One call of a kernel over all floats of a range vector."""
    return _run(kernel, _locked(windows.selection.time_ms), windows, more)


def run_sharing(kernel: Callable[..., Any], windows: Windows, *more: Any) -> tuple[F64, Bool]:
    """The same of a kernel that takes the two columns of ``Times`` in the place of ``time_ms``."""
    times = windows.selection.times
    return _run(kernel, (_locked(times.start), _locked(times.ms)), windows, more)


def _run(kernel: Callable[..., Any], times: Any, windows: Windows, more: Sequence[Any]) -> tuple[F64, Bool]:
    offsets, values = _locked(windows.selection.offsets), _locked(windows.selection.value)
    others = [_locked(one) if isinstance(one, np.ndarray) else one for one in more]
    value, present = kernel(offsets, times, values, _locked(windows.ends_ms), windows.range_ms, *others)
    return value, present


def _locked(column: Column) -> Column:
    """A view that cannot be written to. To the compiler that is another type, and columns that came from
    another process are such: so there is one compiled form for all."""
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True)
class Mixed:
    """A series of a range vector that holds native histograms: in step ``j`` its floats are rows
    ``float_from[j]:float_to[j]`` of the selection, its histograms rows ``from_[j]:to[j]`` of
    ``histograms``."""

    row: int
    metric: str
    float_from: I64
    float_to: I64
    from_: I64
    to: I64
    histograms: Histograms

    @property
    def has_float(self) -> Bool:
        return self.float_to > self.float_from

    @property
    def has_histogram(self) -> Bool:
        return self.to > self.from_

    def samples(self, step: int) -> tuple[I64, Objects]:
        """Times and histograms of a step."""
        at = slice(self.from_[step], self.to[step])
        return self.histograms.time_ms[at], self.histograms.sample[at]

    def latest(self, chosen: Selection, step: int, count: int | None = None) -> list[tuple[int, Any]]:
        """The last ``count`` samples of a step (all without), floats and histograms in time order."""
        times, samples = self.samples(step)
        at = slice(self.float_from[step], self.float_to[step])
        both = [*zip(chosen.time_ms[at].tolist(), chosen.value[at].tolist(), strict=True)]
        both += zip(times.tolist(), samples.tolist(), strict=True)
        both.sort(key=lambda sample: sample[0])
        return both if count is None else both[-count:]


def mixed(windows: Windows) -> Iterator[Mixed]:
    """The series of ``windows`` that hold native histograms."""
    chosen = windows.selection
    if chosen.histograms is None:
        return
    rows = np.flatnonzero(np.diff(chosen.histograms.offsets))
    if not len(rows):
        return
    names = chosen.labels.take(rows).column(METRIC_NAME)
    for row, metric in zip(rows.tolist(), names, strict=True):
        float_from, float_to = _bounds(windows, chosen.offsets, chosen.time_ms, row)
        from_, to = _bounds(windows, chosen.histograms.offsets, chosen.histograms.time_ms, row)
        yield Mixed(row, metric, float_from, float_to, from_, to, chosen.histograms)


def _bounds(windows: Windows, offsets: I64, time_ms: I64, row: int) -> tuple[I64, I64]:
    start = int(offsets[row])
    times = time_ms[start : int(offsets[row + 1])]
    first = np.searchsorted(times, windows.ends_ms - windows.range_ms, side="right")
    last = np.searchsorted(times, windows.ends_ms, side="right")
    return start + first, start + last


def over_floats(kernel: Callable[..., Any], place: int = 0, run: Callable[..., Any] = run) -> Body:
    """The body of a function that looks at floats only and says so where a window holds histograms, too."""

    def body(call: Call, arguments: Sequence[Argument]) -> Result:
        windows = range_vector(arguments, place)
        value, present = run(kernel, windows)
        return floats_of(call, windows, value, present)

    return body


def floats_of(call: Call, windows: Windows, value: F64, present: Bool) -> Matrix:
    """The result of a function that ignores histograms. The annotation points to the first argument, also
    where that is not the range vector (``quantile_over_time``), as in Prometheus."""
    for series in mixed(windows):
        if (series.has_float & series.has_histogram).any():
            call.notes.info(texts.ignored_histograms(series.metric))
    return Matrix(windows.selection.labels, value, present)


NativeFold = Callable[[Call, Windows, Mixed, int], FloatHistogram | None]
"""From the histograms of one series in one step to a ``FloatHistogram``, or None where there is no result."""


def with_histograms(call: Call, windows: Windows, value: F64, present: Bool, fold: NativeFold) -> Matrix:
    """The result of a function that takes floats or histograms, but not both in one window: such windows
    give nothing and a warning."""
    result = Matrix(windows.selection.labels, value, present)
    for series in mixed(windows):
        both = series.has_float & series.has_histogram
        if both.any():
            present[series.row, both] = False
            call.notes.warning(texts.mixed_samples(series.metric))
        for step in np.flatnonzero(series.has_histogram & ~both).tolist():
            folded = fold(call, windows, series, step)
            if folded is not None:
                result = with_cell(result, series.row, step, folded)
    return result


def with_cell(matrix: Matrix, row: int, step: int, histogram: FloatHistogram) -> Matrix:
    """The matrix with a histogram in one cell. Its arrays are written to where it has a column of them."""
    held = matrix.histogram
    if held is None:
        held = np.full(matrix.present.shape, None, np.object_)
    held[row, step] = histogram
    matrix.present[row, step] = False
    return matrix if matrix.histogram is held else replace(matrix, histogram=held)
