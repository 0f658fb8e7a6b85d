"""Results against what a script expects, within the tolerance of Prometheus' own runner."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterator

import numpy as np

from agent.promql.engine import Result
from agent.promql.labelsets import labels_text
from agent.promql.values import Grid, Matrix, Selection
from agent.telemetry.labels import Labels
from agent.telemetry.native import FloatHistogram
from tests.promql.script import Eval, Expectation
from tests.promql.series import Point, Points

EPSILON = 1e-6
_SMALLEST = sys.float_info.min

Sample = float | FloatHistogram
# The samples of one series by time.
Samples = dict[int, Sample]


def almost(a: float, b: float) -> bool:
    if _stale(a) or _stale(b):
        return _stale(a) and _stale(b)
    if (math.isnan(a) and math.isnan(b)) or a == b:
        return True
    total, distance = abs(a) + abs(b), abs(a - b)
    if a == 0 or b == 0 or total < _SMALLEST:
        return distance < EPSILON * _SMALLEST
    return distance / min(total, sys.float_info.max) < EPSILON


def _stale(value: float) -> bool:
    return struct.pack("<d", value) == b"\x02\x00\x00\x00\x00\x00\xf0\x7f"


def same(expected: Point, got: Sample) -> bool:
    want = expected.value
    if isinstance(want, FloatHistogram) != isinstance(got, FloatHistogram):
        return False
    if isinstance(want, FloatHistogram) and isinstance(got, FloatHistogram):
        return want.almost_equals(got, almost) and (not expected.hinted or want.hint is got.hint)
    return almost(float(want), float(got))  # type: ignore[arg-type]


def series_of(value: Matrix | Selection, grid: Grid) -> list[tuple[Labels, Samples]]:
    """In the order of the result."""
    return list(_matrix(value, grid) if isinstance(value, Matrix) else _selection(value))


def _matrix(matrix: Matrix, grid: Grid) -> Iterator[tuple[Labels, Samples]]:
    times = grid.times.tolist()
    for i in range(len(matrix)):
        samples: Samples = {
            times[j]: float(matrix.value[i, j]) for j in np.flatnonzero(matrix.present[i]).tolist()
        }
        if matrix.histogram is not None:
            samples |= {times[j]: one for j, one in enumerate(matrix.histogram[i]) if one is not None}
        yield matrix.labels.row(i), samples


def _selection(selection: Selection) -> Iterator[tuple[Labels, Samples]]:
    for i in range(len(selection)):
        a, b = selection.offsets[i], selection.offsets[i + 1]
        samples: Samples = dict(
            zip(selection.time_ms[a:b].tolist(), selection.value[a:b].tolist(), strict=True)
        )
        if (h := selection.histograms) is not None:
            a, b = h.offsets[i], h.offsets[i + 1]
            samples |= dict(zip(h.time_ms[a:b].tolist(), h.sample[a:b].tolist(), strict=True))
        yield selection.labels.row(i), samples


def difference(command: Eval, result: Result, at_ms: int | None = None) -> str | None:
    """Why a result is not the expected one, None where it is. ``at_ms``: one step of a range query stands for
    an instant query."""
    if isinstance(result.value, str):
        return (
            None
            if result.value == command.text
            else f"expected string {command.text!r}, got {result.value!r}"
        )
    if isinstance(result.value, float):
        if command.scalar is None:
            return f"expected a vector or a matrix, got the scalar {result.value}"
        return (
            None if almost(command.scalar, result.value) else f"expected {command.scalar}, got {result.value}"
        )
    got = series_of(result.value, result.grid)
    if at_ms is not None:
        got = [(labels, {0: samples[at_ms]}) for labels, samples in got if at_ms in samples]
        if command.scalar is not None:
            value = next(iter(got[0][1].values()))
            return None if almost(command.scalar, float(value)) else f"range mode: got {value}"  # type: ignore[arg-type]
    elif command.instant and command.window is None:
        got = [(labels, {0: next(iter(samples.values()))}) for labels, samples in got]
    if command.scalar is not None:
        return f"expected the scalar {command.scalar}, got {_shown(got)}"
    return _series_difference(command, got, instant=command.instant and command.window is None)


def _series_difference(command: Eval, got: list[tuple[Labels, Samples]], *, instant: bool) -> str | None:
    start, end, step = command.window or (command.start_ms, command.end_ms, command.step_ms)
    seen = set()
    for place, (labels, samples) in enumerate(got):
        if labels not in command.series:
            return f"unexpected series {labels_text(labels)}: {_values(samples)}"
        if labels in seen:
            return f"series twice: {labels_text(labels)}"
        seen.add(labels)
        if instant and command.ordered and command.order[place] != labels:
            return f"{labels_text(labels)} is at place {place}, expected at {command.order.index(labels)}"
        points = command.series[labels][:1] if instant else command.series[labels]
        problem = _points_difference(points, samples, 0 if instant else start, 0 if instant else step)
        if problem:
            return f"{labels_text(labels)}: {problem}"
        if not instant and start + (len(points) - 1) * step > end:
            return f"{labels_text(labels)}: {len(points)} points do not fit into the query"
    missing = [labels for labels in command.series if labels not in seen]
    return f"missing series {labels_text(missing[0])}" if missing else None


def _points_difference(points: Points, samples: Samples, start: int, step: int) -> str | None:
    expected = {start + i * step: point for i, point in enumerate(points) if point is not None}
    if expected.keys() != samples.keys():
        return f"expected points at {sorted(expected)}, got {sorted(samples)}: {_values(samples)}"
    for time, point in expected.items():
        if not same(point, samples[time]):
            return f"at {time}: expected {_value(point.value)}, got {_value(samples[time])}"
    return None


def _value(value: Sample) -> str:
    return (
        f"{value!s} ({value.hint}, schema {value.schema})"
        if isinstance(value, FloatHistogram)
        else repr(value)
    )


def _values(samples: Samples) -> str:
    return " ".join(_value(samples[time]) for time in sorted(samples))[:400]


def _shown(got: list[tuple[Labels, Samples]]) -> str:
    return "; ".join(f"{labels_text(labels)} {_values(samples)}" for labels, samples in got)[:400]


def annotations_difference(command: Eval, result: Result) -> str | None:
    if command.warn and not result.warnings:
        return "expected warnings, got none"
    if command.info and not result.infos:
        return "expected infos, got none"
    if command.no_warn and result.warnings:
        return f"unexpected warnings: {result.warnings}"
    if command.no_info and result.infos:
        return f"unexpected infos: {result.infos}"
    return _mismatch("warn", command.warnings, result.warnings) or _mismatch(
        "info", command.infos, result.infos
    )


def _mismatch(kind: str, expected: list[Expectation], got: list[str]) -> str | None:
    if not expected:
        return None
    for one in expected:
        if not any(one.fits(text) for text in got):
            return f"expected {kind} {str(one)!r}, got {got}"
    for text in got:
        if not any(one.fits(text) for one in expected):
            return f"unexpected {kind} {text!r}"
    return None
