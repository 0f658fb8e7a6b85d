"""The compiled loops of selection: samples to steps. Times ascend within a series; ``offsets`` part the series."""

from __future__ import annotations

import numpy as np
from numba import njit

_STALE = np.int64(0x7FF0000000000002)


@njit(cache=True, nogil=True)
def look_back(offsets, time_ms, value, bits, ends_ms, lookback_ms, out, present, filled):  # type: ignore[no-untyped-def]
    """The last sample of every series at every step, not older than ``lookback_ms`` (exclusive) and no
    stale marker. ``out`` and ``present`` have shape (series, steps); ``filled[i]`` counts the steps of
    series ``i`` that have one. ``bits`` are those of ``value``; ``ends_ms`` ascends."""
    # Unsigned indices spare the test for negative ones, which took half of the time.
    one = np.uint64(1)
    for i in range(len(offsets) - 1):
        start = np.uint64(offsets[i])
        stop = np.uint64(offsets[i + 1])
        pos = start
        count = np.int64(0)
        for j in range(len(ends_ms)):
            end = ends_ms[j]
            while pos < stop and time_ms[pos] <= end:
                pos += one
            last = pos - one
            found = pos > start and time_ms[last] > end - lookback_ms and bits[last] != _STALE
            present[np.uint64(i), np.uint64(j)] = found
            out[np.uint64(i), np.uint64(j)] = value[last] if found else 0.0
            count += found
        filled[i] = count


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
        stale += bits[k] == _STALE
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
