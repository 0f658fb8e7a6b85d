"""Samples of many series in chunks: the kernels that look them up, count and copy them."""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.promql.kernels import STALE, alike
from agent.windows.metrics.chunks import (
    AHEAD,
    BASE_TIME,
    CHUNK,
    CHUNK_WORDS,
    COUNT,
    FILL,
    LAST,
    PREVIOUS,
    ROW_WORDS,
    TIMES,
    VALUES,
    below,
    time_of,
)
from agent.windows.metrics.prefetch import prefetch

LINE_WORDS = 8  # of a cache line


@njit(cache=True, nogil=True)
def _reach(s, chunk, count, start_ms, end_ms, ended):  # type: ignore[no-untyped-def]
    """``(low, high)``: which samples of a chunk lie in ``[start_ms, end_ms]``; its first one is not behind
    ``end_ms``. ``ended``: that no sample is behind it is known from a newer chunk."""
    high = np.int64(count)
    if not ended and time_of(s, chunk, count - 1) > end_ms:
        high = below(s, chunk, count, end_ms + 1)
    low = np.int64(0) if time_of(s, chunk, 0) >= start_ms else below(s, chunk, count, start_ms)
    return low, max(low, high)


@njit(cache=True, nogil=True)
def _guess(chunk, previous, ahead):  # type: ignore[no-untyped-def]
    """The chunk some places before ``previous``: where many series are scraped together they take new chunks
    in the same order each time, so that those of one series lie equally far apart."""
    return max(np.int64(0), previous - ahead * (chunk - previous))


@njit(cache=True, nogil=True)
def count_between(s, ids, start_ms, end_ms, out):  # type: ignore[no-untyped-def]
    """How many samples of each series lie in ``[start_ms, end_ms]``; added to ``out``."""
    for i in range(len(ids)):
        if i + 2 * AHEAD < len(ids):
            prefetch(s.rows, np.int64(ids[i + 2 * AHEAD]) * ROW_WORDS)
        if i + AHEAD < len(ids):
            prefetch(s.words, max(np.int64(0), s.rows[ids[i + AHEAD], CHUNK]) * CHUNK_WORDS)
        series = np.int64(ids[i])
        if s.rows[series, LAST] < start_ms:
            continue
        chunk, count = s.rows[series, CHUNK], s.rows[series, FILL]
        ended = s.rows[series, LAST] <= end_ms
        total = np.int64(0)
        while chunk >= 0:
            first = time_of(s, chunk, 0)
            if first <= end_ms:
                low, high = _reach(s, chunk, count, start_ms, end_ms, ended)
                ended = True
                total += high - low
                if first < start_ms:
                    break
            previous = s.words[chunk * CHUNK_WORDS + PREVIOUS]
            prefetch(s.words, _guess(chunk, previous, 2) * CHUNK_WORDS)
            chunk = previous
            if chunk >= 0:
                count = s.words[chunk * CHUNK_WORDS + COUNT]
        out[i] += total


@njit(cache=True, nogil=True)
def any_between(s, ids, start_ms, end_ms, out):  # type: ignore[no-untyped-def]
    """Whether each series has samples in ``[start_ms, end_ms]``. The row tells it of most: their newest one is."""
    for i in range(len(ids)):
        if i + 2 * AHEAD < len(ids):
            prefetch(s.rows, np.int64(ids[i + 2 * AHEAD]) * ROW_WORDS)
        series = np.int64(ids[i])
        chunk, count, last = s.rows[series, CHUNK], s.rows[series, FILL], s.rows[series, LAST]
        out[i] = chunk >= 0 and start_ms <= last <= end_ms
        if last <= end_ms:
            continue
        while chunk >= 0 and time_of(s, chunk, 0) > end_ms:
            chunk = s.words[chunk * CHUNK_WORDS + PREVIOUS]
            if chunk >= 0:
                count = s.words[chunk * CHUNK_WORDS + COUNT]
        if chunk >= 0:
            low, high = _reach(s, chunk, count, start_ms, end_ms, False)
            out[i] = high > low


