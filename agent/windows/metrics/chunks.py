"""Samples of many series in chunks of equal size: the kernels that append, insert and free. Those that read are in
``chunkreads``.

A chunk is 48 words of 64 bits (six cache lines) in one array: the chunk before it (or -1), its number of
samples, a base time, then 30 times as 32-bit offsets of the base in ms, then 30 values. The chunks of a
series form a list from the newest to the oldest; times ascend within a chunk and from chunk to chunk. A
series has one row of eight words (one cache line), so that a sample that comes in order touches three
lines: the row, its time and its value. The count of the newest chunk is kept in the row alone (``FILL``).

Nothing here locks: one caller at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from agent.telemetry.frames import F64, I32, I64
from agent.windows.metrics.prefetch import prefetch

CHUNK_SAMPLES = 30
CHUNK_WORDS = 48
PREVIOUS, COUNT, BASE_TIME = 0, 1, 2  # words of a chunk
TIMES = 6  # where the times begin, in halves of words
VALUES = 18
MOST_MS = 2**31 - 1  # how far a time may lie from its chunk's base

ROW_WORDS = 8
CHUNK, FILL, LAST, BASE, FIRST, SEEN, DEFINED = range(7)  # words of a series' row
NEVER = np.iinfo(np.int64).min

# Words of the state.
USED, FREE, FREE_CHUNKS, CAPACITY, SAMPLES, DUPLICATE, TOO_OLD, NO_ROOM, INSERTED = range(9)
STATE_WORDS = 16
AHEAD = 8


class Chunks(NamedTuple):
    """``words``, ``halves`` and ``floats`` are three views of the same chunks; ``rows`` has shape
    (series, 8). ``state[USED]`` chunks were taken so far; the freed ones are a list from ``state[FREE]``."""

    words: I64
    halves: I32
    floats: F64
    rows: I64
    state: I64


def make_chunks(words: I64, rows: I64) -> Chunks:
    state = np.zeros(STATE_WORDS, np.int64)
    state[FREE] = -1
    state[CAPACITY] = len(words) // CHUNK_WORDS
    return Chunks(words, words.view(np.int32), words.view(np.float64), rows.reshape(-1, ROW_WORDS), state)


@njit(cache=True, nogil=True)
def add_rows(s, first, behind, position):  # type: ignore[no-untyped-def]
    """New series, without a sample yet."""
    for i in range(first, behind):
        s.rows[i, CHUNK] = -1
        s.rows[i, FILL] = CHUNK_SAMPLES
        s.rows[i, LAST] = NEVER
        s.rows[i, BASE] = 0
        s.rows[i, FIRST] = -(NEVER + 1)
        s.rows[i, SEEN] = NEVER
        s.rows[i, DEFINED] = position


@njit(cache=True, nogil=True)
def _take_chunk(s):  # type: ignore[no-untyped-def]
    chunk = s.state[FREE]
    if chunk >= 0:
        s.state[FREE] = s.words[chunk * CHUNK_WORDS + PREVIOUS]
        s.state[FREE_CHUNKS] -= 1
        return chunk
    chunk = s.state[USED]
    if chunk == s.state[CAPACITY]:
        return np.int64(-1)
    s.state[USED] += 1
    return chunk


@njit(cache=True, nogil=True)
def time_of(s, chunk, i):  # type: ignore[no-untyped-def]
    word = chunk * CHUNK_WORDS
    return s.words[word + BASE_TIME] + np.int64(s.halves[2 * word + TIMES + i])


@njit(cache=True, nogil=True)
def _fits(s, chunk, time):  # type: ignore[no-untyped-def]
    return abs(time - s.words[chunk * CHUNK_WORDS + BASE_TIME]) <= MOST_MS


@njit(cache=True, nogil=True)
def _new_chunk(s, previous, time, value):  # type: ignore[no-untyped-def]
    """A chunk of one sample; -1 where there is no room."""
    chunk = _take_chunk(s)
    if chunk < 0:
        s.state[NO_ROOM] += 1
        return chunk
    word = chunk * CHUNK_WORDS
    s.words[word + PREVIOUS] = previous
    s.words[word + COUNT] = 1
    s.words[word + BASE_TIME] = time
    s.halves[2 * word + TIMES] = 0
    s.floats[word + VALUES] = value
    return chunk


@njit(cache=True, nogil=True)
def below(s, chunk, count, time):  # type: ignore[no-untyped-def]
    """How many of a chunk's samples are older than ``time``."""
    offset = time - s.words[chunk * CHUNK_WORDS + BASE_TIME]
    first = 2 * chunk * CHUNK_WORDS + TIMES
    low, high = np.int64(0), np.int64(count)
    while low < high:
        middle = (low + high) >> 1
        if s.halves[first + middle] < offset:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def _put(s, chunk, place, time, value):  # type: ignore[no-untyped-def]
    """Shift what is behind ``place`` and put a sample there; the chunk has room."""
    word = chunk * CHUNK_WORDS
    count = s.words[word + COUNT]
    for i in range(count, place, -1):
        s.halves[2 * word + TIMES + i] = s.halves[2 * word + TIMES + i - 1]
        s.floats[word + VALUES + i] = s.floats[word + VALUES + i - 1]
    s.halves[2 * word + TIMES + place] = np.int32(time - s.words[word + BASE_TIME])
    s.floats[word + VALUES + place] = value
    s.words[word + COUNT] = count + 1


