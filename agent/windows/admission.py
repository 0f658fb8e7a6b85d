"""Which samples of scanned series are taken, and the columns they become, stream by stream.

The rules are those of Prometheus' head. A sample that is newer than the last one of its series is taken. One
at the time of the last is taken silently when it is equal to the bit, and refused as a duplicate otherwise. An
older one is taken while it lies no further back than ``out_of_order_ms``; the stream, which holds the samples,
puts it in its place and drops it where it has that time already. Bounds against the clock come first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from agent.telemetry.frames import I32, I64, U8, U64
from agent.telemetry.remote_write_labels import Fault
from agent.telemetry.remote_write_scan import (
    BODY,
    FIRST_SAMPLE,
    PART_COUNT,
    SAMPLE_COUNT,
    TEXT_LEN,
    TEXT_OFF,
)
from agent.windows.seriestable import (
    GENERATION_MASK,
    GENERATION_SHIFT,
    HISTOGRAM_BIT,
    STREAM_MASK,
    TICK_MASK,
    TICK_SHIFT,
)

# Columns of ``counts``: what was written, then what was refused, by Fault, then in how long to come again with what
# was left for the rate of its source.
WRITTEN_SAMPLES, WRITTEN_HISTOGRAMS, WRITTEN_EXEMPLARS, EQUAL_SAMPLES, FAULTS = range(5)
WAIT_NS = FAULTS + len(Fault)
COUNT_COLUMNS = WAIT_NS + 1
# Rows of ``room`` and ``used``, a column a stream.
SERIES_ROOM, SAMPLE_ROOM, DEFINE_ROOM, RAW_ROOM = range(4)
# ``bounds``
EARLIEST_MS, LATEST_MS, OUT_OF_ORDER_MS = range(3)

_OUT_OF_ORDER, _DUPLICATE = int(Fault.OUT_OF_ORDER), int(Fault.DUPLICATE_SAMPLE)
_TOO_OLD, _FUTURE = int(Fault.TOO_OLD), int(Fault.IN_THE_FUTURE)
_TAKE, _EQUAL = 0, -1
_HISTOGRAM = np.uint64(1 << HISTOGRAM_BIT)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of all streams, each in its part: stream ``k`` begins at ``base[:, k]`` and has
    ``used[:, k]`` rows of series, samples, definitions and raw bytes. ``row[i]`` is where series ``i`` of the
    request stands among the rows of its stream, -1 where it was left out."""

    base: I64
    used: I64
    series_hash: U64
    sample_count: I32
    time_ms: I64
    bits: U64
    define_hash: U64
    define_at: I64
    raw: U8
    row: I64

    @classmethod
    def for_room(cls, room: I64, series: int) -> Columns:
        base = np.cumsum(room, axis=1) - room
        rows, samples, defined, raw = room.sum(axis=1).tolist()
        return cls(
            base, np.zeros_like(room), np.empty(rows, np.uint64), np.empty(rows, np.int32),
            np.empty(samples, np.int64), np.empty(samples, np.uint64),
            np.empty(defined, np.uint64), np.empty((2, defined), np.int64), np.empty(raw, np.uint8),
            np.empty(series, np.int64),
        )  # fmt: skip

    def part(self, kind: int, stream: int) -> slice:
        begin = int(self.base[kind, stream])
        return slice(begin, begin + int(self.used[kind, stream]))

    def raw_of(self, stream: int) -> U8:
        return self.raw[self.part(RAW_ROOM, stream)]


@njit(cache=True, nogil=True)
def measure(rows, slots, series, generations, room):  # type: ignore[no-untyped-def]
    """The room that the columns of each stream need at most."""
    for i in range(len(slots)):
        if slots[i] < 0:
            continue
        meta = rows[np.uint64(slots[i]), 3]
        stream = np.int64(meta & np.uint64(STREAM_MASK))
        room[SERIES_ROOM, stream] += 1
        room[SAMPLE_ROOM, stream] += series[SAMPLE_COUNT, i]
        generation = (meta >> np.uint64(GENERATION_SHIFT)) & np.uint64(GENERATION_MASK)
        if generation != np.uint64(generations[stream]):
            room[DEFINE_ROOM, stream] += 1
            room[RAW_ROOM, stream] += series[TEXT_LEN, i]


@njit(cache=True, nogil=True)
def judge(t, value, last, last_value, was_same_kind, bounds):  # type: ignore[no-untyped-def]
    """_TAKE, _EQUAL, or the Fault of a sample."""
    if t < bounds[EARLIEST_MS]:
        return _TOO_OLD
    if t > bounds[LATEST_MS]:
        return _FUTURE
    if t > last:
        return _TAKE
    if t == last:
        return _EQUAL if value == last_value and was_same_kind else _DUPLICATE
    return _TAKE if t >= last - bounds[OUT_OF_ORDER_MS] else _OUT_OF_ORDER


