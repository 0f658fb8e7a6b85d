"""The recent past of the RED series, for the API: rate, error ratio and latency quantiles.

Bins are kept sparse (a bin of five seconds fills a dozen of the 130 buckets) in segments of a minute of
event time, dropped whole by age and, when the budget is used up, oldest first. A query adds up what
overlaps its range, so increments that came late are in the answer without any merging on the way in.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from agent.detection.histogram import BUCKETS, quantiles
from agent.detection.red import RedBins, RedKey, RedKind, concat_bins
from agent.telemetry.frames import F64, I32, I64

_SEGMENT_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class RedStoreSettings:
    """``keep_s``: age at which bins go. ``max_bytes``: budget; beyond it the oldest minutes go first."""

    keep_s: float = 3600.0
    max_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class RedSeries:
    """One row a step. ``rate`` is requests a second, ``error_ratio`` 0 to 1, latencies in ns; the ratio and
    the latencies are NaN in a step without requests."""

    start_ns: I64
    count: I64
    errors: I64
    rate: F64
    error_ratio: F64
    mean_ns: F64
    p50_ns: F64
    p95_ns: F64
    p99_ns: F64


@dataclass(slots=True)
class _Segment:
    series: I32
    bin_start_ns: I64
    count: I64
    errors: I64
    sum_ns: I64
    offsets: I64
    bucket: I32
    amount: I32

    @property
    def bytes(self) -> int:
        return 48 * len(self.series) + 8 * len(self.bucket) + 500


class RedStore:
    """One thread may add while others ask."""

    def __init__(self, settings: RedStoreSettings | None = None) -> None:
        self.settings = settings or RedStoreSettings()
        self.bytes = 0
        self._codes: dict[RedKey, int] = {}
        self._segments: dict[int, list[_Segment]] = {}
        # A query's compiled loop must not meet keys or segments that change under it.
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        self._lock = threading.Lock()

    def add(self, bins: RedBins) -> None:
        if len(bins):
            with self._lock:
                self._add(bins)

    def _add(self, bins: RedBins) -> None:
        table = np.asarray([self._codes.setdefault(k, len(self._codes)) for k in bins.keys], np.int32)
        minute = bins.bin_start_ns // _SEGMENT_NS
        for which in np.unique(minute):
            self._append(int(which), _sparse(bins, table, np.flatnonzero(minute == which)))
        self._evict()

    def keys(self) -> tuple[RedKey, ...]:
        """The series that have bins here, sorted."""
        with self._lock:
            names = list(self._codes)
            present = {
                int(c) for parts in self._segments.values() for p in parts for c in np.unique(p.series)
            }
        return tuple(sorted(names[code] for code in present))

    def query(
        self,
        service: str | None,
        operation: str | None,
        start_ns: int,
        end_ns: int,
        step_s: float,
        *,
        tenant: str = "default",
        kind: RedKind = RedKind.SERVED,
    ) -> RedSeries:
        """What was seen in ``[start_ns, end_ns)``, a row every ``step_s`` from ``start_ns`` on. ``None`` is
        every service, or every operation. A bin counts in the step in which it begins."""
        step_ns = round(step_s * 1e9)
        if step_ns <= 0 or end_ns <= start_ns:
            raise ValueError(
                f"range [{start_ns}, {end_ns}) in steps of {step_s} s: the end must lie after the start "
                "and the step be positive"
            )
        steps = -(-(end_ns - start_ns) // step_ns)
        sums = np.zeros((3, steps), np.int64)
        buckets = np.zeros((steps, BUCKETS))
        with self._lock:
            wanted = np.asarray(
                [
                    key.tenant == tenant
                    and key.kind is kind
                    and (service is None or key.service == service)
                    and (operation is None or key.operation == operation)
                    for key in self._codes
                ],
                np.bool_,
            )
            for p in self._overlapping(start_ns, end_ns):
                _add_up(
                    wanted, p.series, p.bin_start_ns, p.count, p.errors, p.sum_ns, p.offsets, p.bucket, p.amount,
                    start_ns, end_ns, step_ns, sums, buckets,
                )  # fmt: skip
        return _rendered(start_ns, step_ns, sums, buckets)

    def bins(self, service: str | None, start_ns: int, end_ns: int) -> RedBins:
        """The increments whose bins begin in ``[start_ns, end_ns)``, as they were added."""
        parts = []
        with self._lock:
            names = list(self._codes)
            wanted = np.asarray([service in (None, key.service) for key in names], np.bool_)
            for p in self._overlapping(start_ns, end_ns):
                rows = np.flatnonzero(
                    wanted[p.series] & (p.bin_start_ns >= start_ns) & (p.bin_start_ns < end_ns)
                )
                if len(rows):
                    parts.append(_dense(p, rows, names))
        return concat_bins(parts)

    def _overlapping(self, start_ns: int, end_ns: int) -> Iterator[_Segment]:
        for minute, parts in self._segments.items():
            if (minute + 1) * _SEGMENT_NS > start_ns and minute * _SEGMENT_NS < end_ns:
                yield from parts

    def _append(self, minute: int, segment: _Segment) -> None:
        parts = self._segments.setdefault(minute, [])
        parts.append(segment)
        self.bytes += segment.bytes
        if len(parts) > 64:
            self.bytes -= sum(part.bytes for part in parts)
            parts[:] = [_joined(parts)]
            self.bytes += parts[0].bytes

    def _evict(self) -> None:
        newest = max(self._segments)
        oldest_kept = newest - self.settings.keep_s * 1e9 / _SEGMENT_NS
        for minute in sorted(self._segments):
            if (minute >= oldest_kept and self.bytes <= self.settings.max_bytes) or minute == newest:
                break
            self.bytes -= sum(part.bytes for part in self._segments.pop(minute))
            if len(self._codes) > 4 * max(1, sum(len(p) for p in self._segments.values())):
                self._forget_unused()

    def _forget_unused(self) -> None:
        """Keys that no bin points at any more go, so that a flood of names leaves nothing behind."""
        parts = [p for ps in self._segments.values() for p in ps]
        used = np.unique(np.concatenate([p.series for p in parts]))
        names = list(self._codes)
        self._codes = {names[int(code)]: i for i, code in enumerate(used)}
        for part in parts:
            part.series = np.searchsorted(used, part.series).astype(np.int32)


def _sparse(bins: RedBins, table: I32, rows: I64) -> _Segment:
    buckets = bins.buckets[rows]
    at, bucket = np.nonzero(buckets)
    offsets = np.searchsorted(at, np.arange(len(rows) + 1)).astype(np.int64)
    return _Segment(
        table[bins.series[rows]], bins.bin_start_ns[rows], bins.count[rows], bins.errors[rows], bins.sum_ns[rows],
        offsets, bucket.astype(np.int32), buckets[at, bucket],
    )  # fmt: skip


def _dense(segment: _Segment, rows: I64, names: list[RedKey]) -> RedBins:
    used, series = np.unique(segment.series[rows], return_inverse=True)
    lengths = np.diff(segment.offsets)
    buckets = np.zeros((len(segment.series), BUCKETS), np.int32)
    buckets[np.repeat(np.arange(len(lengths)), lengths), segment.bucket] = segment.amount
    return RedBins(
        tuple(names[code] for code in used.tolist()), series.astype(np.int32), segment.bin_start_ns[rows],
        segment.count[rows], segment.errors[rows], segment.sum_ns[rows], buckets[rows],
    )  # fmt: skip


def _joined(parts: list[_Segment]) -> _Segment:
    shifts = np.cumsum([0, *(len(p.bucket) for p in parts)])
    offsets = [p.offsets[:-1] + shift for p, shift in zip(parts, shifts[:-1], strict=True)]
    return _Segment(
        series=np.concatenate([p.series for p in parts]),
        bin_start_ns=np.concatenate([p.bin_start_ns for p in parts]),
        count=np.concatenate([p.count for p in parts]),
        errors=np.concatenate([p.errors for p in parts]),
        sum_ns=np.concatenate([p.sum_ns for p in parts]),
        offsets=np.append(np.concatenate(offsets), shifts[-1]).astype(np.int64),
        bucket=np.concatenate([p.bucket for p in parts]),
        amount=np.concatenate([p.amount for p in parts]),
    )


@njit(cache=True, nogil=True)
def _add_up(
    wanted: np.ndarray[tuple[int], np.dtype[np.bool_]],
    series: I32,
    bin_start_ns: I64,
    count: I64,
    errors: I64,
    sum_ns: I64,
    offsets: I64,
    bucket: I32,
    amount: I32,
    start_ns: int,
    end_ns: int,
    step_ns: int,
    sums: I64,
    buckets: F64,
) -> None:
    for row in range(len(series)):
        at = bin_start_ns[row]
        if not wanted[series[row]] or at < start_ns or at >= end_ns:
            continue
        step = (at - start_ns) // step_ns
        sums[0, step] += count[row]
        sums[1, step] += errors[row]
        sums[2, step] += sum_ns[row]
        for i in range(offsets[row], offsets[row + 1]):
            buckets[step, bucket[i]] += amount[i]


def _rendered(start_ns: int, step_ns: int, sums: I64, buckets: F64) -> RedSeries:
    count, errors = sums[0], sums[1]
    requests = np.where(count > 0, count, np.nan)
    return RedSeries(
        start_ns=start_ns + step_ns * np.arange(len(count), dtype=np.int64),
        count=count,
        errors=errors,
        rate=count / (step_ns / 1e9),
        error_ratio=errors / requests,
        mean_ns=sums[2] / requests,
        p50_ns=quantiles(buckets, 0.50),
        p95_ns=quantiles(buckets, 0.95),
        p99_ns=quantiles(buckets, 0.99),
    )