@njit(cache=True, nogil=True)
def _copy_out(s, word, low, high, time_ms, bits):  # type: ignore[no-untyped-def]
    """Samples ``low`` to ``high`` - 1 of the chunk at ``word``, to the end of views that have room for them. Views
    let the compiler use vectors: their indices need no test for negative ones. Returns the number of stale markers."""
    base = s.words[word + BASE_TIME]
    times = s.halves[2 * word + TIMES + low : 2 * word + TIMES + high]
    to_times = time_ms[len(time_ms) - len(times) :]
    for k in range(len(times)):
        to_times[k] = base + times[k]
    values = s.words[word + VALUES + low : word + VALUES + high]
    to_values = bits[len(bits) - len(values) :]
    stale = np.int64(0)
    for k in range(len(values)):
        to_values[k] = values[k]
        stale += values[k] == STALE
    return stale


@njit(cache=True, nogil=True)
def copy_between(s, ids, start_ms, end_ms, counts, behind, bits, time_start, time_ms):  # type: ignore[no-untyped-def]
    """Write the values of each series in ``[start_ms, end_ms]``, of which there are ``counts[i]``, so that they end
    before row ``behind[i]``, and their times to ``time_ms`` from ``time_start[i]`` on: once where series side by
    side have the same. ``bits`` are those of the column of values. Returns how many times that are, and how many
    stale markers there are."""
    used, stale, before = np.int64(0), np.int64(0), time_ms[:0]
    for i in range(len(ids)):
        time_start[i] = used
        if i + 2 * AHEAD < len(ids):
            prefetch(s.rows, np.int64(ids[i + 2 * AHEAD]) * ROW_WORDS)
        if i + 2 < len(ids):
            soon = max(np.int64(0), s.rows[ids[i + 2], CHUNK]) * CHUNK_WORDS
            for line in range(0, CHUNK_WORDS, LINE_WORDS):
                prefetch(s.words, soon + line)
        series = np.int64(ids[i])
        if s.rows[series, LAST] < start_ms:
            continue
        chunk, count = s.rows[series, CHUNK], s.rows[series, FILL]
        ended = s.rows[series, LAST] <= end_ms
        times, left = time_ms[used : used + counts[i]], counts[i]
        values = bits[behind[i] - counts[i] : behind[i]]
        while chunk >= 0:
            word = chunk * CHUNK_WORDS
            previous = s.words[word + PREVIOUS]
            if previous >= 0:
                soon = _guess(chunk, previous, 1) * CHUNK_WORDS
                prefetch(s.words, soon)
                prefetch(s.words, soon + VALUES)
            first = time_of(s, chunk, 0)
            if first <= end_ms:
                low, high = _reach(s, chunk, count, start_ms, end_ms, ended)
                ended = True
                stale += _copy_out(s, word, low, high, times[:left], values[:left])
                left -= high - low
                if first < start_ms:
                    break
            chunk = previous
            if chunk >= 0:
                count = s.words[chunk * CHUNK_WORDS + COUNT]
        if alike(times, before):
            time_start[i] -= len(before)
        else:
            before = times
            used += len(times)
    return used, stale


@njit(cache=True, nogil=True)
def take_between(s, ids, start_ms, end_ms, counts, bits, time_start, time_ms):  # type: ignore[no-untyped-def]
    """``count_between`` and ``copy_between`` of one series after the other, so that its chunks come from the memory
    once; the values lie one series behind the other. Returns how many values and times that are; -1 values where the
    columns, which are of one length, have no room for them."""
    behind, used, before = np.zeros(1, np.int64), np.int64(0), time_ms[:0]
    for i in range(len(ids)):
        if i + 2 * AHEAD < len(ids):
            prefetch(s.rows, np.int64(ids[i + 2 * AHEAD]) * ROW_WORDS)
        if i + 2 < len(ids):
            soon = max(np.int64(0), s.rows[ids[i + 2], CHUNK]) * CHUNK_WORDS
            for line in range(0, CHUNK_WORDS, LINE_WORDS):
                prefetch(s.words, soon + line)
        one, count = ids[i : i + 1], counts[i : i + 1]
        count[0] = 0
        count_between(s, one, start_ms, end_ms, count)
        behind[0] += count[0]
        if behind[0] > len(bits):
            return np.int64(-1), used
        times = time_ms[used : used + count[0]]
        copy_between(s, one, start_ms, end_ms, count, behind, bits, time_start[i : i + 1], times)
        if alike(times, before):
            time_start[i] = used - len(before)
        else:
            time_start[i] = used
            before = times
            used += len(times)
    return behind[0], used
