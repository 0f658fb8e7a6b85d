"""The compiled loops of selection: samples to steps. Times ascend within a series; ``offsets`` part the series."""

from __future__ import annotations

import numpy as np
from numba import njit

STALE = np.int64(0x7FF0000000000002)


@njit(cache=True, nogil=True)
def alike(a, b):  # type: ignore[no-untyped-def]
    """Whether two columns of integers are the same; without a branch a number, so that several are compared at once."""
    if len(a) != len(b) or (len(a) > 0 and a[0] != b[0]):
        return False
    different = np.int64(0)
    for k in range(len(a)):
        different |= a[k] ^ b[k]
    return different == 0


@njit(cache=True, nogil=True)
def written_out(offsets, start, ms):  # type: ignore[no-untyped-def]
    """The times of every series, from ``start[i]`` of ``ms`` on, one series behind the other."""
    out = np.empty(offsets[-1], np.int64)
    for i in range(len(start)):
        to = out[offsets[i] : offsets[i + 1]]
        to[:] = ms[start[i] : start[i] + len(to)]
    return out


@njit(cache=True, nogil=True)
def look_back(offsets, times, value, bits, ends_ms, lookback_ms, out, present, filled):  # type: ignore[no-untyped-def]
    """The last sample of every series at every step, not older than ``lookback_ms`` (exclusive) and no
    stale marker. ``out`` and ``present`` have shape (series, steps); ``filled[i]`` counts the steps of
    series ``i`` that have one. ``times`` are the two columns of ``Times``: where they lie is looked up once for the
    series that share them. ``bits`` are those of ``value``; ``ends_ms`` ascends."""
    start, time_ms = times
    # Unsigned rows spare the test for negative ones, which took half of the time.
    rows, near = np.empty(len(ends_ms), np.uint64), np.empty(len(ends_ms), np.bool_)
    for i in range(len(offsets) - 1):
        size = offsets[i + 1] - offsets[i]
        if i == 0 or start[i] != start[i - 1] or size != offsets[i] - offsets[i - 1]:
            _last_before(time_ms[start[i] : start[i] + size], ends_ms, lookback_ms, rows, near)
        values, marks = value[offsets[i] : offsets[i + 1]], bits[offsets[i] : offsets[i + 1]]
        count = np.int64(0)
        for j in range(len(ends_ms)):
            found = near[j] and marks[rows[j]] != STALE
            present[i, j] = found
            out[i, j] = values[rows[j]] if found else 0.0
            count += found
        filled[i] = count


@njit(cache=True, nogil=True)
def _last_before(time_ms, ends_ms, lookback_ms, rows, near):  # type: ignore[no-untyped-def]
    """The row of the last sample at every step, and whether there is one that is not too old."""
    behind, one = np.uint64(0), np.uint64(1)
    for j in range(len(ends_ms)):
        while behind < len(time_ms) and time_ms[behind] <= ends_ms[j]:
            behind += one
        near[j] = behind > 0 and time_ms[behind - one] > ends_ms[j] - lookback_ms
        rows[j] = behind - one if near[j] else np.uint64(0)


@njit(cache=True, nogil=True)
def last_rows(offsets, time_ms, ends_ms, lookback_ms, rows):  # type: ignore[no-untyped-def]
    """As ``look_back``, but the row of the sample in ``rows``, stale or not, -1 where there is none."""
    for i in range(len(offsets) - 1):
        start = offsets[i]
        pos = start
        stop = offsets[i + 1]
        for j in range(len(ends_ms)):
            end = ends_ms[j]
            while pos < stop and time_ms[pos] <= end:
                pos += 1
            rows[i, j] = pos - 1 if pos > start and time_ms[pos - 1] > end - lookback_ms else -1


@njit(cache=True, nogil=True)
def count_stale(bits):  # type: ignore[no-untyped-def]
    stale = 0
    for k in range(len(bits)):
        stale += bits[k] == STALE
    return stale


@njit(cache=True, nogil=True)
def interpolate(offsets, time_ms, value, ends_ms, lookback_ms, out, present):  # type: ignore[no-untyped-def]
    """``smoothed``: the line between the samples before and behind a step, both within ``lookback_ms``;
    the one before where there is none behind."""
    for i in range(len(offsets) - 1):
        start = offsets[i]
        pos = start
        stop = offsets[i + 1]
        for j in range(len(ends_ms)):
            end = ends_ms[j]
            while pos < stop and time_ms[pos] < end:
                pos += 1
            before = pos > start and time_ms[pos - 1] > end - lookback_ms
            behind = pos < stop and time_ms[pos] <= end + lookback_ms
            present[i, j] = True
            if behind and time_ms[pos] == end:
                out[i, j] = value[pos]
            elif before and behind:
                rise = value[pos] - value[pos - 1]
                part = np.float64(end - time_ms[pos - 1]) / np.float64(time_ms[pos] - time_ms[pos - 1])
                out[i, j] = value[pos - 1] + rise * part
            elif before:
                out[i, j] = value[pos - 1]
            else:
                out[i, j] = 0.0
                present[i, j] = False
