"""Which source a Prometheus series belongs to, told by its ``job``, ``instance`` and the labels of Kubernetes.

Python runs once a target; which source a known series has is a look-up in a column.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent.telemetry.frames import I32
from agent.telemetry.samples import SampleBatch
from agent.telemetry.source import INSTANCE_ATTRIBUTES
from agent.windows.metrics.window import MetricWindow
from agent.windows.sources import Sources

# Labels by which Prometheus' own configurations tell targets apart, and what OpenTelemetry calls them.
ATTRIBUTES = {
    "job": "service.name",
    "instance": "service.instance.id",
    "namespace": "k8s.namespace.name",
    "pod": INSTANCE_ATTRIBUTES[0],
    "node": "k8s.node.name",
}


class SeriesOwners:
    def __init__(self, window: MetricWindow, sources: Sources) -> None:
        self._window, self._sources = window, sources
        self._owner: I32 = np.empty(0, np.int32)
        self._epoch = window.epoch

    def seen(self, series: I32, batch: SampleBatch) -> Iterator[tuple[int, int, int]]:
        """``(source, samples, newest time in ms)`` of the float samples of a record, source by source;
        ``series`` has the id of each of its series, -1 where that was left out."""
        if not len(batch.time_ms):
            return
        starts = np.cumsum(batch.sample_count) - batch.sample_count
        filled = (batch.sample_count > 0) & (series >= 0)
        if not filled.any():
            return
        newest = np.maximum.reduceat(batch.time_ms, starts[batch.sample_count > 0])
        newest = newest[filled[batch.sample_count > 0]]
        self._learn(int(newest.max()))
        owner, counts = self._owner[series[filled]], batch.sample_count[filled]
        present, inverse = np.unique(owner, return_inverse=True)
        last = np.full(len(present), np.iinfo(np.int64).min)
        np.maximum.at(last, inverse, newest)
        rows = np.bincount(inverse, weights=counts, minlength=len(present))
        for source, samples, last_ms in zip(present.tolist(), rows.tolist(), last.tolist(), strict=True):
            if source >= 0:
                yield source, int(samples), last_ms

    def _learn(self, now_ms: int) -> None:
        """Find the sources of the series that are new, or of all where ids were given anew."""
        if self._window.epoch != self._epoch:
            self._epoch, self._owner = self._window.epoch, self._owner[:0]
        known, series = len(self._owner), len(self._window)
        if known == series:
            return
        labels = self._window.labels(np.arange(known, series, dtype=np.int32)).keep(ATTRIBUTES)
        group, targets = labels.group()
        codes = [self._code(dict(targets.row(i)), now_ms) for i in range(len(targets))]
        self._owner = np.concatenate([self._owner, np.asarray(codes, np.int32)[group]])

    def _code(self, labels: dict[str, str], now_ms: int) -> int:
        attributes = {ATTRIBUTES[name]: value for name, value in labels.items()}
        key = repr(sorted(attributes.items())).encode()
        return self._sources.code(key, lambda: attributes, now_ms * 1_000_000, replaces=False)