@njit(cache=True, nogil=True)
def _split(s, chunk):  # type: ignore[no-untyped-def]
    """Move the newer half of a full chunk into a new one above it; -1 where there is no room."""
    upper = _take_chunk(s)
    if upper < 0:
        s.state[NO_ROOM] += 1
        return upper
    low, high = chunk * CHUNK_WORDS, upper * CHUNK_WORDS
    half = CHUNK_SAMPLES // 2
    for i in range(half, CHUNK_SAMPLES):
        s.halves[2 * high + TIMES + i - half] = s.halves[2 * low + TIMES + i]
        s.floats[high + VALUES + i - half] = s.floats[low + VALUES + i]
    s.words[high + BASE_TIME] = s.words[low + BASE_TIME]
    s.words[high + COUNT] = CHUNK_SAMPLES - half
    s.words[low + COUNT] = half
    s.words[high + PREVIOUS] = chunk
    return upper


@njit(cache=True, nogil=True)
def _link_above(s, series, above, chunk):  # type: ignore[no-untyped-def]
    """Make ``chunk`` the one below ``above``; the newest of the series where that is -1."""
    if above < 0:
        s.rows[series, CHUNK] = chunk
    else:
        s.words[above * CHUNK_WORDS + PREVIOUS] = chunk


@njit(cache=True, nogil=True)
def _insert(s, series, time, value):  # type: ignore[no-untyped-def]
    """Put a sample between others, all counts being in the chunks; returns how many were added."""
    above, chunk = np.int64(-1), s.rows[series, CHUNK]
    while time < time_of(s, chunk, 0) and s.words[chunk * CHUNK_WORDS + PREVIOUS] >= 0:
        above, chunk = chunk, s.words[chunk * CHUNK_WORDS + PREVIOUS]
    count = s.words[chunk * CHUNK_WORDS + COUNT]
    place = below(s, chunk, count, time)
    if place < count and time_of(s, chunk, place) == time:
        s.state[DUPLICATE] += 1
        return 0
    if count < CHUNK_SAMPLES and _fits(s, chunk, time):
        _put(s, chunk, place, time, value)
    elif place == count and s.words[above * CHUNK_WORDS + COUNT] < CHUNK_SAMPLES and _fits(s, above, time):
        _put(s, above, 0, time, value)
    elif place == count:
        fresh = _new_chunk(s, chunk, time, value)
        if fresh < 0:
            return 0
        _link_above(s, series, above, fresh)
    elif place == 0:
        fresh = _new_chunk(s, s.words[chunk * CHUNK_WORDS + PREVIOUS], time, value)
        if fresh < 0:
            return 0
        s.words[chunk * CHUNK_WORDS + PREVIOUS] = fresh
    else:
        upper = _split(s, chunk)
        if upper < 0:
            return 0
        _link_above(s, series, above, upper)
        if place <= CHUNK_SAMPLES // 2:
            _put(s, chunk, place, time, value)
        else:
            _put(s, upper, place - CHUNK_SAMPLES // 2, time, value)
    s.state[INSERTED] += 1
    return 1


@njit(cache=True, nogil=True)
def _append_odd(s, series, time, value, accept_from):  # type: ignore[no-untyped-def]
    """A sample that opens a chunk, is out of order, or is refused; returns how many were added."""
    newest = s.rows[series, CHUNK]
    if time < accept_from:
        s.state[TOO_OLD] += 1
        return 0
    if newest < 0 or time > s.rows[series, LAST]:
        chunk = _new_chunk(s, newest, time, value)
        if chunk < 0:
            return 0
        if newest >= 0:
            s.words[newest * CHUNK_WORDS + COUNT] = s.rows[series, FILL]
        s.rows[series, CHUNK] = chunk
        s.rows[series, FILL] = 1
        s.rows[series, LAST] = max(time, s.rows[series, LAST])
        s.rows[series, BASE] = time
        s.rows[series, FIRST] = min(time, s.rows[series, FIRST])
        return 1
    if time == s.rows[series, LAST]:
        s.state[DUPLICATE] += 1
        return 0
    s.words[newest * CHUNK_WORDS + COUNT] = s.rows[series, FILL]
    added = _insert(s, series, time, value)
    newest = s.rows[series, CHUNK]
    s.rows[series, FILL] = s.words[newest * CHUNK_WORDS + COUNT]
    s.rows[series, BASE] = s.words[newest * CHUNK_WORDS + BASE_TIME]
    s.rows[series, FIRST] = min(time, s.rows[series, FIRST])
    return added


@njit(cache=True, nogil=True)
def append(s, ids, counts, time_ms, value, accept_from):  # type: ignore[no-untyped-def]
    """The samples of a record: those of series ``ids[i]`` (-1: skip them) are the next ``counts[i]``.
    Returns how many were added."""
    at = np.int64(0)
    added = np.int64(0)
    for i in range(len(ids)):
        if i + 2 * AHEAD < len(ids):
            prefetch(s.rows, max(np.int64(0), np.int64(ids[i + 2 * AHEAD])) * ROW_WORDS)
        if i + AHEAD < len(ids):
            soon = max(np.int64(0), np.int64(ids[i + AHEAD]))
            word = max(np.int64(0), s.rows[soon, CHUNK]) * CHUNK_WORDS
            fill = s.rows[soon, FILL]
            prefetch(s.words, word + (TIMES + fill) // 2)
            prefetch(s.words, word + VALUES + fill)
        behind = at + counts[i]
        series = np.int64(ids[i])
        if series < 0:
            at = behind
            continue
        fill, last, base = s.rows[series, FILL], s.rows[series, LAST], s.rows[series, BASE]
        word = s.rows[series, CHUNK] * CHUNK_WORDS
        for j in range(at, behind):
            time = time_ms[j]
            if time > last and fill < CHUNK_SAMPLES and time >= accept_from and time - base <= MOST_MS:
                s.halves[2 * word + TIMES + fill] = np.int32(time - base)
                s.floats[word + VALUES + fill] = value[j]
                fill += 1
                last = time
                added += 1
            else:
                s.rows[series, FILL], s.rows[series, LAST] = fill, last
                added += _append_odd(s, series, time, value[j], accept_from)
                fill, last, base = s.rows[series, FILL], s.rows[series, LAST], s.rows[series, BASE]
                word = s.rows[series, CHUNK] * CHUNK_WORDS
        s.rows[series, FILL], s.rows[series, LAST] = fill, last
        at = behind
    s.state[SAMPLES] += added
    return added


@njit(cache=True, nogil=True)
def free_before(s, first, behind, time):  # type: ignore[no-untyped-def]
    """Give back the chunks of series ``first`` to ``behind`` - 1 whose samples are all older."""
    for series in range(first, behind):
        if s.rows[series, FIRST] >= time:
            continue  # never had a chunk so old: spares walking down all of them
        above, chunk, count = np.int64(-1), s.rows[series, CHUNK], s.rows[series, FILL]
        while chunk >= 0 and time_of(s, chunk, count - 1) >= time:
            above, chunk = chunk, s.words[chunk * CHUNK_WORDS + PREVIOUS]
            if chunk >= 0:
                count = s.words[chunk * CHUNK_WORDS + COUNT]
        if chunk < 0:
            continue
        _link_above(s, series, above, np.int64(-1))
        if above < 0:
            s.rows[series, FILL] = CHUNK_SAMPLES
            s.rows[series, BASE] = 0
        while chunk >= 0:
            previous = s.words[chunk * CHUNK_WORDS + PREVIOUS]
            s.state[SAMPLES] -= count
            s.words[chunk * CHUNK_WORDS + PREVIOUS] = s.state[FREE]
            s.state[FREE] = chunk
            s.state[FREE_CHUNKS] += 1
            chunk = previous
            if chunk >= 0:
                count = s.words[chunk * CHUNK_WORDS + COUNT]


@njit(cache=True, nogil=True)
def free_others(s, count, kept):  # type: ignore[no-untyped-def]
    """Give back all chunks of those of the first ``count`` series that are not ``kept``."""
    for series in range(count):
        if not kept[series]:
            free_before(s, series, series + 1, -(NEVER + 1))
