"""A storage in memory for scripts and unit tests, with the counter reset hints that Prometheus' head gives."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from agent.promql.values import Histograms, Matcher, Selection
from agent.telemetry.labels import Labels, LabelTable
from agent.telemetry.native import FloatHistogram, hinted
from agent.windows.metrics.matching import takes
from tests.promql.series import STALE_HISTOGRAM, Point, Points


class MemoryStorage:
    """Series by labels, each a list of samples in time order."""

    def __init__(self) -> None:
        self._series: dict[Labels, tuple[list[int], list[float | FloatHistogram]]] = {}

    def append(self, labels: Labels, time_ms: int, value: float | FloatHistogram) -> None:
        times, values = self._series.setdefault(labels, ([], []))
        at = bisect_left(times, time_ms)
        if at < len(times) and times[at] == time_ms:
            values[at] = value
        else:
            times.insert(at, time_ms)
            values.insert(at, value)

    def load(self, labels: Labels, points: Points, gap_ms: int, start_ms: int = 0) -> None:
        """A stale marker after a histogram is one of histograms."""
        before: float | FloatHistogram | None = None
        for i, point in enumerate(points):
            if point is None:
                continue
            value = point.value
            if isinstance(before, FloatHistogram) and isinstance(value, float) and _is_stale(point):
                value = STALE_HISTOGRAM
            self.append(labels, start_ms + i * gap_ms, value)
            before = value

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        rows = []
        for labels, (times, values) in self._series.items():
            named = dict(labels)
            if all(takes(matcher, named.get(matcher.name, "")) for matcher in matchers):
                first, last = bisect_left(times, start_ms), bisect_right(times, end_ms)
                if first < last:
                    rows.append((labels, times[first:last], _hinted(values)[first:last]))
        return _selection(rows)


def _hinted(values: list[float | FloatHistogram]) -> list[float | FloatHistogram]:
    """As a stream reads them back, which starts anew after a float."""
    out: list[float | FloatHistogram] = []
    for kind, run in groupby(values, type):
        part = list(run)
        out += hinted(part) if kind is FloatHistogram else part  # type: ignore[arg-type]  # groupby tells
    return out


def _is_stale(point: Point) -> bool:
    return isinstance(point.value, float) and STALE_HISTOGRAM.__class__(sum=point.value).stale


def _selection(rows: list[tuple[Labels, list[int], list[float | FloatHistogram]]]) -> Selection:
    offsets, histogram_offsets = [0], [0]
    time_ms: list[int] = []
    value: list[float] = []
    histogram_ms: list[int] = []
    histograms: list[FloatHistogram] = []
    for _, times, values in rows:
        for time, one in zip(times, values, strict=True):
            if isinstance(one, FloatHistogram):
                histogram_ms.append(time)
                histograms.append(one)
            else:
                time_ms.append(time)
                value.append(one)
        offsets.append(len(time_ms))
        histogram_offsets.append(len(histograms))
    sample = np.empty(len(histograms), np.object_)
    sample[:] = histograms
    return Selection(
        LabelTable.of([labels for labels, _, _ in rows]),
        np.array(offsets, np.int64),
        np.array(time_ms, np.int64),
        np.array(value, np.float64),
        Histograms(np.array(histogram_offsets, np.int64), np.array(histogram_ms, np.int64), sample),
    )
