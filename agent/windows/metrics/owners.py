"""Which source a Prometheus series belongs to, told by its ``job``, ``instance`` and the labels of Kubernetes, and
whether the detectors watch it.

Python runs once a target, and once a series that is watched; what a known series is, is a look-up in a column.
Series that OTLP brought are not looked at: their source is their resource.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numba import njit

from agent.telemetry.frames import F64, I32, I64, Series
from agent.telemetry.labels import METRIC_NAME
from agent.telemetry.samples import SampleBatch
from agent.telemetry.source import INSTANCE_ATTRIBUTES
from agent.windows.metrics.codes import all_have, some_have
from agent.windows.metrics.window import MetricWindow
from agent.windows.sources import Sources

NS_PER_MS = 1_000_000
# Labels by which Prometheus' own configurations tell targets apart, and what OpenTelemetry calls them.
ATTRIBUTES = {
    "job": "service.name",
    "instance": "service.instance.id",
    "namespace": "k8s.namespace.name",
    "pod": INSTANCE_ATTRIBUTES[0],
    "node": "k8s.node.name",
}
TOTALS = ("_total", "_sum", "_count")
UNKNOWN, NOT_WATCHED = np.int32(-2), np.int32(-1)
FIRST_MS = np.iinfo(np.int64).min

# Gives a series that is watched its code; the second argument says whether it is a running total.
Register = Callable[[Series, bool], int]


_NONE = np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0)


@njit(cache=True, nogil=True)
def _by_owner(series, counts, time_ms, owner, rows, last_ms):  # type: ignore[no-untyped-def]
    """Add the samples of each owner to its ``rows``, and move its ``last_ms``."""
    at = np.uint64(0)
    for i in range(len(series)):
        behind = at + np.uint64(counts[i])
        of = owner[np.uint64(series[i])] if series[i] >= 0 else NOT_WATCHED
        if of >= 0 and behind > at:
            newest = time_ms[at]
            for k in range(at + np.uint64(1), behind):
                newest = max(newest, time_ms[k])
            rows[np.uint64(of)] += np.int64(counts[i])
            last_ms[np.uint64(of)] = max(last_ms[np.uint64(of)], newest)
        at = behind


class SeriesOwners:
    """``watches`` tells by the name of a metric whether the detectors look at it."""

    def __init__(
        self, window: MetricWindow, sources: Sources, watches: Callable[[str], bool], register: Register
    ) -> None:
        self._window, self._sources = window, sources
        self._watches, self._register = watches, register
        self._epoch = window.epoch
        self._owner: I32 = np.empty(0, np.int32)
        self._watched: I32 = np.empty(0, np.int32)

    def learn(self, series: I32, batch: SampleBatch) -> None:
        """Find out about the series of a record that are new, or about all where ids were given anew. ``series`` are
        ids, negative for those that were left out."""
        if self._window.epoch != self._epoch:
            self._epoch, self._owner, self._watched = self._window.epoch, self._owner[:0], self._watched[:0]
        more = len(self._window) - len(self._owner)
        if more > 0:
            self._owner = np.append(self._owner, np.full(more, UNKNOWN))
            self._watched = np.append(self._watched, np.full(more, NOT_WATCHED))
        if some_have(self._owner, series, UNKNOWN):
            taken = series[series >= 0]
            new = np.unique(taken[self._owner[taken] == UNKNOWN])
            self._owner[new] = self._sources_of(new, int(batch.time_ms.max()))
            self._watch(new)

    def seen(self, series: I32, batch: SampleBatch) -> Iterator[tuple[int, int, int]]:
        """``(source, samples, newest time in ms)`` of the float samples of a record, source by source."""
        rows = np.zeros(len(self._sources.states), np.int64)
        last_ms = np.full(len(rows), FIRST_MS)
        _by_owner(series, batch.sample_count, batch.time_ms, self._owner, rows, last_ms)
        found = np.flatnonzero(rows)
        return zip(found.tolist(), rows[found].tolist(), last_ms[found].tolist(), strict=True)

    def watched(self, series: I32, batch: SampleBatch) -> tuple[I32, I64, F64]:
        """``(code, time in ns, value)`` of the samples that the detectors look at."""
        if all_have(self._watched, series, NOT_WATCHED):
            return _NONE
        codes = np.where(series >= 0, self._watched[series], NOT_WATCHED)
        of_row = np.repeat(codes, batch.sample_count)
        rows = np.flatnonzero(of_row >= 0)
        return of_row[rows], batch.time_ms[rows] * NS_PER_MS, batch.value[rows]

    def _sources_of(self, series: I32, now_ms: int) -> I32:
        group, targets = self._window.labels(series).keep(ATTRIBUTES).group()
        codes = [self._code(dict(targets.row(i)), now_ms) for i in range(len(targets))]
        return np.asarray(codes, np.int32)[group]

    def _code(self, labels: dict[str, str], now_ms: int) -> int:
        attributes = {ATTRIBUTES[name]: value for name, value in labels.items()}
        key = repr(sorted(attributes.items())).encode()
        return self._sources.code(key, lambda: attributes, now_ms * NS_PER_MS, replaces=False)

    def _watch(self, series: I32) -> None:
        labels = self._window.labels(series)
        for row in labels.rows_where(METRIC_NAME, self._watches).tolist():
            one = int(series[row])
            source = int(self._owner[one])
            if source >= 0:
                held = labels.row(row)
                own = tuple(label for label in held if label[0] not in {METRIC_NAME, *ATTRIBUTES})
                name = dict(held)[METRIC_NAME]
                known = Series(self._sources.states[source].source, name, own)
                self._watched[one] = self._register(known, name.endswith(TOTALS))
