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
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit
from pcodec import ChunkConfig, standalone

from agent.promql.kernels import count_stale
from agent.telemetry.frames import F64, I32, I64

LEVEL = 8
MOST_DIGITS = 9
RAW = -1  # the exponent of a series that is kept as it is
PLAIN, STEPS, DISTANCES = range(3)  # what the integers behind the first are
LARGEST = float(2**50)
JUDGED = 24  # samples of a series, to choose the form
_POWERS = 10.0 ** np.arange(MOST_DIGITS + 1)
_CONFIG = ChunkConfig(compression_level=LEVEL)

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
def _is_odd(value):  # type: ignore[no-untyped-def]
    """NaN, an infinity, or minus zero."""
    return not np.isfinite(value) or (value == 0.0 and np.signbit(value))


@njit(cache=True, nogil=True)
def _digits(value, start, behind, powers):  # type: ignore[no-untyped-def]
    """After how many decimal digits every value of a series ends; RAW where they do not."""
    digits = 0
    recheck = start  # what is before was judged with fewer digits
    for i in range(start, behind):
        v = value[i]
        if _is_odd(v):
            continue
        while True:
            scaled = np.rint(v * powers[digits])
            if abs(scaled) < LARGEST and scaled / powers[digits] == v:
                break
            digits += 1
            recheck = i
            if digits > MOST_DIGITS:
                return RAW
    for i in range(start, recheck):
        v = value[i]
        if not _is_odd(v):
            scaled = np.rint(v * powers[digits])
            if abs(scaled) >= LARGEST or scaled / powers[digits] != v:
                return RAW
    return digits


