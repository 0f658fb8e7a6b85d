"""Samples of a group of series as bytes, and back; lossless to the last bit.

Times: series that are scraped together have the same times, so every different list of times is kept once,
as its first time and its differences. Values: most series are integers or decimals of a few digits. Such a
series is kept as integers scaled by a power of ten: its first, and then the differences (counters), the distances from
the first, or the integers themselves (noisy gauges), whichever take fewer bits; a series that is none is kept
as it is.
Numbers that have no place in that (NaN with its bits, infinities, minus zero) are kept aside, and the one
before stands in for them. Every column goes through pcodec. Dividing an integer by a power of ten below 2^53 is
correctly rounded, so a decimal that was parsed from text comes back exactly; it is checked anyway.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from pcodec import ChunkConfig, DeltaSpec, ModeSpec, standalone

from agent.promql.kernels import alike, count_stale
from agent.promql.values import Times
from agent.telemetry.frames import F64, I32, I64
from agent.windows.metrics import decimals

LEVEL = 6
NUMBERS_LEVEL = 7  # of the integers that are the bulk of a block
# How pcodec keeps a column: it is told so, or it tries several ways on a part of the column.
_NUMBERS = ChunkConfig(compression_level=NUMBERS_LEVEL)
_SEARCHED = ChunkConfig(compression_level=LEVEL)
_AS_IT_IS = ChunkConfig(LEVEL, ModeSpec.classic(), DeltaSpec.no_op())
_ASCENDING = ChunkConfig(LEVEL, ModeSpec.classic(), DeltaSpec.try_consecutive(1))

Numbers = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Group:
    """The samples of some series: values of series ``i`` are rows ``offsets[i]:offsets[i + 1]`` of ``value``;
    its times are the rows of ``time_ms`` from ``time_start[i]`` on, as many. ``stale``: whether there are stale markers."""

    offsets: I64
    value: F64
    time_start: I64
    time_ms: I64
    stale: bool

    @property
    def nbytes(self) -> int:
        return self.offsets.nbytes + self.value.nbytes + self.time_start.nbytes + self.time_ms.nbytes


@njit(cache=True, nogil=True)
def _same_times(start, counts, time_ms, index, chosen):  # type: ignore[no-untyped-def]
    """Number the different lists of times: ``index[i]`` is that of series ``i``, ``chosen`` the first series
    of each. Returns how many. Series side by side mostly share a list; the others are looked up in a table by a hash
    of a few times, and compared."""
    size = 4
    while size < 2 * len(index):
        size *= 2
    slots = np.full(size, -1, np.int64)
    found = 0
    for i in range(len(index)):
        if i > 0 and start[i] == start[i - 1] and counts[i] == counts[i - 1]:
            index[i] = index[i - 1]
            continue
        times = time_ms[start[i] : start[i] + counts[i]]
        slot = np.int64(_hash(times) & np.uint64(size - 1))
        while slots[slot] >= 0:
            other = chosen[slots[slot]]
            if alike(time_ms[start[other] : start[other] + counts[other]], times):
                break
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot] = found
            chosen[found] = i
            found += 1
        index[i] = slots[slot]
    return found


@njit(cache=True, nogil=True)
def _hash(times):  # type: ignore[no-untyped-def]
    h = np.uint64(len(times))
    if len(times):
        for k in (0, len(times) // 2, len(times) - 1):
            h = (h ^ np.uint64(times[k])) * np.uint64(0x9E3779B97F4A7C15)
            h ^= h >> np.uint64(29)
    return h


@njit(cache=True, nogil=True)
def _steps(start, counts, time_ms, first, rest):  # type: ignore[no-untyped-def]
    """Of each list of times the first and, one behind the other, its differences. Returns how many these and those
    are."""
    f = r = 0
    for i in range(len(start)):
        times = time_ms[start[i] : start[i] + counts[i]]
        if len(times):
            first[f] = times[0]
            f += 1
            to = rest[r : r + len(times) - 1]
            for k in range(len(to)):
                to[k] = times[k + 1] - times[k]
            r += len(to)
    return f, r


def encode_times(counts: I64, times: Times) -> bytes:
    """The times of series of so many samples each."""
    series = len(counts)
    index, chosen = np.empty(series, np.int32), np.empty(series, np.int32)
    chosen = chosen[: _same_times(times.start, counts, times.ms, index, chosen)]
    lengths = counts[chosen]
    first, rest = np.empty(len(chosen), np.int64), np.empty(int(lengths.sum()), np.int64)
    f, r = _steps(times.start[chosen], lengths, times.ms, first, rest)
    return pack(
        [
            _squeezed(index, _ASCENDING),
            _squeezed(lengths, _AS_IT_IS),
            _squeezed(first[:f], _AS_IT_IS),
            _squeezed(rest[:r]),
        ]
    )


def decode_times(content: bytes | memoryview) -> tuple[I64, I64, I64]:
    """``(number of samples of each series, time_start, time_ms)`` as in ``Group``."""
    places, lengths, first, rest = (_loosened(part) for part in unpack(content))
    index: I64 = places.astype(np.int64)
    counts: I64 = lengths.astype(np.int64)
    begin = _starts(counts)
    steps = np.zeros(int(counts.sum()), np.int64)
    is_first = np.zeros(len(steps), np.bool_)
    is_first[begin[counts > 0]] = True
    steps[~is_first] = rest
    time_ms = np.cumsum(steps)
    filled = counts[counts > 0]
    time_ms += np.repeat(first - time_ms[begin[counts > 0]], filled)
    return counts[index], begin[index], time_ms


def encode_values(offsets: I64, value: F64) -> bytes:
    """The values of series, ``offsets`` as in ``Group``."""
    series, samples = len(offsets) - 1, len(value)
    exponent, form = np.empty(series, np.int16), np.empty(series, np.int16)
    numbers, raw = np.empty(samples, np.int64), np.empty(samples, np.float64)
    odd, first = np.empty(samples, np.int64), np.empty(series, np.int64)
    bits = value.view(np.int64)
    n, r, o = decimals.split(value, bits, offsets, decimals.POWERS, exponent, numbers, raw, odd)
    decimals.choose_forms(offsets, exponent, numbers[:n], form)
    f, rest = decimals.take_differences(offsets, exponent, form, numbers[:n], first)
    odd = odd[:o]
    return pack(
        [
            _squeezed(exponent, _AS_IT_IS),
            _squeezed(form, _AS_IT_IS),
            _squeezed(first[:f]),
            _squeezed(numbers[:rest], _NUMBERS),
            _squeezed(raw[:r]),
            _squeezed(odd),
            _squeezed(value[odd].view(np.uint64)),
        ]
    )


def decode_values(offsets: I64, content: bytes | memoryview) -> F64:
    exponent, form, first, rest, raw, odd, bits = (_loosened(part) for part in unpack(content))
    value = np.empty(int(offsets[-1]), np.float64)
    first, rest = first.astype(np.int64), rest.astype(np.int64)
    decimals.join(offsets, decimals.POWERS, exponent, form, first, rest, raw, value)
    value.view(np.uint64)[odd] = bits
    return value


def decode_group(times: bytes | memoryview, values: bytes | memoryview) -> Group:
    counts, time_start, time_ms = decode_times(times)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    value = decode_values(offsets, values)
    return Group(offsets, value, time_start, time_ms, count_stale(value.view(np.int64)) > 0)


def pack(parts: Sequence[bytes]) -> bytes:
    """Several byte strings in one: their number, their sizes (32 bits, little-endian), then they."""
    return struct.pack(f"<{len(parts) + 1}I", len(parts), *map(len, parts)) + b"".join(parts)


def unpack(content: bytes | memoryview) -> list[bytes]:
    """What ``pack`` was given."""
    (count,) = struct.unpack_from("<I", content)
    sizes = struct.unpack_from(f"<{count}I", content, 4)
    at, parts = 4 + 4 * count, []
    for size in sizes:
        parts.append(bytes(content[at : at + size]))
        at += size
    return parts


_KINDS = {"h": np.int16, "i": np.int32, "q": np.int64, "d": np.float64, "Q": np.uint64}
_CODES = {np.dtype(kind): code for code, kind in _KINDS.items()}


def _squeezed(column: Numbers, config: ChunkConfig = _SEARCHED) -> bytes:
    """A letter for the type, then pcodec's own format; the letter alone where there is nothing. Integers go in the
    smallest type that holds them: to pcodec wider ones cost twice the time, and bytes too."""
    if not len(column):
        return _CODES[column.dtype].encode()
    if column.dtype.kind == "i":
        low, high = int(column.min()), int(column.max())
        column = column.astype(_narrowest(low, high), copy=False)
        if low == high:
            return _repeated(column.dtype, low, len(column))
    return _compressed(column, config)


def _narrowest(low: int, high: int) -> np.dtype[Any]:
    for kind in (np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return np.dtype(kind)
    return np.dtype(np.int64)


@lru_cache(maxsize=1024)
def _repeated(kind: np.dtype[Any], number: int, length: int) -> bytes:
    """A column that is one number throughout. Small ones are, group after group, and pcodec takes its time for each."""
    return _compressed(np.full(length, number, kind), _AS_IT_IS)


def _compressed(column: Numbers, config: ChunkConfig) -> bytes:
    content: bytes = standalone.simple_compress(column, config)
    return _CODES[column.dtype].encode() + content


def _loosened(part: bytes) -> Numbers:
    kind = _KINDS[part[:1].decode()]
    if len(part) == 1:
        return np.empty(0, kind)
    return np.asarray(standalone.simple_decompress(part[1:]))


def _starts(counts: I64 | I32) -> I64:
    ends: I64 = np.cumsum(counts, dtype=np.int64)
    return ends - counts


def ranges(starts: I64, counts: I64) -> I64:
    """The numbers ``starts[i] .. starts[i] + counts[i] - 1``, one range behind the other."""
    return np.arange(int(counts.sum()), dtype=np.int64) + np.repeat(starts - _starts(counts), counts)
