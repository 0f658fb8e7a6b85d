"""Running totals of mesh series in, RED increments out.

The proxies send running totals; increments are their differences, after a reset the value itself; the first
sample of a series tells nothing yet. An increment counts in the bin of the sample that tells it. Latencies come as
cumulative buckets with the proxy's own bounds and are spread evenly over the buckets of
``agent.detection.histogram`` that lie between two bounds.

The buckets of one histogram may come in several records, so a bin is handed out whole, ``HOLD_NS`` of event time
after its end; what comes later still is handed out as it is.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np

from agent.detection.histogram import BUCKETS, LOWER_NS, UPPER_NS
from agent.detection.mesh import MeshSeries, Part
from agent.detection.red import NO_BINS, OTHER_OPERATION, RedBins, RedKey, RedSettings
from agent.telemetry.frames import F64, I32, I64

NS_PER_MS = 1e6
HOLD_NS = 10 * 10**9

_Cell = tuple[int, Part, float]  # key, part and upper bound: what is added up


class MeshAccumulator:
    """``max_series`` bounds what is remembered. NumPy works on samples and series; Python runs once a series, and
    once a row that is handed out."""

    def __init__(self, settings: RedSettings | None = None, max_series: int = 100_000) -> None:
        self._settings = settings or RedSettings()
        self._max_series = max_series
        self._keys: dict[RedKey, int] = {}
        self._operations: Counter[RedKey] = Counter()
        self._cells: dict[_Cell, int] = {}
        # By series: its cell, its last value and the time of that.
        self._cell, self._last = np.empty(0, np.int32), np.empty(0)
        self._last_ns = np.empty(0, np.int64)
        self._known = 0
        # What was added since the last drain: cells and bins with their amounts.
        self._pending: list[tuple[I64, I64, F64]] = []
        self._pending_rows = 0

    def __len__(self) -> int:
        return self._known

    @property
    def crowded(self) -> bool:
        """Whether it is time to drain."""
        return self._pending_rows > self._settings.max_pending_rows

    def add_series(self, series: MeshSeries) -> int:
        """The number under which ``observe`` takes its samples; -1 where there is no room for more."""
        if self._known >= self._max_series:
            return -1
        if self._known == len(self._cell):
            more = max(256, self._known)
            self._cell = np.append(self._cell, np.zeros(more, np.int32))
            self._last = np.append(self._last, np.zeros(more))
            self._last_ns = np.append(self._last_ns, np.zeros(more, np.int64))
        n = self._known
        cell = self._keys_code(series.key), series.part, series.bound_ms
        self._cell[n] = self._cells.setdefault(cell, len(self._cells))
        self._last[n], self._last_ns[n] = math.nan, -1
        self._known += 1
        return n

    def forget(self, silent_since_ns: int) -> I64:
        """Let go of the series that brought nothing since. The new number of each, -1 for those that are gone."""
        kept = self._last_ns[: self._known] >= silent_since_ns
        known = slice(self._known)
        self._cell, self._last = self._cell[known][kept], self._last[known][kept]
        self._last_ns = self._last_ns[known][kept]
        self._known = int(kept.sum())
        self._forget_unused()
        return np.where(kept, np.cumsum(kept) - 1, -1)

    def _forget_unused(self) -> None:
        """Cells and keys that no series and no sum points at any more go."""
        used = np.unique(np.concatenate([self._cell, *(cell for cell, _, _ in self._pending)]))
        old_cells, old_keys = list(self._cells), list(self._keys)
        moved = np.full(len(old_cells), -1, np.int64)
        moved[used] = np.arange(len(used))
        self._keys, self._cells = {}, {}
        for place, cell in enumerate(used.tolist()):
            key, part, bound_ms = old_cells[cell]
            self._cells[self._keys.setdefault(old_keys[key], len(self._keys)), part, bound_ms] = place
        self._operations = Counter(_whole(key) for key in self._keys if key.operation != OTHER_OPERATION)
        self._cell = moved[self._cell].astype(np.int32)
        self._pending = [(moved[cell], bin_, amount) for cell, bin_, amount in self._pending]

    def observe(self, series: I64, time_ns: I64, value: F64) -> None:
        """Samples in any order; what is older than the last one of its series, NaN and infinities are left out."""
        keep = np.isfinite(value) & (series >= 0)
        keep[keep] &= time_ns[keep] > self._last_ns[series[keep]]
        order = np.flatnonzero(keep)[np.lexsort((time_ns[keep], series[keep]))]
        if not len(order):
            return
        code, time, now = series[order], time_ns[order], value[order]
        first = np.diff(code, prepend=-1) != 0
        before = np.where(first, self._last[code], np.roll(now, 1))
        increment = np.where(np.isnan(before), 0.0, np.where(now >= before, now - before, now))
        last = np.append(first[1:], True)
        self._last[code[last]], self._last_ns[code[last]] = now[last], time[last]
        told = np.flatnonzero(~np.isnan(before))
        self._add(
            self._cell[code[told]].astype(np.int64), time[told] // self._settings.bin_ns, increment[told]
        )

    def drain(self, until_ns: int) -> RedBins:
        """The increments since the last call, one row a series and bin, of the bins that ended ``HOLD_NS`` before
        event time came to ``until_ns``."""
        if not self._pending:
            return NO_BINS
        cell, bin_, amount = (np.concatenate(column) for column in zip(*self._pending, strict=True))
        due = bin_ < (until_ns - HOLD_NS) // self._settings.bin_ns
        self._pending = [] if due.all() else [(cell[~due], bin_[~due], amount[~due])]
        self._pending_rows = int((~due).sum())
        return self._rows(cell[due], bin_[due], amount[due]) if due.any() else NO_BINS

    def _keys_code(self, key: RedKey) -> int:
        """Past so many operations of one service and kind, further ones are counted together."""
        if key not in self._keys:
            if self._operations[_whole(key)] >= self._settings.max_operations:
                key = replace(key, operation=OTHER_OPERATION)
            else:
                self._operations[_whole(key)] += 1
        return self._keys.setdefault(key, len(self._keys))

    def _add(self, cell: I64, bin_: I64, amount: F64) -> None:
        """Keep the sums of what falls together."""
        pairs, place = np.unique(np.stack([cell, bin_]), axis=1, return_inverse=True)
        sums = np.bincount(place.reshape(-1), amount, pairs.shape[1]).astype(np.float64)
        self._pending.append((pairs[0], pairs[1], sums))
        self._pending_rows += len(sums)

    def _rows(self, cell: I64, bin_: I64, amount: F64) -> RedBins:
        by_cell = list(self._cells)
        used, place = np.unique(cell, return_inverse=True)
        key = np.asarray([by_cell[one][0] for one in used.tolist()], np.int64)[place]
        part = np.asarray([by_cell[one][1] for one in used.tolist()], np.int64)[place]
        bound = np.asarray([by_cell[one][2] for one in used.tolist()])[place]
        places, row = np.unique(np.stack([bin_, key]), axis=1, return_inverse=True)
        row = row.reshape(-1)
        sums = [
            np.bincount(row, np.where(np.isin(part, parts), amount, 0.0), places.shape[1])
            for parts in ((Part.REQUESTS, Part.ERRORS), (Part.ERRORS,), (Part.SUM,))
        ]
        buckets = np.zeros((places.shape[1], BUCKETS), np.int32)
        of_bucket = np.flatnonzero(part == Part.BUCKET)
        of_bucket = of_bucket[np.lexsort((bound[of_bucket], row[of_bucket]))]
        for rows in np.split(of_bucket, np.flatnonzero(np.diff(row[of_bucket])) + 1):
            if len(rows):
                buckets[row[rows[0]]] = spread(_totals(bound[rows], amount[rows]))
        filled = (sums[0] > 0) | (sums[2] > 0) | buckets.any(axis=1)
        codes, series = np.unique(places[1][filled], return_inverse=True)
        by_code = list(self._keys)
        return RedBins(
            keys=tuple(by_code[code] for code in codes.tolist()),
            series=series.astype(np.int32),
            bin_start_ns=places[0][filled] * self._settings.bin_ns,
            count=np.rint(sums[0][filled]).astype(np.int64),
            errors=np.rint(sums[1][filled]).astype(np.int64),
            sum_ns=np.rint(sums[2][filled] * NS_PER_MS).astype(np.int64),
            buckets=buckets[filled],
        )


def _whole(key: RedKey) -> RedKey:
    """The service, in place of one of its operations."""
    return replace(key, operation="")


def _totals(bound: F64, amount: F64) -> dict[float, float]:
    held: dict[float, float] = {}
    for one, more in zip(bound.tolist(), amount.tolist(), strict=True):
        held[one] = held.get(one, 0.0) + more
    return held


def spread(cumulative: Mapping[float, float]) -> I32:
    """Increments of cumulative buckets by their upper bounds in ms as the layer's latency histogram, with
    the same total. Beyond the last finite bound a latency is taken to be at it."""
    found = np.zeros(BUCKETS)
    low_ms, below = 0.0, 0.0
    for high_ms in sorted(cumulative):
        amount = cumulative[high_ms] - below
        if amount > 0:
            found += amount * _shares(low_ms * NS_PER_MS, high_ms * NS_PER_MS)
            below = cumulative[high_ms]
        low_ms = high_ms
    # Whole requests: what rounding takes from one bucket it gives to the next.
    return np.diff(np.rint(np.cumsum(found)), prepend=0.0).astype(np.int32)


@lru_cache(maxsize=1024)
def _shares(low_ns: float, high_ns: float) -> F64:
    """How much of ``(low_ns, high_ns]`` lies in each bucket."""
    if math.isinf(high_ns):
        high_ns = low_ns * (1 + 1e-9) + 1.0
    overlap = np.minimum(UPPER_NS, high_ns) - np.maximum(LOWER_NS, low_ns)
    overlap[-1] = max(0.0, high_ns - max(float(LOWER_NS[-1]), low_ns))
    overlap = np.maximum(overlap, 0.0)
    return np.asarray(overlap / overlap.sum())
