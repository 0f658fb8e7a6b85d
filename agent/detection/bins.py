"""Bins that are still open: increments are added up until the watermark closes them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent.detection.histogram import BUCKETS
from agent.detection.red import RedBins
from agent.detection.units import BinBlock, UnitTable
from agent.telemetry.frames import F64, I64, Bool

_Piece = tuple[RedBins, I64]  # the bins as drained, and the lines of them that lie in this bin
_AHEAD_NS = 3600 * 10**9


class OpenBins:
    """``requests_late`` came after their bin was closed; ``requests_ahead`` lie more than an hour past the
    watermark (a clock that runs ahead would hold memory for ever); ``requests_crowded`` found the table of
    units full. All three are counted and left out.

    Exporters differ in how long they hold spans back (the SDK's own default is five seconds), so the wait is
    learnt: when more than a fiftieth of the recent requests came late, bins stay open longer from then on, up
    to ``max_lateness_ns``, and again less long when that is no longer needed."""

    def __init__(self, units: UnitTable, bin_ns: int, lateness_ns: int, max_lateness_ns: int) -> None:
        self.units = units
        self.bin_ns, self.lateness_ns = bin_ns, lateness_ns
        self.least_lateness_ns, self.max_lateness_ns = lateness_ns, max_lateness_ns
        self.requests_late = self.requests_ahead = self.requests_crowded = 0
        self._pieces: dict[int, list[_Piece]] = {}
        self._closed_ns: int | None = None
        self._watermark_ns = 0
        self._recent = self._recent_late = 0.0

    def add(self, bins: RedBins) -> None:
        if len(bins) == 0:
            return
        start = bins.bin_start_ns // self.bin_ns * self.bin_ns
        for at in np.unique(start):
            lines = np.flatnonzero(start == at)
            requests = int(bins.count[lines].sum())
            self._recent += requests
            if self._closed_ns is not None and at < self._closed_ns:
                self.requests_late += requests
                self._wait_longer(requests, self._watermark_ns - int(at) - self.bin_ns)
            else:
                self._pieces.setdefault(int(at), []).append((bins, lines))

    def close(self, watermark_ns: int) -> Iterator[BinBlock]:
        """The bins that are complete, oldest first. A bin without any request does not exist."""
        self._watermark_ns = max(self._watermark_ns, watermark_ns)
        last_ns = self._watermark_ns - self.lateness_ns - self.bin_ns
        for at in sorted(at for at in self._pieces if at <= last_ns):
            yield self._block(at, self._pieces.pop(at))
            self._recent, self._recent_late = 0.97 * self._recent, 0.97 * self._recent_late
            self.lateness_ns = max(self.least_lateness_ns, round(0.998 * self.lateness_ns))
        closed_ns = (last_ns // self.bin_ns + 1) * self.bin_ns
        self._closed_ns = closed_ns if self._closed_ns is None else max(self._closed_ns, closed_ns)
        horizon_ns = self._watermark_ns + _AHEAD_NS
        for at in [at for at in self._pieces if at > horizon_ns]:
            self.requests_ahead += int(sum(bins.count[lines].sum() for bins, lines in self._pieces.pop(at)))

    def _wait_longer(self, requests: int, needed_ns: int) -> None:
        """What came too late for any wait teaches nothing."""
        if needed_ns > self.max_lateness_ns:
            return
        self._recent_late += requests
        if self._recent_late > 0.02 * self._recent:
            self.lateness_ns = min(max(self.lateness_ns, needed_ns + 10**9), self.max_lateness_ns)

    def _block(self, start_ns: int, pieces: list[_Piece]) -> BinBlock:
        """Rows are given out here and in the order of the keys, so that they depend on the bins alone."""
        present = [np.unique(bins.series[lines]) for bins, lines in pieces]
        for key in self.units.unknown(
            b.keys[c] for (b, _), codes in zip(pieces, present, strict=True) for c in codes
        ):
            self.units.rows(key, start_ns)
        parts = []
        for (bins, lines), codes in zip(pieces, present, strict=True):
            table = np.zeros((len(bins.keys), 2), np.int64)
            table[codes] = [self.units.rows(bins.keys[code], start_ns) for code in codes]
            parts.append(table[bins.series[lines]])
        rows = np.concatenate(parts)
        count = np.concatenate([bins.count[lines] for bins, lines in pieces])
        errors = np.concatenate([bins.errors[lines] for bins, lines in pieces])
        buckets = np.concatenate([bins.buckets[lines] for bins, lines in pieces])
        self.requests_crowded += int(count[rows[:, 0] < 0].sum())
        operations, operation, held = _grouped(rows[:, 0])
        services, service, counted = _grouped(rows[:, 1])
        merged = np.zeros((len(operations), BUCKETS), np.int32)
        np.add.at(merged, operation, buckets[held])
        block = BinBlock(
            start_ns=start_ns,
            operations=len(operations),
            rows=np.concatenate([operations, services]),
            count=np.append(
                _sums(operation, count[held], operations), _sums(service, count[counted], services)
            ),
            errors=np.append(
                _sums(operation, errors[held], operations), _sums(service, errors[counted], services)
            ),
            buckets=merged,
        )
        self.units.last_ns[block.rows] = start_ns
        return block


def _grouped(rows: I64) -> tuple[I64, I64, Bool]:
    """The distinct rows, for each known one the place of its row among them, and which are known."""
    known = rows >= 0
    distinct, place = np.unique(rows[known], return_inverse=True)
    return distinct, place, known


def _sums(place: I64, amount: I64, rows: I64) -> F64:
    return np.bincount(place, weights=amount, minlength=len(rows)).astype(np.float64)
