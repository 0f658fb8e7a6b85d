"""RED series (rate, errors, duration) made from spans as they arrive.

*Which spans count.* SERVER and CONSUMER spans are requests **served**. CLIENT spans are
**calls** made, a series of their own: they show a slow network, and a dependency that sends no telemetry
itself. INTERNAL and PRODUCER spans are steps, not requests. A service
that has only ever sent spans of no kind has all of them counted as served, each under its own operation;
from its first span with a kind on, the kindless no longer count.

*Which bin.* A span is exported when it ends, so its end decides: the bins fill in order, a bin is complete
as soon as the watermark has passed it, and a request that hung for a minute shows in the bin in which it
came back instead of rewriting the past.

*Late spans.* ``drain`` hands out increments: the same bin may come again with what arrived since, and a
reader adds. Nothing is held back here; a reader that needs finished bins waits for the watermark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from numba import njit

from agent.detection.histogram import BUCKETS, bucket_of
from agent.telemetry.frames import (
    I32,
    I64,
    KIND_CLIENT,
    KIND_CONSUMER,
    KIND_INTERNAL,
    KIND_SERVER,
    KIND_UNSPECIFIED,
    STATUS_ERROR,
    U8,
    SpanFrame,
)
from agent.telemetry.source import Source

OTHER_OPERATION = "…other"
_SERVED, _CALLS, _SKIP = 0, 1, 2


class RedKind(StrEnum):
    SERVED = "served"  # requests that the service answered
    CALLS = "calls"  # requests that the service made


_KINDS = (RedKind.SERVED, RedKind.CALLS)


@dataclass(frozen=True, slots=True, order=True)
class RedKey:
    """One RED series: an operation of a service, all its instances together."""

    service: str
    namespace: str
    tenant: str
    operation: str
    kind: RedKind


@dataclass(frozen=True, slots=True)
class RedSettings:
    """``bin_s``: width of a bin in event time. ``max_operations``: series of one service and kind, the
    rest is counted under ``…other``. ``max_pending_rows``: (series, bin) pairs kept between two drains
    (540 bytes each); what does not fit is counted in ``RedAccumulator.spans_refused``."""

    bin_s: float = 5.0
    max_operations: int = 64
    max_pending_rows: int = 50_000

    @property
    def bin_ns(self) -> int:
        return round(self.bin_s * 1e9)


@dataclass(frozen=True, slots=True)
class RedBins:
    """Increments, one row a series and bin: add those of the same series and bin. ``series`` points
    into ``keys``; ``buckets[n, BUCKETS]`` is the latency histogram of ``agent.detection.histogram``."""

    keys: tuple[RedKey, ...]
    series: I32
    bin_start_ns: I64
    count: I64
    errors: I64
    sum_ns: I64
    buckets: I32

    def __len__(self) -> int:
        return len(self.series)


def concat_bins(parts: Sequence[RedBins]) -> RedBins:
    """What several streams drained, as one; equal keys become one series."""
    index: dict[RedKey, int] = {}
    codes = [np.zeros(0, np.int32)]
    for part in parts:
        table = np.asarray([index.setdefault(key, len(index)) for key in part.keys], np.int32)
        codes.append(table[part.series] if len(part) else codes[0])
    none = np.zeros(0, np.int64)
    return RedBins(
        keys=tuple(index),
        series=np.concatenate(codes),
        bin_start_ns=np.concatenate([none, *(p.bin_start_ns for p in parts)]),
        count=np.concatenate([none, *(p.count for p in parts)]),
        errors=np.concatenate([none, *(p.errors for p in parts)]),
        sum_ns=np.concatenate([none, *(p.sum_ns for p in parts)]),
        buckets=np.concatenate([np.zeros((0, BUCKETS), np.int32), *(p.buckets for p in parts)]),
    )


NO_BINS = concat_bins([])


class RedAccumulator:
    """Feed the spans of one stream in, take finished sums out.

    The frames must share growing tables: ``sources`` and ``names`` of a later frame begin with those of
    the earlier one, as a stream's own tables do. ``spans_refused`` counts the spans that found no room."""

    def __init__(self, settings: RedSettings | None = None) -> None:
        self.settings = settings or RedSettings()
        self.spans_refused = 0
        self._sources: tuple[Source, ...] = ()
        self._names: tuple[str, ...] = ()
        self._services: dict[tuple[str, str, str], int] = {}
        self._service_list: list[tuple[str, str, str]] = []
        self._service_of_source = np.zeros(0, np.int32)
        self._has_kinds = np.zeros(0, np.bool_)
        self._operations = np.zeros((0, 2), np.int32)
        self._keys: list[RedKey] = []
        self._series_of: dict[int, int] = {}
        self._rows = _Rows(64)

    def observe(self, spans: SpanFrame) -> None:
        if len(spans) == 0:
            return
        self._learn_tables(spans.sources, spans.names)
        service = self._service_of_source[spans.source]
        kind = _classes(spans.kind, service, self._has_kinds)
        packed = (service.astype(np.int64) << 33) | (spans.name.astype(np.int64) << 1) | kind
        counted = np.flatnonzero(kind != _SKIP)
        if len(counted) == 0:
            return
        distinct, inverse = np.unique(packed[counted], return_inverse=True)
        series = np.asarray([self._series(int(code)) for code in distinct], np.int32)[inverse]
        self._add(series, counted, spans)

    @property
    def crowded(self) -> bool:
        """Whether it is time to drain: half of the room is taken."""
        return 2 * self._rows.used > self.settings.max_pending_rows

    def drain(self) -> RedBins:
        """All increments since the last drain."""
        rows, self._rows = self._rows, _Rows(64)
        n = rows.used
        used, series = np.unique(rows.series[:n], return_inverse=True)
        return RedBins(
            keys=tuple(self._keys[code] for code in used),
            series=series.astype(np.int32),
            bin_start_ns=rows.bin[:n] * self.settings.bin_ns,
            count=rows.count[:n].copy(),
            errors=rows.errors[:n].copy(),
            sum_ns=rows.sum_ns[:n].copy(),
            buckets=rows.buckets[:n].copy(),
        )

    def _add(self, series: I32, counted: I64, spans: SpanFrame) -> None:
        bins = spans.end_ns[counted] // self.settings.bin_ns
        # Two small integers in one: arrivals of a poll span few bins, so the pairs are few.
        pairs = (series.astype(np.int64) << 40) | (bins & ((1 << 40) - 1))
        distinct, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
        rows = self._rows
        rows.reserve(min(rows.used + len(distinct), self.settings.max_pending_rows))
        row_of = np.asarray(
            [
                rows.row(int(pair), int(series[i]), int(bins[i]))
                for pair, i in zip(distinct, first, strict=True)
            ],
            np.int64,
        )
        self.spans_refused += _accumulate(
            row_of[inverse], counted, spans.status, spans.start_ns, spans.end_ns,
            rows.count, rows.errors, rows.sum_ns, rows.buckets,
        )  # fmt: skip

    def _series(self, packed: int) -> int:
        found = self._series_of.get(packed)
        if found is not None:
            return found
        service, name, kind = packed >> 33, (packed >> 1) & 0xFFFFFFFF, packed & 1
        tenant, namespace, service_name = self._service_list[service]
        if self._operations[service, kind] >= self.settings.max_operations:
            other = -1 - (service * 2 + kind)
            if other not in self._series_of:
                self._series_of[other] = len(self._keys)
                self._keys.append(RedKey(service_name, namespace, tenant, OTHER_OPERATION, _KINDS[kind]))
            # Not remembered by name: a flood of names must not grow the table.
            return self._series_of[other]
        self._operations[service, kind] += 1
        self._series_of[packed] = len(self._keys)
        self._keys.append(RedKey(service_name, namespace, tenant, self._names[name], _KINDS[kind]))
        return self._series_of[packed]

    def _learn_tables(self, sources: tuple[Source, ...], names: tuple[str, ...]) -> None:
        for what, old, new in (("sources", self._sources, sources), ("names", self._names, names)):
            if len(new) < len(old) or (old and new is not old and new[len(old) - 1] != old[-1]):
                raise ValueError(
                    f"{what} of a frame: got {len(new)} entries that do not begin with the {len(old)} of the "
                    "frame before; feed one accumulator from one stream, whose tables only grow"
                )
        if len(sources) > len(self._sources):
            added = [
                self._services.setdefault((s.tenant, s.namespace, s.service), len(self._services))
                for s in sources[len(self._sources) :]
            ]
            self._service_of_source = np.append(self._service_of_source, np.asarray(added, np.int32))
            self._service_list = list(self._services)
            missing = len(self._services) - len(self._has_kinds)
            self._has_kinds = np.append(self._has_kinds, np.zeros(missing, np.bool_))
            self._operations = np.append(self._operations, np.zeros((missing, 2), np.int32), axis=0)
        self._sources, self._names = sources, names


