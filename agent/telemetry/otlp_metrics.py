"""ExportMetricsServiceRequest -> MetricBatch: every scalar of every data point as a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from agent.telemetry.batch import (
    COMPONENT_COUNT,
    COMPONENT_PART,
    COMPONENT_SUM,
    COMPONENT_VALUE,
    METRIC_EXP_HISTOGRAM,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
    METRIC_SUM,
    METRIC_SUMMARY,
    STALE_NAN_BITS,
    TEMPORALITY_CUMULATIVE,
    TEMPORALITY_UNSPECIFIED,
    MetricBatch,
    Reject,
    Signal,
)
from agent.telemetry.hashing import hash_bytes, mix
from agent.telemetry.otlp_body import DEFAULT_LIMITS, Body, Checked, DecodeLimits, bounded, checked
from agent.telemetry.otlp_schema import NUMBER
from agent.telemetry.wire import little64, skip, varint

_NO_TIME, _TIME_OUT_OF_RANGE = int(Reject.NO_TIME), int(Reject.TIME_OUT_OF_RANGE)
_NO_NAME, _NO_VALUE, _BAD_BUCKETS = int(Reject.NO_NAME), int(Reject.NO_VALUE), int(Reject.BAD_BUCKETS)
_MAX_NS = np.uint64((1 << 63) - 1)
_STALE = np.uint64(STALE_NAN_BITS)
_INFINITY_BITS = np.uint64(0x7FF0000000000000)

# Metric's data fields by kind (gauge, sum, histogram, exponential histogram, summary), and in the data
# points of that kind the fields that differ.
_DATA_FIELD = (5, 7, 9, 10, 11)
_ATTRIBUTES_FIELD = (7, 7, 9, 1, 7)
_FLAGS_FIELD = (8, 8, 10, 10, 8)

# Rows of ``ids`` (int64): one column a sample.
_START, _TIME, _METRIC_OFF, _METRIC_LEN, _NAME_OFF, _NAME_LEN, _POINT_OFF, _POINT_LEN = range(8)


def decode_metrics(body: Body, limits: DecodeLimits = DEFAULT_LIMITS) -> MetricBatch:
    """The samples of a body. Raises Malformed or TooLarge for the whole of it; samples of data points
    without a usable time, name, value or bounds are marked in ``reject``.

    A data point flagged "no recorded value" gives STALE_NAN_BITS; a Metric with data of several kinds
    gives the samples of each."""
    found = checked(body, Signal.METRICS, limits)
    n = _most_samples(found)
    bounded("too_many_rows", n, limits.max_rows)
    i64, i32 = np.empty((8, n), np.int64), np.empty((2, n), np.int32)
    u8, value, series = np.empty((4, n), np.uint8), np.empty(n, np.float64), np.empty(n, np.uint64)
    scratch = np.empty((2, int(found.counts[1:, NUMBER["HistogramDataPoint"]].max(initial=0))), np.int64)
    rows = _fill(found.raw, found.items, i64, i32, u8, series, value, value.view(np.uint64), scratch)
    ids, numbers, flags = i64[:, :rows], i32[:, :rows], u8[:, :rows]
    in_order: list[npt.NDArray[Any]] = [
        found.raw, *found.blocks, series[:rows], *ids, value[:rows], *numbers, *flags,
    ]  # fmt: skip
    return MetricBatch(*in_order)


def _most_samples(found: Checked) -> int:
    """No body gives more rows than this; fewer where a histogram has no sum."""
    return (
        found.count("NumberDataPoint")
        + 2 * found.count("HistogramDataPoint")
        + int(found.counts[1, NUMBER["HistogramDataPoint"]])
        + 3 * found.count("ExponentialHistogramDataPoint")
        + 2 * found.count("SummaryDataPoint")
        + found.count("ValueAtQuantile")
    )


@njit(cache=True, nogil=True)
def _identity(raw, scope_off, scope_len, metric_off, metric_len):  # type: ignore[no-untyped-def]
    """``(hash, name off, name len)`` of a metric: the names of its scope and itself, and its unit."""
    identity = np.uint64(0)
    pos = scope_off
    while pos < scope_off + scope_len:
        tag, pos = varint(raw, pos)
        if tag == 10:
            size, pos = varint(raw, pos)
            identity = hash_bytes(raw, pos, np.int64(size))
            pos += np.int64(size)
        else:
            pos = skip(raw, pos, tag & np.uint64(7))
    name_off = unit_off = pos = metric_off
    name_len = unit_len = np.int64(0)
    while pos < metric_off + metric_len:
        tag, pos = varint(raw, pos)
        if tag == 10 or tag == 26:
            size, pos = varint(raw, pos)
            if tag == 10:
                name_off = pos
                name_len = np.int64(size)
            else:
                unit_off = pos
                unit_len = np.int64(size)
            pos += np.int64(size)
        else:
            pos = skip(raw, pos, tag & np.uint64(7))
    identity = mix(identity, hash_bytes(raw, name_off, name_len))
    return mix(identity, hash_bytes(raw, unit_off, unit_len)), name_off, name_len


@njit(cache=True, nogil=True)
def _nature(raw, pos, stop, kind):  # type: ignore[no-untyped-def]
    """``(temporality, monotonic)`` of a Gauge, Sum, ... message; they may come behind its data points."""
    temporality = np.uint64(TEMPORALITY_UNSPECIFIED)
    monotonic = np.uint64(0)
    while pos < stop:
        tag, pos = varint(raw, pos)
        if tag == 16 and kind != METRIC_GAUGE and kind != METRIC_SUMMARY:
            temporality, pos = varint(raw, pos)
        elif tag == 24 and kind == METRIC_SUM:
            monotonic, pos = varint(raw, pos)
        else:
            pos = skip(raw, pos, tag & np.uint64(7))
    if temporality > TEMPORALITY_CUMULATIVE:
        temporality = np.uint64(TEMPORALITY_UNSPECIFIED)
    return temporality, np.uint64(1) if monotonic else np.uint64(0)


@njit(cache=True, nogil=True)
def _positions(raw, pos, tag, scratch, n):  # type: ignore[no-untyped-def]
    """Note where the 8-byte numbers of a repeated field lie, packed or not; ``(count, next position)``."""
    stop = pos + 8
    if tag & np.uint64(7) == 2:
        size, pos = varint(raw, pos)
        stop = pos + np.int64(size)
    while pos < stop:
        scratch[n] = pos
        n += 1
        pos += 8
    return n, pos


@njit(cache=True, nogil=True)
def _put(row, series, part, component, bits, u64, i32, values):  # type: ignore[no-untyped-def]
    values[row] = bits
    i32[0, row] = component
    u64[row] = mix(mix(series, np.uint64(component + 1)), part)
    return row + 1


@njit(cache=True, nogil=True)
def _quantile(raw, pos, stop):  # type: ignore[no-untyped-def]
    """``(quantile, value)`` of a ValueAtQuantile, as bits."""
    quantile = value = np.uint64(0)
    while pos < stop:
        tag, pos = varint(raw, pos)
        if tag == 9:
            quantile = little64(raw, pos)
        elif tag == 17:
            value = little64(raw, pos)
        pos = skip(raw, pos, tag & np.uint64(7))
    return quantile, value


@njit(cache=True, nogil=True)
def _point(raw, pos, stop, kind, series, row, i64, i32, u8, u64, value, bits, scratch):  # type: ignore[no-untyped-def]
    """Write the samples of one data point from ``row`` on; the row behind them."""
    first = row
    start = time = flags = count = total = zero = number = attributes = np.uint64(0)
    has_number = has_total = is_int = False
    counts = bounds = np.int64(0)
    begin = pos
    while pos < stop:
        tag, pos = varint(raw, pos)
        field = np.int64(tag >> np.uint64(3))
        wire = tag & np.uint64(7)
        if field == _ATTRIBUTES_FIELD[kind]:
            size, pos = varint(raw, pos)
            attributes += mix(np.uint64(1), hash_bytes(raw, pos, np.int64(size)))
            pos += np.int64(size)
        elif field == _FLAGS_FIELD[kind]:
            flags, pos = varint(raw, pos)
        elif kind == METRIC_HISTOGRAM and field == 6:
            counts, pos = _positions(raw, pos, tag, scratch[0], counts)
        elif kind == METRIC_HISTOGRAM and field == 7:
            bounds, pos = _positions(raw, pos, tag, scratch[1], bounds)
        elif wire == 1:
            word = little64(raw, pos)
            pos += 8
            if field == 2:
                start = word
            elif field == 3:
                time = word
            elif kind <= METRIC_SUM:
                if field == 4 or field == 6:
                    number = word
                    has_number = True
                    is_int = field == 6
            elif field == 4:
                count = word
            elif field == 5:
                total = word
                has_total = True
            elif field == 7 and kind == METRIC_EXP_HISTOGRAM:
                zero = word
        else:
            pos = skip(raw, pos, wire)
    series = mix(series, attributes)
    stale = flags & np.uint64(1) == 1
    nothing = np.uint64(0)
    if kind <= METRIC_SUM:
        row = _put(row, series, nothing, np.int64(COMPONENT_VALUE), number, u64, i32, bits)
        if is_int:
            value[first] = np.float64(np.int64(number))
    else:
        row = _put(row, series, nothing, np.int64(COMPONENT_COUNT), np.float64(count), u64, i32, value)
        if has_total or kind == METRIC_SUMMARY:
            row = _put(row, series, nothing, np.int64(COMPONENT_SUM), total, u64, i32, bits)
    buckets = row
    if kind == METRIC_HISTOGRAM:
        running = np.uint64(0)
        for i in range(counts):
            bound = little64(raw, scratch[1, i]) if i < bounds else _INFINITY_BITS
            running += little64(raw, scratch[0, i])
            row = _put(row, series, bound, np.int64(COMPONENT_PART + i), np.float64(running), u64, i32, value)
    elif kind == METRIC_EXP_HISTOGRAM:
        row = _put(row, series, nothing, np.int64(COMPONENT_PART), np.float64(zero), u64, i32, value)
    elif kind == METRIC_SUMMARY:
        pos = begin
        while pos < stop:
            tag, pos = varint(raw, pos)
            if tag != 50:
                pos = skip(raw, pos, tag & np.uint64(7))
                continue
            size, pos = varint(raw, pos)
            quantile, word = _quantile(raw, pos, pos + np.int64(size))
            row = _put(row, series, quantile, COMPONENT_PART + row - buckets, word, u64, i32, bits)
            pos += np.int64(size)
    reject = 0
    if time == 0:
        reject = _NO_TIME
    elif time > _MAX_NS or start > _MAX_NS:
        reject = _TIME_OUT_OF_RANGE
    elif kind <= METRIC_SUM and not has_number and not stale:
        reject = _NO_VALUE
    for i in range(first, row):
        i64[_START, i] = np.int64(start) if start <= _MAX_NS else 0
        i64[_TIME, i] = np.int64(time) if time <= _MAX_NS else 0
        i64[_POINT_OFF, i] = begin
        i64[_POINT_LEN, i] = stop - begin
        u8[3, i] = reject
        if stale:
            bits[i] = _STALE
    if kind == METRIC_HISTOGRAM and reject == 0 and counts != bounds + 1 and (counts or bounds):
        u8[3, buckets:row] = _BAD_BUCKETS
    return row


@njit(cache=True, nogil=True)
def _fill(raw, items, i64, i32, u8, u64, value, bits, scratch):  # type: ignore[no-untyped-def]
    """One row a sample; how many there were. ``i64`` as _START ... say; ``i32``: component, block; ``u8``:
    kind, temporality, monotonic, reject; ``u64``: series hashes; ``bits`` is ``value`` as integers."""
    row = np.int64(0)
    for item in range(items.shape[1]):
        pos = items[0, item]
        end = pos + items[1, item]
        identity, name_off, name_len = _identity(raw, items[3, item], items[4, item], pos, items[1, item])
        first = row
        while pos < end:
            tag, pos = varint(raw, pos)
            field = np.int64(tag >> np.uint64(3))
            if field != 5 and field != 7 and field != 9 and field != 10 and field != 11:
                pos = skip(raw, pos, tag & np.uint64(7))
                continue
            kind = np.int64(METRIC_GAUGE)
            for candidate in range(5):
                if _DATA_FIELD[candidate] == field:
                    kind = np.int64(candidate)
            size, pos = varint(raw, pos)
            stop = pos + np.int64(size)
            temporality, monotonic = _nature(raw, pos, stop, kind)
            series = mix(identity, np.uint64(kind) | temporality << np.uint64(8) | monotonic << np.uint64(16))
            of_kind = row
            while pos < stop:
                tag, pos = varint(raw, pos)
                if tag != 10:
                    pos = skip(raw, pos, tag & np.uint64(7))
                    continue
                size, pos = varint(raw, pos)
                length = np.int64(size)
                row = _point(
                    raw, pos, pos + length, kind, series, row, i64, i32, u8, u64, value, bits, scratch
                )
                pos += length
            u8[0, of_kind:row] = kind
            u8[1, of_kind:row] = temporality
            u8[2, of_kind:row] = monotonic
        i64[_METRIC_OFF, first:row] = items[0, item]
        i64[_METRIC_LEN, first:row] = items[1, item]
        i64[_NAME_OFF, first:row] = name_off
        i64[_NAME_LEN, first:row] = name_len
        i32[1, first:row] = items[2, item]
        if name_len == 0:
            u8[3, first:row] = _NO_NAME
    return row
