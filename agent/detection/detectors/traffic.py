"""Traffic: the collapse of a formerly steady service, and surges (a witness only, never a reason).

A swing of the day is not a change of traffic, so both are judged against the extremes of the last minutes:
a collapse is next to nothing where the lower quartile was sure to send something (Poisson evidence), a
surge is three times the most that was seen. A service that was not steady (a bin in twenty empty) and one
too quiet to tell are not judged. Neither is a bin in which the whole tenant was silent: that is a gap in
the telemetry, or there is nobody left to tell the difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from agent.detection.evidence import F32
from agent.telemetry.frames import F64, I64

_RECENT = 6
_MIN_HISTORY = 24
_RING = 60


@dataclass(frozen=True, slots=True)
class TrafficScores:
    """One row a unit, NaN where the history is too short: nats for a collapse, for a surge, and the
    requests a bin that were expected and seen."""

    collapse: F64
    surge: F64
    expected: F64
    observed: F64


class TrafficDetector:
    """Bins are columns over all units; NaN is a bin that says nothing about a unit."""

    def __init__(self) -> None:
        self._ring = np.full((0, _RING), np.nan, np.float32)
        self._at = 0

    def score(self, counts: F64) -> TrafficScores:
        self._reserve(len(counts))
        ordered = np.roll(self._ring[: len(counts)], -self._at, axis=1)
        return TrafficScores(*_score(ordered, counts))

    def learn(self, counts: F64) -> None:
        self._reserve(len(counts))
        self._ring[:, self._at] = np.nan
        self._ring[: len(counts), self._at] = counts
        self._at = (self._at + 1) % _RING

    def forget(self, rows: I64) -> None:
        self._ring[rows[rows < len(self._ring)]] = np.nan

    def _reserve(self, rows: int) -> None:
        if rows > len(self._ring):
            more = max(rows, 2 * len(self._ring)) - len(self._ring)
            self._ring = np.append(self._ring, np.full((more, _RING), np.nan, np.float32), axis=0)


@njit(cache=True, nogil=True)
def _score(ring: F32, counts: F64) -> tuple[F64, F64, F64, F64]:
    units = len(counts)
    collapse, surge = np.full(units, math.nan), np.full(units, math.nan)
    expected, observed = np.full(units, math.nan), np.full(units, math.nan)
    for u in range(units):
        if math.isnan(counts[u]):
            continue
        known = np.empty(_RING + 1)
        n = 0
        for b in range(_RING):
            if not math.isnan(ring[u, b]):
                known[n] = ring[u, b]
                n += 1
        known[n] = counts[u]
        n += 1
        if n < _MIN_HISTORY + _RECENT:
            continue
        before, recent = known[: n - _RECENT], known[n - _RECENT : n]
        collapse[u], expected[u], observed[u] = _collapse(before, recent)
        surge[u] = _surge(before, recent)
    return collapse, surge, expected, observed


@njit(cache=True, nogil=True)
def _collapse(before: F64, recent: F64) -> tuple[float, float, float]:
    last = recent[-3:].sum() / 3
    usual = np.sort(before)[len(before) // 4]
    if usual <= 0 or last > 0.2 * usual or np.sum(before == 0) > 0.05 * len(before):
        return 0.0, usual, last
    best = 0.0
    for width in range(3, _RECENT + 1):
        seen, mean = recent[-width:].sum(), usual * width
        if seen <= 0.1 * mean:
            best = max(best, mean - seen + (seen * math.log(seen / mean) if seen > 0 else 0.0))
    return best, usual, last


@njit(cache=True, nogil=True)
def _surge(before: F64, recent: F64) -> float:
    # In wholes of the recent stretch's length, so that one crowded bin is not a surge.
    most = 0.0
    for start in range(0, len(before) - _RECENT + 1):
        most = max(most, before[start : start + _RECENT].sum())
    seen, mean = recent.sum(), 3 * (most + 3 * math.sqrt(most) + 3)
    return 0.0 if seen <= mean else seen * math.log(seen / mean) - (seen - mean)