class _Rows:
    """The (series, bin) sums since the last drain, as growing columns."""

    def __init__(self, capacity: int) -> None:
        self.index: dict[int, int] = {}
        self.series = np.zeros(capacity, np.int32)
        self.bin = np.zeros(capacity, np.int64)
        self.count = np.zeros(capacity, np.int64)
        self.errors = np.zeros(capacity, np.int64)
        self.sum_ns = np.zeros(capacity, np.int64)
        self.buckets = np.zeros((capacity, BUCKETS), np.int32)

    @property
    def used(self) -> int:
        return len(self.index)

    def reserve(self, wanted: int) -> None:
        have = len(self.series)
        if wanted <= have:
            return
        more = max(wanted, 2 * have) - have
        for name in ("series", "bin", "count", "errors", "sum_ns"):
            column = getattr(self, name)
            setattr(self, name, np.append(column, np.zeros(more, column.dtype)))
        self.buckets = np.append(self.buckets, np.zeros((more, BUCKETS), np.int32), axis=0)

    def row(self, pair: int, series: int, bin_: int) -> int:
        """The row of a pair; -1 if it is new and there is no room."""
        row = self.index.get(pair)
        if row is None:
            row = len(self.index)
            if row >= len(self.series):
                return -1
            self.index[pair] = row
            self.series[row], self.bin[row] = series, bin_
        return row


