"""The usual way of samples: from the bytes of a body straight to the packed columns of a record, in one pass.

A body of remote write 1.0 is nearly always one that brings the next floats of series that are known. Its series are
walked once: labels told by a hash, samples judged against the last one of their series, packed as
``agent.telemetry.samplepack`` has them, and nothing is written between. The lane ends before the first series that
is not usual in any way: one that is new, in other than the canonical form, due to be defined again, with a
histogram, an exemplar or a last sample that was a histogram, or with a sample that must be refused, put in its place,
or looked at closer. From there on everything goes the general way (``agent.windows.sampleintake``), the bodies behind
it too, so that the samples of a series stay in their order.

Senders repeat their series in one order. ``sequence`` lists hash, length of labels and row of the series in the order in
which they came first, ``places`` tells of each row where it stands there. Where the next series of a body is the next
one of the sequence, which one hash tells, its labels need not be walked nor its row be searched.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from agent.telemetry.frames import I32, I64, U8, U64
from agent.telemetry.hashing import hash_bytes, slot_of
from agent.telemetry.remote_write_scan import USUAL_SAMPLE_BYTES, span, usual_sample
from agent.telemetry.samplepack import SLACK, put_value
from agent.telemetry.wire import byte_at
from agent.windows.admission import EARLIEST_MS, EQUAL_SAMPLES, LATEST_MS, WRITTEN_SAMPLES
from agent.windows.metrics.prefetch import prefetch
from agent.windows.seriestable import (
    ALIAS_BIT,
    GENERATION_MASK,
    GENERATION_SHIFT,
    HISTOGRAM_BIT,
    STREAM_MASK,
    TICK_MASK,
    TICK_S,
    TICK_SHIFT,
    SeriesTable,
)

# Columns of ``sequence``: the hash, and length of the labels and row, one in each half of a word. Row 0 holds how
# many there are, and stands for none.
KEY, LENGTH_AND_ROW = range(2)
# Columns of ``used``, a row a stream: how much there is of each column, where the last times that were kept begin and
# how many these are, and whether all rows have as many samples.
SERIES, SAMPLES, TIME_ROWS, TIMES, BYTES, KEPT_AT, KEPT_COUNT, MIXED = range(8)
# Columns of ``journal``: what a row of the table was before.
WAS_ROW, WAS_MS, WAS_BITS, WAS_META = range(4)

FIRST_ROWS = 1 << 14
KEPT_ROWS = 1 << 20  # a stream; more is given back after the group that needed it
# Of an unpacked body: room is made for as many samples as it could hold, in every stream.
MOST_BYTES = 4 << 20
AHEAD = np.uint64(8)  # series whose rows are called to the cache before they are needed
_NO_HISTOGRAMS: I32 = np.zeros(1, np.int32)

_ODD = np.uint64(1 << HISTOGRAM_BIT | 1 << ALIAS_BIT)
_TICK = np.uint64(TICK_MASK << TICK_SHIFT)
_HALF = np.uint64(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def _labels_end(text, pos, stop):  # type: ignore[no-untyped-def]
    """Where the Label messages end that begin at ``pos``; -1 where they are not well formed."""
    while pos < stop and byte_at(text, pos) == 0x0A:
        length, pos = span(text, pos + 1, stop)
        if pos < 0:
            return np.int64(-1)
        pos += length
    return pos


@njit(cache=True, nogil=True)
def _find(rows, sequence, places, key, length):  # type: ignore[no-untyped-def]
    """``(row, place in the sequence)`` of a series; the row is -1 where it has none. From here on, what comes next
    is expected to be what came after it before."""
    row = slot_of(rows, key)
    if rows[row, 3] == 0:
        return np.int64(-1), np.uint64(0)
    if places[row] == 0:
        at = sequence[0, KEY] + np.uint64(1)
        if at >= np.uint64(len(sequence)):  # many have gone: learn it anew
            places[:] = 0
            at = np.uint64(1)
        sequence[0, KEY] = at
        sequence[at, KEY] = key
        sequence[at, LENGTH_AND_ROW] = (np.uint64(length) << np.uint64(32)) | row
        places[row] = np.int32(at)
    return np.int64(row), np.uint64(places[row])


@njit(cache=True, nogil=True)
def drive(  # type: ignore[no-untyped-def]
    text, start, end, rows, sequence, places, generations, tick, bounds, counts,
    used, series_hash, sample_count, time_rows, time_kept, control, kept, journal,
):  # fmt: skip
    """Take the series of a body as long as they are usual. ``counts`` is the row of the body. Returns the position of
    the first series that is not, and how many rows were written to the journal.

    One long function: divided in three it took three times as long, for what is handed over is counted and copied."""
    tick_bits = tick << np.uint64(TICK_SHIFT)
    earliest, latest = bounds[EARLIEST_MS], bounds[LATEST_MS]
    room, byte_room = np.uint64(len(control) // len(used)), np.uint64(len(kept) // len(used))
    place, passed = np.uint64(0), np.uint64(0)
    known = min(sequence[0, KEY], np.uint64(len(sequence) - 1))
    pos = np.int64(start)
    while pos < end and byte_at(text, pos) == 0x0A:
        length, at = span(text, pos + 1, end)
        if at < 0:
            break
        stop = at + length
        place += np.uint64(1)
        row = np.int64(-1)
        behind = np.int64(-1)
        if place > np.uint64(1) and place <= known:
            soon = sequence[min(place + AHEAD, known), LENGTH_AND_ROW] & _HALF
            prefetch(rows, soon * np.uint64(4))
            text_len = np.int64(sequence[place, LENGTH_AND_ROW] >> np.uint64(32))
            behind = at + text_len
            if behind < stop and hash_bytes(text, at, text_len) == sequence[place, KEY]:
                row = np.int64(sequence[place, LENGTH_AND_ROW] & _HALF)
        if row < 0:
            behind = _labels_end(text, at, stop)
            if behind < 0:
                break
            key = hash_bytes(text, at, behind - at)
            row, place = _find(rows, sequence, places, key, behind - at)
            if row < 0:
                break
            known = min(sequence[0, KEY], np.uint64(len(sequence) - 1))
        slot = np.uint64(row)
        meta = rows[slot, 3]
        stream = meta & np.uint64(STREAM_MASK)
        generation = (meta >> np.uint64(GENERATION_SHIFT)) & np.uint64(GENERATION_MASK)
        if meta & _ODD or generation != np.uint64(generations[stream]):
            break

        begin = stream * room
        times, same_at = begin + np.uint64(used[stream, TIMES]), begin + np.uint64(used[stream, KEPT_AT])
        n = begin + np.uint64(used[stream, SAMPLES])
        byte = first_byte = stream * byte_room + np.uint64(used[stream, BYTES])
        last, last_bits, before = np.int64(rows[slot, 1]), rows[slot, 2], np.uint64(0)
        taken, equal, same = np.uint64(0), 0, True
        while behind < stop:
            usual, t, bits = usual_sample(text, behind, stop)
            if not usual or t < earliest or t > latest:
                break
            if t > last:
                time_kept[times + taken] = t
                same &= t == time_kept[same_at + taken]
                byte = put_value(bits ^ before, control, n + taken, kept, byte)
                before, last, last_bits = bits, t, bits
                taken += np.uint64(1)
            elif t == last and bits == last_bits:
                equal += 1
            else:
                break
            behind += USUAL_SAMPLE_BYTES
        if behind != stop or taken + np.uint64(equal) == 0:
            break

        counts[WRITTEN_SAMPLES] += np.int64(taken) + equal
        counts[EQUAL_SAMPLES] += equal
        pos = stop
        if taken == 0:
            continue
        journal[passed, WAS_ROW] = slot
        journal[passed, WAS_MS] = rows[slot, 1]
        journal[passed, WAS_BITS] = rows[slot, 2]
        journal[passed, WAS_META] = meta
        passed += np.uint64(1)
        rows[slot, 1] = np.uint64(last)
        rows[slot, 2] = last_bits
        rows[slot, 3] = (meta & ~_TICK) | tick_bits
        s = np.uint64(used[stream, SERIES])
        series_hash[begin + s] = rows[slot, 0]
        sample_count[begin + s] = taken
        used[stream, MIXED] |= taken != np.uint64(sample_count[begin])
        if not same or taken != np.uint64(used[stream, KEPT_COUNT]):
            time_rows[begin + np.uint64(used[stream, TIME_ROWS])] = s
            used[stream, TIME_ROWS] += 1
            used[stream, KEPT_AT] = used[stream, TIMES]
            used[stream, KEPT_COUNT] = taken
            used[stream, TIMES] += np.int64(taken)
        used[stream, SERIES] += 1
        used[stream, SAMPLES] += np.int64(taken)
        used[stream, BYTES] += np.int64(byte - first_byte)
    return pos, passed


class _Columns(NamedTuple):
    """Of all streams, each in its part of the same length."""

    series_hash: U64
    sample_count: I32
    time_rows: I32
    time_kept: I64
    control: U8
    kept: U8


_COUNTED_BY = (SERIES, SERIES, TIME_ROWS, TIMES, SAMPLES, BYTES)  # the column of ``used`` for each of them


def _columns(streams: int, rows: int) -> _Columns:
    n = streams * rows
    return _Columns(
        np.empty(n, np.uint64), np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int64),
        np.empty(n, np.uint8), np.empty(8 * n + streams * SLACK, np.uint8),
    )  # fmt: skip


class ExpressLane:
    """The columns of a group of bodies, a part a stream; used again for the next group. Not thread-safe."""

    def __init__(self, streams: int) -> None:
        self._used = np.zeros((streams, MIXED + 1), np.int64)
        self._before = self._used.copy()
        self._passed = 0
        self._columns = _columns(streams, FIRST_ROWS)
        self._journal = np.empty((FIRST_ROWS, 4), np.uint64)

    def clear(self) -> None:
        """Begin a group."""
        self._used[:] = 0
        if len(self._columns.control) > KEPT_ROWS * len(self._used):
            self._columns = _columns(len(self._used), FIRST_ROWS)

    def take(
        self,
        text: U8,
        start: int,
        end: int,
        table: SeriesTable,
        generations: I64,
        now_s: int,
        bounds: I64,
        counts: I64,
    ) -> int:
        """The position of the first series of ``text[start:end]`` that is not usual; ``counts`` is the body's row."""
        self._passed = 0
        self._before[:] = self._used
        if end - start > MOST_BYTES:
            return start
        self._make_room((end - start) // USUAL_SAMPLE_BYTES + 1)
        position, self._passed = drive(
            text, start, end, table.rows, table.sequence, table.sequence_place, generations,
            np.uint64(now_s // TICK_S & TICK_MASK), bounds, counts, self._used, *self._columns, self._journal,
        )  # fmt: skip
        return int(position)

    def undo(self, table: SeriesTable, counts: I64) -> None:
        """The body that was taken last is refused whole: nothing of it was ever there."""
        # The newest change first: of a series that changed twice the last assignment counts.
        newest_first = self._journal[: self._passed][::-1]
        table.rows[newest_first[:, WAS_ROW].astype(np.int64), 1:] = newest_first[:, WAS_MS:]
        self._used[:] = self._before
        counts[:] = 0

    def samples(self, stream: int) -> int:
        return int(self._used[stream, SAMPLES])

    def columns(self, stream: int, defined_since: I64) -> dict[str, np.ndarray[Any, Any]]:
        """The record of a stream, as ``agent.telemetry.samples.sample_columns`` has it. Views, void with the next
        group."""
        series, samples, time_rows, times, size, _, _, mixed = self._used[stream].tolist()
        series_hash, sample_count, row, time_kept, control, kept = (
            column[stream] for column in self._by_stream(self._columns)
        )
        kept[size : size + SLACK] = 0
        return {
            "defined_since": defined_since,
            "series_hash": series_hash[:series],
            "sample_count": sample_count[: series if mixed else 1],
            "histogram_count": _NO_HISTOGRAMS,
            "time_rows": row[:time_rows],
            "time_kept": time_kept[:times],
            "control": control[:samples],
            "value": kept[: size + SLACK],
        }

    def _by_stream(self, columns: Iterable[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        return [column.reshape(len(self._used), -1) for column in columns]

    def _make_room(self, samples: int) -> None:
        """Room for so many more samples in every stream, each of a series of its own."""
        if samples > len(self._journal):
            self._journal = np.empty((2 * samples, 4), np.uint64)
        streams, used = len(self._used), int(self._used[:, SAMPLES].max())
        if (used + samples) * streams > len(self._columns.control):
            grown = _columns(streams, 2 * (used + samples))
            both = zip(_COUNTED_BY, self._by_stream(self._columns), self._by_stream(grown), strict=True)
            for count, old, new in both:
                for stream, n in enumerate(self._used[:, count].tolist()):
                    new[stream, :n] = old[stream, :n]
            self._columns = grown
