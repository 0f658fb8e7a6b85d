"""The mesh series among the samples of one tenant in one stream, as RED increments of the services named.

A series is classified once, when its first sample comes, by its labels; from then on what it is is a look-up in
a column by the id of the series in the metric window, where 0 is: of no mesh. So a record without such series
costs one look-up a series. What is remembered of a series hangs on the hash of its labels, since
ids change, and samples that come again (a replayed log, a repeated request) count once.
"""

from __future__ import annotations

import numpy as np

from agent.detection.mesh import METRICS, mesh_series
from agent.detection.meshtotals import MeshAccumulator
from agent.detection.red import RedBins
from agent.telemetry.frames import I32, Bool
from agent.telemetry.labels import METRIC_NAME
from agent.telemetry.samples import SampleBatch
from agent.windows.metrics.codes import all_have
from agent.windows.metrics.window import MetricWindow

NS_PER_MS = 1_000_000
SILENT_NS = 3600 * 10**9  # a series that brought nothing for so long makes room where that is scarce,
LOOK_NS = 60 * 10**9  # which is looked for that often
NEW, NO_MESH = np.int32(-1), np.int32(0)
# Ids of series that were left out are -1 and -2: they find the last entries of the column.
LEFT_OUT = 2


class MeshRed:
    def __init__(self, tenant: str, totals: MeshAccumulator | None = None) -> None:
        self._tenant = tenant
        self._totals = MeshAccumulator() if totals is None else totals
        self._epoch = 0
        self._code: I32 = np.zeros(LEFT_OUT, np.int32)  # by id: the number among the totals, plus 1
        self._number_of: dict[int, int] = {}
        self._looked_ns = 0
        self.refused = 0  # series that found no room

    @property
    def crowded(self) -> bool:
        """Whether so much waits for ``drain`` that it should not wait."""
        return self._totals.crowded

    def observe(self, window: MetricWindow, series: I32, batch: SampleBatch) -> None:
        """Samples that were given to the window; ``series`` are the ids that it found, negative where it left
        them out."""
        if window.epoch != self._epoch or len(window) > len(self._code) - LEFT_OUT:
            self._make_room(window)
        if all_have(self._code, series, NO_MESH):
            return
        code = self._code[series]
        if (code == NEW).any():
            self._learn(window, series, batch, code == NEW)
            code = self._code[series]
        of_row = np.repeat(code, batch.sample_count)
        rows = np.flatnonzero(of_row)
        if len(rows):
            number = of_row[rows].astype(np.int64) - 1
            self._totals.observe(number, batch.time_ms[rows] * NS_PER_MS, batch.value[rows])

    def drain(self, until_ns: int) -> RedBins:
        """The increments of the bins that are over, since the last call; ``until_ns`` is how far event time is."""
        return self._totals.drain(until_ns)

    def _make_room(self, window: MetricWindow) -> None:
        known = self._code[:-LEFT_OUT] if window.epoch == self._epoch else self._code[:0]
        self._epoch = window.epoch
        self._code = np.full(len(window) + len(window) // 2 + 256 + LEFT_OUT, NEW, np.int32)
        self._code[: len(known)] = known
        self._code[-LEFT_OUT:] = NO_MESH

    def _learn(self, window: MetricWindow, series: I32, batch: SampleBatch, new: Bool) -> None:
        ids, place = np.unique(series[new], return_index=True)
        hashes = batch.series_hash[new][place].tolist()
        self._code[ids] = NO_MESH
        labels = window.labels(ids)
        newest_ns = int(batch.time_ms.max(initial=0)) * NS_PER_MS
        for row in labels.rows_where(METRIC_NAME, METRICS.__contains__).tolist():
            number = self._number(hashes[row], dict(labels.row(row)), newest_ns)
            if number >= 0:
                self._code[ids[row]] = number + 1

    def _number(self, key: int, labels: dict[str, str], now_ns: int) -> int:
        number = self._number_of.get(key)
        if number is not None:
            return number
        found = mesh_series(labels, self._tenant)
        if found is None:
            return -1
        number = self._totals.add_series(found)
        if number < 0 and now_ns > self._looked_ns + LOOK_NS and self._forget(now_ns):
            number = self._totals.add_series(found)
        if number < 0:
            self.refused += 1
        else:
            self._number_of[key] = number
        return number

    def _forget(self, now_ns: int) -> bool:
        """Make room; whether there is some."""
        self._looked_ns = now_ns
        moved = self._totals.forget(now_ns - SILENT_NS)
        if (moved >= 0).all():
            return False
        codes = np.append(
            np.asarray([NO_MESH], np.int32), np.where(moved >= 0, moved + 1, NEW).astype(np.int32)
        )
        known = self._code > NO_MESH
        self._code[known] = codes[self._code[known]]
        self._number_of = {k: int(moved[n]) for k, n in self._number_of.items() if moved[n] >= 0}
        return True
