"""From the keys of OTLP rows to Prometheus series: tables of 64-bit keys, and the loop over the rows of a batch.

An *entry* is a key of OTLP (resource, scope, metric, attributes, number of the point); it leads to none, one or
two series (the count of a histogram is its bucket +Inf as well), or to a native histogram. A *series* has the
running sum of its deltas, and the generation in which it was last defined.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from agent.telemetry.batch import MetricBatch
from agent.telemetry.frames import F64, I32, I64, U8, U64, Bool
from agent.telemetry.hashing import hash_bytes, mix
from agent.telemetry.wire import skip, varint

NONE = -1


@njit(cache=True, nogil=True)
def _find(keys, slot_key, slot_code, used, limit, out, fresh):  # type: ignore[no-untyped-def]
    """The code of every key, new ones in the order of their first row; -1 past ``limit``. Linear probing."""
    mask = np.uint64(len(slot_key) - 1)
    n = np.int64(0)
    for i in range(len(keys)):
        key = keys[i]
        slot = (key ^ (key >> np.uint64(32))) & mask
        while slot_code[slot] != NONE and slot_key[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        if slot_code[slot] == NONE:
            if used >= limit:
                out[i] = NONE
                continue
            slot_key[slot] = key
            slot_code[slot] = used
            used += 1
            fresh[n] = i
            n += 1
        out[i] = slot_code[slot]
    return used, n


class KeyTable:
    """Codes 0, 1, 2, ... for 64-bit keys, at most ``limit``."""

    def __init__(self, limit: int, keys: U64 | None = None) -> None:
        self._limit = limit
        known = np.empty(0, np.uint64) if keys is None else keys
        self._used = 0
        self._slot_key, self._slot_code = np.zeros(1024, np.uint64), np.full(1024, NONE, np.int32)
        self._keys = np.empty(0, np.uint64)
        self.codes(known)

    def __len__(self) -> int:
        return self._used

    @property
    def keys(self) -> U64:
        """The keys by code."""
        return self._keys[: self._used]

    @property
    def nbytes(self) -> int:
        return self._slot_key.nbytes + self._slot_code.nbytes + self._keys.nbytes

    def codes(self, keys: U64) -> tuple[I32, I64]:
        """``(code of each key, places of those that are new)``; -1 where there is no room."""
        self._make_room(min(self._used + len(keys), self._limit))
        out, fresh = np.empty(len(keys), np.int32), np.empty(len(keys), np.int64)
        before = self._used
        self._used, n = _find(keys, self._slot_key, self._slot_code, before, self._limit, out, fresh)
        self._keys = with_room(self._keys, self._used)
        self._keys[before : self._used] = keys[fresh[:n]]
        return out, fresh[:n]

    def _make_room(self, wanted: int) -> None:
        if wanted * 2 <= len(self._slot_key):
            return
        keys, size = self.keys, 1 << (wanted * 3 - 1).bit_length()
        self._slot_key, self._slot_code = np.zeros(size, np.uint64), np.full(size, NONE, np.int32)
        out, fresh = np.empty(len(keys), np.int32), np.empty(len(keys), np.int64)
        _find(keys, self._slot_key, self._slot_code, 0, self._limit, out, fresh)


def with_room(column: npt.NDArray[Any], wanted: int) -> npt.NDArray[Any]:
    """The column, or a longer copy of it that has room for ``wanted`` rows."""
    if wanted <= len(column):
        return column
    longer = np.zeros(max(wanted, 2 * len(column), 256), column.dtype)
    longer[: len(column)] = column
    return longer


@dataclass(slots=True)
class Entries:
    """By entry: its series (-1: none), its native histogram's series, whether its numbers are deltas, and why
    it has no series (0: nothing is wrong, else a place in ``REASONS``)."""

    first: I32
    second: I32
    native: I32
    delta: Bool
    reason: U8

    @classmethod
    def empty(cls) -> Entries:
        first, second, native = (np.empty(0, np.int32) for _ in range(3))
        return cls(first, second, native, np.empty(0, np.bool_), np.empty(0, np.uint8))


@dataclass(slots=True)
class SeriesColumns:
    """By series: the sum of its deltas, the time of the last one, the generation of its last definition."""

    running: F64
    last_ns: I64
    defined: I32

    @classmethod
    def empty(cls) -> SeriesColumns:
        return cls(np.empty(0, np.float64), np.empty(0, np.int64), np.empty(0, np.int32))


def make_room(columns: Entries | SeriesColumns, wanted: int) -> None:
    for f in fields(columns):
        setattr(columns, f.name, with_room(getattr(columns, f.name), wanted))


@dataclass(slots=True)
class Emitted:
    """What the rows of a batch gave. ``series`` are codes, ``row`` the row of the batch that a sample comes
    from, ascending; ``native`` are the places in the list of rows that are native histograms; ``again`` are
    rows whose series ``again_series`` are to be defined."""

    series: I32
    row: I64
    time_ns: I64
    value: F64
    native: I64
    again: I64
    again_series: I32
    late: int


@njit(cache=True, nogil=True)
def raw_keys(raw, resource_off, resource_len, block, series_hash, rows, of_block, out):  # type: ignore[no-untyped-def]
    """The key of every row: its series and the bytes of its resource, whose hash goes into ``of_block``."""
    for b in range(len(resource_off)):
        of_block[b] = hash_bytes(raw, resource_off[b], resource_len[b])
    for i in range(len(rows)):
        row = rows[i]
        out[i] = mix(of_block[block[row]], series_hash[row])


@njit(cache=True, nogil=True)
def attribute_spans(raw, rows, kind, field, point_off, point_len, first, spans):  # type: ignore[no-untyped-def]
    """Where the attributes of the data points of ``rows`` lie: those of row ``i`` are ``spans[:, first[i]:
    first[i + 1]]``, off and length. Returns how many there are, of which only so many as fit are written."""
    n = np.int64(0)
    for i in range(len(rows)):
        first[i] = n
        row = rows[i]
        wanted = field[kind[row]]
        pos = point_off[row]
        stop = pos + point_len[row]
        while pos < stop:
            tag, pos = varint(raw, pos)
            if np.int64(tag >> np.uint64(3)) != wanted:
                pos = skip(raw, pos, tag & np.uint64(7))
                continue
            size, pos = varint(raw, pos)
            if n < spans.shape[1]:
                spans[0, n] = pos
                spans[1, n] = np.int64(size)
            n += 1
            pos += np.int64(size)
    first[len(rows)] = n
    return n


@njit(cache=True, nogil=True)
def hash_all(raw, ends, out):  # type: ignore[no-untyped-def]
    """The hash of each of the pieces of ``raw`` that end at ``ends``."""
    start = np.int64(0)
    for i in range(len(ends)):
        out[i] = hash_bytes(raw, start, ends[i] - start)
        start = ends[i]


@njit(cache=True, nogil=True)
def find_scope(raw, pos, stop, metric):  # type: ignore[no-untyped-def]
    """``(scope off, scope len, schema URL off, len, end)`` of the ScopeMetrics in the block
    ``raw[pos:stop]`` that holds the Metric message at ``metric``."""
    while pos < stop:
        tag, pos = varint(raw, pos)
        if tag != 18:
            pos = skip(raw, pos, tag & np.uint64(7))
            continue
        length, pos = varint(raw, pos)
        end = pos + np.int64(length)
        if metric < pos or metric > end:
            pos = end
            continue
        scope_off = scope_len = url_off = url_len = np.int64(0)
        while pos < end:
            tag, pos = varint(raw, pos)
            if tag & np.uint64(7) != 2:
                pos = skip(raw, pos, tag & np.uint64(7))
                continue
            size, pos = varint(raw, pos)
            if tag == 10:
                scope_off = pos
                scope_len = np.int64(size)
            elif tag == 26:
                url_off = pos
                url_len = np.int64(size)
            pos += np.int64(size)
        return scope_off, scope_len, url_off, url_len, end
    return np.int64(0), np.int64(0), np.int64(0), np.int64(0), stop


@njit(cache=True, nogil=True)
def mix_scopes(raw, block_off, block_len, block, metric_off, rows, keys):  # type: ignore[no-untyped-def]
    """Mix the whole scope and its schema URL into the keys, where they are part of the labels."""
    end = np.int64(-1)
    of_scope = np.uint64(0)
    last = np.int64(-1)
    for i in range(len(rows)):
        row = rows[i]
        if metric_off[row] != last:
            last = metric_off[row]
            if last > end or i == 0 or block[row] != block[rows[i - 1]]:
                off = block_off[block[row]]
                so, sl, uo, ul, end = find_scope(raw, off, off + block_len[block[row]], last)
                of_scope = mix(hash_bytes(raw, so, sl), hash_bytes(raw, uo, ul))
        keys[i] = mix(keys[i], of_scope)


@njit(cache=True, nogil=True)
def _emit(  # type: ignore[no-untyped-def]
    rows, code, first, second, native, delta, time_ns, bits, running, last_ns, defined, generation,
    series, row_of, time_out, value, value_bits, native_out, again, again_series,
):  # fmt: skip
    n = native_count = again_count = late = np.int64(0)
    for i in range(len(rows)):
        entry = code[i]
        if entry < 0:
            continue
        row = rows[i]
        if native[entry] >= 0:
            native_out[native_count] = i
            native_count += 1
        for which in range(2):
            one = second[entry] if which else first[entry]
            if one < 0:
                continue
            value_bits[n] = bits[row]
            if delta[entry]:
                if time_ns[row] <= last_ns[one]:
                    late += 1
                    continue
                last_ns[one] = time_ns[row]
                if np.isfinite(value[n]):
                    running[one] += value[n]
                    value[n] = running[one]
            if defined[one] != generation:
                defined[one] = generation
                again[again_count] = row
                again_series[again_count] = one
                again_count += 1
            series[n] = one
            row_of[n] = row
            time_out[n] = time_ns[row]
            n += 1
    return n, native_count, again_count, late


def emit(
    batch: MetricBatch, rows: I64, code: I32, entries: Entries, known: SeriesColumns, generation: int
) -> Emitted:
    """The samples of ``rows``, whose entries are ``code``; running sums move on. A stale marker or another
    number that is not finite passes a series of deltas by."""
    most = 2 * len(rows)
    series, again_series = np.empty(most, np.int32), np.empty(most, np.int32)
    row_of, time_ns, again = (np.empty(most, np.int64) for _ in range(3))
    value, native = np.empty(most, np.float64), np.empty(len(rows), np.int64)
    n, natives, agains, late = _emit(
        rows, code, entries.first, entries.second, entries.native, entries.delta, batch.time_ns,
        batch.value.view(np.uint64), known.running, known.last_ns, known.defined, generation,
        series, row_of, time_ns, value, value.view(np.uint64), native, again, again_series,
    )  # fmt: skip
    return Emitted(
        series[:n],
        row_of[:n],
        time_ns[:n],
        value[:n],
        native[:natives],
        again[:agains],
        again_series[:agains],
        late,
    )