@njit(cache=True, nogil=True)
def _classes(kind: U8, service: I32, has_kinds: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Served, calls or skip for each span; notes which services send kinds."""
    out = np.full(len(kind), _SKIP, np.int64)
    for i in range(len(kind)):
        if kind[i] == KIND_SERVER or kind[i] == KIND_CONSUMER:
            out[i] = _SERVED
        elif kind[i] == KIND_CLIENT:
            out[i] = _CALLS
        if kind[i] != KIND_UNSPECIFIED and kind[i] != KIND_INTERNAL:
            has_kinds[service[i]] = True
    for i in range(len(kind)):
        if kind[i] == KIND_UNSPECIFIED and not has_kinds[service[i]]:
            out[i] = _SERVED
    return out


@njit(cache=True, nogil=True)
def _accumulate(
    rows: I64,
    counted: I64,
    status: U8,
    start_ns: I64,
    end_ns: I64,
    count: I64,
    errors: I64,
    sum_ns: I64,
    buckets: I32,
) -> int:
    refused = 0
    for i in range(len(rows)):
        row, span = rows[i], counted[i]
        if row < 0:
            refused += 1
            continue
        duration = max(end_ns[span] - start_ns[span], 0)
        count[row] += 1
        errors[row] += status[span] == STATUS_ERROR
        sum_ns[row] += duration
        buckets[row, bucket_of(float(duration))] += 1
    return refused
