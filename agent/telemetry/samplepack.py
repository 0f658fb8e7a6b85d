"""The large columns of a record of samples made small, because each byte of the log is paid for three times: when it
is copied, when it is synced and when a stream reads it.

- Times: series that were scraped together share them. Only those of a row that has others than the row before are
  kept, and which rows these are.
- Values: each is XORed with the one before it of its row (Pelkonen et al., Gorilla, VLDB 2015, section 4.1.2), and of
  the result those bytes are kept that lie between its leading and its trailing zeros: counters and whole numbers
  take two to four. ``control`` has a byte a value: how many bytes are kept, and in the upper half how many zero
  bytes are below them. Where this saves nothing, the values are kept as they are.
- Counts: one where all rows have the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit
from numba.cpython.unsafe import numbers

from agent.telemetry.frames import F64, I32, I64
from agent.telemetry.wire import little64

Columns = dict[str, np.ndarray[Any, Any]]

PACKED = ("sample_count", "histogram_count", "time_ms", "value")  # columns of a SampleBatch
_leading_zeros: Any = numbers.leading_zeros
_trailing_zeros: Any = numbers.trailing_zeros
SLACK = 8  # the kernels read and write whole words


def pack(rows: int, sample_count: I32, histogram_count: I32, time_ms: I64, value: F64) -> Columns:
    """Columns of which ``unpack`` makes these again."""
    time_rows, time_kept = np.empty(rows, np.int32), np.empty(len(time_ms), np.int64)
    control, kept = np.empty(len(value), np.uint8), np.empty(8 * len(value) + SLACK, np.uint8)
    kept_rows, kept_times = _pack_times(sample_count, time_ms, time_rows, time_kept)
    size = _pack_values(sample_count, value.view(np.uint64), control, kept)
    columns: Columns = {
        "sample_count": _one_of(sample_count),
        "histogram_count": _one_of(histogram_count),
        "time_rows": time_rows[:kept_rows],
        "time_kept": time_kept[:kept_times],
    }
    if len(value) + size < 8 * len(value):
        kept[size : size + SLACK] = 0
        return columns | {"control": control, "value": kept[: size + SLACK]}
    return columns | {"control": control[:0], "value": value}


def unpack(rows: int, columns: Mapping[str, np.ndarray[Any, Any]]) -> Columns:
    """The columns that were given to ``pack``. Raises KeyError, ValueError."""
    sample_count, histogram_count = np.empty(rows, np.int32), np.empty(rows, np.int32)
    histogram_count[:] = columns["histogram_count"]
    samples = samples_of(rows, columns)
    time_ms, value = np.empty(samples, np.int64), np.empty(samples, np.float64)
    unpack_floats(columns, sample_count, time_ms, value)
    return {
        "sample_count": sample_count,
        "histogram_count": histogram_count,
        "time_ms": time_ms,
        "value": value,
    }


def samples_of(rows: int, columns: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """How many float samples there are in so many rows. Raises KeyError."""
    counts = columns["sample_count"]
    return rows * int(counts[0]) if len(counts) == 1 else int(counts.sum())


def unpack_floats(
    columns: Mapping[str, np.ndarray[Any, Any]], sample_count: I32, time_ms: I64, value: F64
) -> None:
    """Write the columns of float samples that were given to ``pack`` to where there is room for them. Raises
    KeyError, ValueError."""
    sample_count[:] = columns["sample_count"]  # one for all, or one for each
    _unpack_times(sample_count, columns["time_rows"], columns["time_kept"], time_ms)
    kept = columns["value"]
    if kept.dtype == np.uint8:
        _unpack_values(sample_count, columns["control"], kept, value.view(np.uint64))
    else:
        value[:] = kept


def _one_of(counts: I32) -> I32:
    return counts[:1] if len(counts) and (counts == counts[0]).all() else counts


@njit(cache=True, nogil=True)
def _pack_times(sample_count, time_ms, rows, kept):  # type: ignore[no-untyped-def]
    """Returns how many rows and how many times are kept."""
    at = np.uint64(0)
    before = np.uint64(0)  # where the times of the row before begin
    count_before = np.int64(-1)
    r = 0
    k = np.uint64(0)
    for i in range(len(sample_count)):
        count = np.int64(sample_count[i])
        same = count == count_before
        if same:
            for j in range(np.uint64(count)):
                same &= time_ms[at + np.uint64(j)] == time_ms[before + np.uint64(j)]
        if not same:
            rows[r] = i
            r += 1
            for j in range(np.uint64(count)):
                kept[k] = time_ms[at + np.uint64(j)]
                k += np.uint64(1)
        before = at
        count_before = count
        at += np.uint64(count)
    return r, np.int64(k)


@njit(cache=True, nogil=True)
def _unpack_times(sample_count, rows, kept, time_ms):  # type: ignore[no-untyped-def]
    at = np.uint64(0)
    source = np.uint64(0)
    behind = np.uint64(0)
    r = 0
    for i in range(len(sample_count)):
        count = np.uint64(sample_count[i])
        if r < len(rows) and rows[r] == i:
            r += 1
            source = behind
            behind += count
        for j in range(count):
            time_ms[at + np.uint64(j)] = kept[source + np.uint64(j)]
        at += count


@njit(cache=True, nogil=True)
def put_value(word, control, n, kept, at):  # type: ignore[no-untyped-def]
    """Keep value ``n``, XORed with the one before it, from ``kept[at]`` on; returns where the next one goes."""
    if word == 0:
        control[n] = 0
        return at
    low = np.uint64(_trailing_zeros(word)) >> np.uint64(3)
    size = np.uint64(8) - low - (np.uint64(_leading_zeros(word)) >> np.uint64(3))
    word >>= low << np.uint64(3)
    for j in range(np.uint64(8)):
        kept[at + np.uint64(j)] = np.uint8(word >> (np.uint64(8) * np.uint64(j)))
    control[n] = np.uint8(size | (low << np.uint64(4)))
    return at + size


@njit(cache=True, nogil=True)
def _pack_values(sample_count, bits, control, kept):  # type: ignore[no-untyped-def]
    """Returns how many bytes are kept."""
    at = np.uint64(0)
    n = np.uint64(0)
    for i in range(len(sample_count)):
        before = np.uint64(0)
        for _ in range(sample_count[i]):
            at = put_value(bits[n] ^ before, control, n, kept, at)
            before = bits[n]
            n += np.uint64(1)
    return np.int64(at)


@njit(cache=True, nogil=True)
def _unpack_values(sample_count, control, kept, bits):  # type: ignore[no-untyped-def]
    at = np.uint64(0)
    n = np.uint64(0)
    for i in range(len(sample_count)):
        before = np.uint64(0)
        for _ in range(sample_count[i]):
            how = np.uint64(control[n])
            size = how & np.uint64(15)
            if size:
                word = little64(kept, at)
                if size < np.uint64(8):
                    word &= (np.uint64(1) << (size << np.uint64(3))) - np.uint64(1)
                before ^= word << ((how >> np.uint64(4)) << np.uint64(3))
                at += size
            bits[n] = before
            n += np.uint64(1)