@njit(cache=True, nogil=True)
def _bits(numbers, first, behind, bits):  # type: ignore[no-untyped-def]
    """Bits a sample that the integers of a series take in each form, about, judged by some of them."""
    negative = np.zeros(3)
    step = max(1, (behind - first) // JUDGED)
    judged = 0
    for k in range(first + 1, behind, step):
        judged += 1
        for form in range(3):
            base = np.int64(0) if form == PLAIN else numbers[k - 1] if form == STEPS else numbers[first]
            bits[form] += np.log2(1.0 + abs(numbers[k] - base))
            if numbers[k] < base:
                negative[form] = 1.0
    if judged:
        for form in range(3):
            bits[form] = bits[form] / judged + negative[form]


@njit(cache=True, nogil=True)
def _split(value, offsets, powers, exponent, form, numbers, raw, odd):  # type: ignore[no-untyped-def]
    """Sort every value into ``numbers`` (scaled integers: the first, then the rest), ``raw`` or, by its
    place, ``odd``. Returns how many numbers, raw and odd ones there are. The form is that which suits the
    group, but for series that another one suits better by a bit a sample: mixed forms cost bits too."""
    bits = np.zeros((len(exponent), 3))
    n = r = o = 0
    for i in range(len(exponent)):
        start, behind = offsets[i], offsets[i + 1]
        exponent[i] = _digits(value, start, behind, powers)
        if exponent[i] == RAW:
            for k in range(start, behind):
                raw[r] = value[k]
                r += 1
            continue
        first, last = n, np.int64(0)
        for k in range(start, behind):
            if _is_odd(value[k]):
                odd[o] = k
                o += 1
            else:
                last = np.int64(np.rint(value[k] * powers[exponent[i]]))
            numbers[n] = last
            n += 1
        _bits(numbers, first, n, bits[i])
    usual = np.argmin(bits.sum(axis=0))
    first = 0
    for i in range(len(exponent)):
        form[i] = PLAIN
        if exponent[i] == RAW:
            continue
        own = np.argmin(bits[i])
        form[i] = own if bits[i, own] < bits[i, usual] - 1.0 else usual
        behind = first + offsets[i + 1] - offsets[i]
        if form[i] != PLAIN:
            for k in range(behind - 1, first, -1):
                numbers[k] -= numbers[k - 1] if form[i] == STEPS else numbers[first]
        first = behind
    return n, r, o


@njit(cache=True, nogil=True)
def _join(offsets, powers, exponent, form, first, rest, raw, value):  # type: ignore[no-untyped-def]
    """What ``_split`` took apart, but for the odd ones."""
    n = r = f = 0
    for i in range(len(exponent)):
        start, behind = offsets[i], offsets[i + 1]
        if exponent[i] == RAW:
            for k in range(start, behind):
                value[k] = raw[r]
                r += 1
            continue
        if start == behind:
            continue
        number = first[f]
        base = np.int64(0) if form[i] == PLAIN else number
        f += 1
        value[start] = number
        steps = form[i] == STEPS
        for k in range(start + 1, behind):
            number = (number if steps else base) + rest[n]
            n += 1
            value[k] = number
        if exponent[i] > 0:
            power = powers[exponent[i]]
            for k in range(start, behind):
                value[k] /= power


@njit(cache=True, nogil=True)
def _same_times(time_ms, offsets, index, chosen):  # type: ignore[no-untyped-def]
    """Number the different lists of times: ``index[i]`` is that of series ``i``, ``chosen`` the first series
    of each. Returns how many. A table by a hash; equal hashes are compared."""
    size = 4
    while size < 2 * len(index):
        size *= 2
    slots = np.full(size, -1, np.int64)
    found = 0
    for i in range(len(index)):
        start, count = offsets[i], offsets[i + 1] - offsets[i]
        h = np.uint64(count)
        for k in range(start, start + count):
            h = (h ^ np.uint64(time_ms[k])) * np.uint64(0x9E3779B97F4A7C15)
            h ^= h >> np.uint64(29)
        slot = np.int64(h & np.uint64(size - 1))
        while slots[slot] >= 0:
            other = chosen[slots[slot]]
            same = offsets[other + 1] - offsets[other] == count
            k = 0
            while same and k < count:
                same = time_ms[offsets[other] + k] == time_ms[start + k]
                k += 1
            if same:
                break
            slot = (slot + 1) & (size - 1)
        if slots[slot] < 0:
            slots[slot] = found
            chosen[found] = i
            found += 1
        index[i] = slots[slot]
    return found


def encode_times(offsets: I64, time_ms: I64) -> bytes:
    """The times of series, ``offsets`` as in ``Group``."""
    series = len(offsets) - 1
    index, chosen = np.empty(series, np.int32), np.empty(series, np.int32)
    chosen = chosen[: _same_times(time_ms, offsets, index, chosen)]
    starts, counts = offsets[chosen], np.diff(offsets)[chosen]
    rows = ranges(starts, counts)
    steps = np.diff(time_ms[rows], prepend=0)
    begin = _starts(counts)[counts > 0]
    rest = np.ones(len(steps), np.bool_)
    rest[begin] = False
    columns = (index, counts.astype(np.int32), time_ms[starts[counts > 0]], steps[rest])
    return pack([_squeezed(column) for column in columns])


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
    series, samples = len(offsets) - 1, len(value)
    exponent, form = np.empty(series, np.int16), np.empty(series, np.int16)
    numbers, raw = np.empty(samples, np.int64), np.empty(samples, np.float64)
    odd = np.empty(samples, np.int64)
    n, r, o = _split(value, offsets, _POWERS, exponent, form, numbers, raw, odd)
    numbers, raw, odd = numbers[:n], raw[:r], odd[:o]
    counts = np.diff(offsets)[exponent != RAW]
    is_first = np.zeros(n, np.bool_)
    is_first[_starts(counts)[counts > 0]] = True
    columns = (
        exponent, form, numbers[is_first], numbers[~is_first], raw, odd.astype(np.int32),
        value[odd].view(np.uint64),
    )  # fmt: skip
    return pack([_squeezed(column) for column in columns])


def decode_values(offsets: I64, content: bytes | memoryview) -> F64:
    exponent, form, first, rest, raw, odd, bits = (_loosened(part) for part in unpack(content))
    value = np.empty(int(offsets[-1]), np.float64)
    _join(offsets, _POWERS, exponent, form, first, rest, raw, value)
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


def _squeezed(column: Numbers) -> bytes:
    """A letter for the type, then pcodec's own format; the letter alone where there is nothing."""
    code = _CODES[column.dtype].encode()
    return code + (standalone.simple_compress(np.ascontiguousarray(column), _CONFIG) if len(column) else b"")


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