@njit(cache=True, nogil=True)
def note(counts, examples, body, fault, i, k, n):  # type: ignore[no-untyped-def]
    """Count ``n`` samples refused; of the first of a kind, its series and its place are kept."""
    if counts[body, FAULTS + fault] == 0:
        examples[0, body, fault] = i
        examples[1, body, fault] = k
    counts[body, FAULTS + fault] += n


@njit(cache=True, nogil=True)
def define(rows, slot, stream, i, text, series, generations, columns_used, base, define_hash, define_at, raw):  # type: ignore[no-untyped-def]
    """Put the labels of a series into the raw bytes of its stream, and mark them as being there."""
    meta = rows[slot, 3]
    d = base[DEFINE_ROOM, stream] + columns_used[DEFINE_ROOM, stream]
    at = base[RAW_ROOM, stream] + columns_used[RAW_ROOM, stream]
    off = series[TEXT_OFF, i]
    length = series[TEXT_LEN, i]
    define_hash[d] = rows[slot, 0]
    define_at[0, d] = columns_used[RAW_ROOM, stream]
    define_at[1, d] = length
    for b in range(length):
        raw[np.uint64(at + b)] = text[np.uint64(off + b)]
    columns_used[DEFINE_ROOM, stream] += 1
    columns_used[RAW_ROOM, stream] += length
    rows[slot, 3] = (meta & ~(np.uint64(GENERATION_MASK) << np.uint64(GENERATION_SHIFT))) | (
        np.uint64(generations[stream]) << np.uint64(GENERATION_SHIFT)
    )


@njit(cache=True, nogil=True)
def admit(  # type: ignore[no-untyped-def]
    rows, slots, generations, tick, bounds, text, series, times, values, counts, examples,
    base, used, series_hash, sample_count, time_ms, bits, define_hash, define_at, raw, row_of,
):  # fmt: skip
    """Judge every sample of the series that have a slot, and fill the columns of their streams."""
    tick_bits = tick << np.uint64(TICK_SHIFT)
    earliest, latest = bounds[EARLIEST_MS], bounds[LATEST_MS]
    for i in range(len(slots)):
        row_of[i] = -1
        if slots[i] < 0:
            continue
        slot = np.uint64(slots[i])
        meta = rows[slot, 3]
        stream = np.int64(meta & np.uint64(STREAM_MASK))
        body = series[BODY, i]
        last = np.int64(rows[slot, 1])
        last_value = rows[slot, 2]
        same_kind = meta & _HISTOGRAM == 0
        begin = np.uint64(base[SAMPLE_ROOM, stream] + used[SAMPLE_ROOM, stream])
        at = begin
        k = np.uint64(series[FIRST_SAMPLE, i])
        end = k + np.uint64(series[SAMPLE_COUNT, i])
        equal = 0
        while k < end:
            t = times[k]
            value = values[k]
            if t > last and t >= earliest and t <= latest:  # as nearly all are
                last = t
                last_value = value
                same_kind = True
                fault = _TAKE
            else:
                fault = judge(t, value, last, last_value, same_kind, bounds)
            if fault == _TAKE:
                time_ms[at] = t
                bits[at] = value
                at += np.uint64(1)
            elif fault == _EQUAL:
                equal += 1
            else:
                note(counts, examples, body, fault, i, np.int64(k), 1)
            k += np.uint64(1)
        taken = np.int64(at - begin)
        counts[body, WRITTEN_SAMPLES] += taken + equal
        counts[body, EQUAL_SAMPLES] += equal
        meta = (meta & ~(np.uint64(TICK_MASK) << np.uint64(TICK_SHIFT))) | tick_bits
        if taken:
            rows[slot, 1] = np.uint64(last)
            rows[slot, 2] = last_value
            if same_kind:
                meta &= ~_HISTOGRAM
        rows[slot, 3] = meta
        if taken == 0 and series[PART_COUNT, i] == 0:
            continue
        row = used[SERIES_ROOM, stream]
        row_of[i] = row
        at_row = np.uint64(base[SERIES_ROOM, stream] + row)
        series_hash[at_row] = rows[slot, 0]
        sample_count[at_row] = taken
        used[SERIES_ROOM, stream] = row + 1
        used[SAMPLE_ROOM, stream] += taken
        generation = (meta >> np.uint64(GENERATION_SHIFT)) & np.uint64(GENERATION_MASK)
        if generation != np.uint64(generations[stream]):
            define(rows, slot, stream, i, text, series, generations, used, base, define_hash, define_at, raw)


@njit(cache=True, nogil=True)
def note_faults(unknown, faults, series, counts, examples):  # type: ignore[no-untyped-def]
    """Count the samples of the series that were refused whole."""
    for u in range(len(unknown)):
        if faults[u]:
            i = unknown[u]
            n = series[SAMPLE_COUNT, i] + series[PART_COUNT, i]
            note(counts, examples, series[BODY, i], np.int64(faults[u]), i, np.int64(-1), max(n, 1))
