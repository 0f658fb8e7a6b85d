"""The histogram functions: over classic histograms (series by ``le``), over native ones, and over both in one
vector. Where a metric has both with the same labels in a step, neither counts, and a warning says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent.promql.functions import classic, texts
from agent.promql.functions.classic import BUCKET, Buckets, Repairs
from agent.promql.functions.kinds import Argument, Call, Function, Result
from agent.promql.functions.native_quantile import Doubt, fraction, quantile, variance
from agent.promql.functions.ranges import numbers
from agent.promql.values import Matrix, Objects
from agent.telemetry.frames import F64, I64, Bool
from agent.telemetry.labels import METRIC_NAME, LabelTable, concat_tables
from agent.telemetry.native import FloatHistogram

_HELP = "(see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)"


@dataclass(frozen=True, slots=True)
class Split:
    """A vector taken apart: ``buckets`` of classic histograms with the vector's ``value`` and ``present``, and
    the native histograms of the series ``native`` (``cells`` has shape (series, steps), None where there is
    none). What a classic and a native histogram contradict each other in is taken out of both."""

    buckets: Buckets
    value: F64
    present: Bool
    native: LabelTable
    cells: Objects


def vector(arguments: Sequence[Argument], place: int) -> Matrix:
    matrix = arguments[place]
    if not isinstance(matrix, Matrix):
        raise TypeError(f"argument {place}: got {type(matrix).__name__}, expected an instant vector")
    return matrix


def split(call: Call, matrix: Matrix, argument: int) -> Split:
    """Notes series without a readable ``le``, and histograms that are there in both forms."""
    bound, readable = classic.bounds_of(matrix.labels)
    has_float = matrix.present.any(axis=1)
    _note_unread(call, matrix.labels.take(np.flatnonzero(has_float & ~readable)), argument)
    buckets = classic.by_histogram(matrix.labels, bound, np.flatnonzero(has_float & readable))
    native, cells = _native(matrix)
    parts = Split(buckets, matrix.value, matrix.present, native, cells)
    return _without_both(call, parts, argument) if len(buckets) and len(native) else parts


def _native(matrix: Matrix) -> tuple[LabelTable, Objects]:
    if matrix.histogram is None:
        return matrix.labels.take([]), np.empty((0, matrix.present.shape[1]), np.object_)
    held = _held(matrix.histogram)
    rows = np.flatnonzero(held.any(axis=1))
    return matrix.labels.take(rows), matrix.histogram[rows]


def _note_unread(call: Call, labels: LabelTable, argument: int) -> None:
    for metric, text in dict.fromkeys(zip(labels.column(METRIC_NAME), labels.column(BUCKET), strict=True)):
        what = f'bucket label "{BUCKET}" is missing or has a malformed value of {texts.quoted(text)}'
        call.notes.warning(what + _for_metric(metric), argument)


def _without_both(call: Call, parts: Split, argument: int) -> Split:
    """A native histogram is told from the classic one by all its labels, the name included."""
    buckets, count = parts.buckets, len(parts.buckets)
    group, _ = concat_tables([buckets.labels, parts.native]).group()
    histogram_of = {g: i for i, g in enumerate(group[:count].tolist())}
    present, cells = parts.present.copy(), parts.cells.copy()
    for k, (g, metric) in enumerate(
        zip(group[count:].tolist(), parts.native.column(METRIC_NAME), strict=True)
    ):
        if (i := histogram_of.get(g)) is None:
            continue
        rows = buckets.row[buckets.offsets[i] : buckets.offsets[i + 1]]
        both = present[rows].any(axis=0) & _held(cells[k])
        if both.any():
            what = "vector contains a mix of classic and native histograms"
            call.notes.warning(what + _for_metric(metric), argument)
            present[np.ix_(rows, both)] = False
            cells[k, both] = None
    return replace(parts, present=present, cells=cells)


def _for_metric(metric: str) -> str:
    return f" for metric name {texts.quoted(metric)}" if metric else ""


def _joined(parts: Split, of_native: tuple[F64, Bool], of_classic: tuple[F64, Bool]) -> Matrix:
    """One vector of both kinds of results; labels that have both, in different steps, are one row."""
    if not len(parts.native):
        labels, (value, present) = parts.buckets.labels, of_classic
    elif not len(parts.buckets):
        labels, (value, present) = parts.native, of_native
    else:
        labels = concat_tables([parts.native, parts.buckets.labels])
        value = np.concatenate([of_native[0], of_classic[0]])
        present = np.concatenate([of_native[1], of_classic[1]])
        group, distinct = labels.group()
        if len(distinct) < len(labels):
            labels, value, present = distinct, *_folded(len(distinct), group, value, present)
    kept = present.any(axis=1)
    if kept.all():
        return Matrix(labels, value, present)
    return Matrix(labels.take(np.flatnonzero(kept)), value[kept], present[kept])


def _folded(size: int, group: I64, value: F64, present: Bool) -> tuple[F64, Bool]:
    out, found = np.zeros((size, value.shape[1])), np.zeros((size, value.shape[1]), np.bool_)
    for row, g in enumerate(group.tolist()):
        out[g, present[row]] = value[row, present[row]]
        found[g] |= present[row]
    return out, found


def _held(cells: Objects) -> Bool:
    """Where there is a histogram."""
    return np.fromiter((cell is not None for cell in cells.flat), np.bool_, cells.size).reshape(cells.shape)


def _over_cells(cells: Objects, of: Callable[[FloatHistogram, int, int], float]) -> tuple[F64, Bool]:
    """``of(histogram, series, step)`` for every native histogram: value and present."""
    value, present = np.zeros(cells.shape), np.zeros(cells.shape, np.bool_)
    for row, step in np.argwhere(_held(cells)).tolist():
        value[row, step], present[row, step] = of(cells[row, step], row, step), True
    return value, present


def _quantile(call: Call, arguments: Sequence[Argument]) -> Result:
    q = numbers(arguments, 0)
    _check(call, q, 0)
    return _quantile_of(call, split(call, vector(arguments, 1), 1), q, (0, 1))


def _check(call: Call, q: F64, argument: int) -> None:
    wrong = q[np.isnan(q) | (q < 0) | (q > 1)]
    for text in dict.fromkeys(texts.invalid_quantile(one) for one in wrong.tolist()):
        call.notes.warning(text, argument)


def _quantile_of(call: Call, parts: Split, q: F64, arguments: tuple[int, int]) -> Matrix:
    """``arguments`` are those that annotations of native and of classic histograms point to."""
    value, present, repairs = classic.quantiles(q, parts.buckets, parts.value, parts.present)
    _note_repairs(call, parts.buckets.labels, repairs, arguments[1])
    names = parts.native.column(METRIC_NAME)

    def of(h: FloatHistogram, row: int, step: int) -> float:
        result, doubt = quantile(float(q[step]), h)
        if doubt is not Doubt.NONE:
            what = f"input to histogram_quantile has NaN observations, {doubt.value}"
            call.notes.info(what + _for_metric(names[row]), arguments[0])
        return result

    return _joined(parts, _over_cells(parts.cells, of), (value, present))


def _note_repairs(call: Call, labels: LabelTable, repairs: Repairs, argument: int) -> None:
    """One note a metric, over all its histograms and steps."""
    rows = np.flatnonzero(repairs.steps)
    if not len(rows):
        return
    names = np.array(labels.take(rows).column(METRIC_NAME), np.object_)
    times = call.grid.times
    for metric in dict.fromkeys(names.tolist()):
        of = rows[names == metric]
        span = (f"from buckets {texts.general(float(repairs.lowest[of].min()))} "
                f"to {texts.general(float(repairs.highest[of].max()))}")  # fmt: skip
        begin, end = times[repairs.first[of].min()], times[repairs.last[of].max()]
        call.notes.info(
            f"input to histogram_quantile needed to be fixed for monotonicity {_HELP}{_for_metric(metric)}, {span}, "
            f"with a max diff of {float(repairs.difference[of].max()):.2g}, "
            f"over {int(repairs.steps[of].sum())} samples from {_date(int(begin))} to {_date(int(end))}",
            argument,
        )


def _date(time_ms: int) -> str:
    """RFC 3339 in UTC, whole seconds, of any year."""
    return f"{np.datetime64(math.trunc(time_ms / 1000), 's')}Z"


def _quantiles(call: Call, arguments: Sequence[Argument]) -> Result:
    """A row a histogram and quantile; where a quantile changes with time, its rows end and others begin."""
    label = arguments[1]
    if not isinstance(label, str):
        raise TypeError(f"argument 1: got {type(label).__name__}, expected the name of a label")
    asked = [numbers(arguments, k) for k in range(2, len(arguments))]
    for k, q in enumerate(asked):
        _check(call, q, k + 2)
    parts = split(call, vector(arguments, 0), 0)
    results = [_labelled(_quantile_of(call, parts, q, (0, 0)), label, q) for q in asked]
    flat = [one for several in results for one in several]
    return Matrix(
        concat_tables([one.labels for one in flat]),
        np.concatenate([one.value for one in flat]),
        np.concatenate([one.present for one in flat]),
    )


def _labelled(matrix: Matrix, label: str, q: F64) -> list[Matrix]:
    out = []
    for text in dict.fromkeys(_open_metrics(one) for one in q.tolist()):
        steps = np.array([_open_metrics(one) == text for one in q.tolist()], np.bool_)
        labels = matrix.labels.with_column(label, [text] * len(matrix))
        out.append(Matrix(labels, matrix.value, matrix.present & steps))
    return out


def _open_metrics(number: float) -> str:
    """A number as OpenMetrics writes it: with a point or an exponent."""
    text = texts.general(number)
    return text if not math.isfinite(number) or "." in text or "e" in text else f"{text}.0"


def _fraction(call: Call, arguments: Sequence[Argument]) -> Result:
    lower, upper = numbers(arguments, 0), numbers(arguments, 1)
    parts = split(call, vector(arguments, 2), 2)
    names = parts.native.column(METRIC_NAME)

    def of(h: FloatHistogram, row: int, step: int) -> float:
        result, has_nan = fraction(float(lower[step]), float(upper[step]), h)
        if has_nan:
            what = "input to histogram_fraction has NaN observations, which are excluded from all fractions"
            call.notes.info(what + _for_metric(names[row]), 0)
        return result

    of_classic = classic.fractions(lower, upper, parts.buckets, parts.value, parts.present)
    return _joined(parts, _over_cells(parts.cells, of), of_classic)


def _simple(of: Callable[[FloatHistogram], float]) -> Function:
    """A number of each native histogram; floats are left out."""

    def body(call: Call, arguments: Sequence[Argument]) -> Result:
        labels, cells = _native(vector(arguments, 0))
        return Matrix(labels, *_over_cells(cells, lambda h, row, step: of(h)))

    return Function(body)


def _average(h: FloatHistogram) -> float:
    with np.errstate(all="ignore"):
        return float(np.float64(h.sum) / h.count)


def _deviation(h: FloatHistogram) -> float:
    spread = variance(h)
    return math.sqrt(spread) if spread >= 0 else math.nan


HISTOGRAM_FUNCTIONS: Mapping[str, Function] = {
    "histogram_avg": _simple(_average),
    "histogram_count": _simple(lambda h: h.count),
    "histogram_fraction": Function(_fraction),
    "histogram_quantile": Function(_quantile),
    "histogram_quantiles": Function(_quantiles, experimental=True),
    "histogram_stddev": _simple(_deviation),
    "histogram_stdvar": _simple(variance),
    "histogram_sum": _simple(lambda h: h.sum),
}
