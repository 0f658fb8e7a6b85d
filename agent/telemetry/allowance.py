"""How many rows a source may send: a token bucket each.

A bucket is counted in *nanorows*, rows a second times nanoseconds, so that it fills exactly, in whole numbers. It
holds ``BURST_S`` seconds' worth and is full when its source is new: targets are scraped once a minute by default
and bring all their series at once, which a limit of the mean must let through. A full one must fit into 63 bits,
hence the bound of ``gateway.max_rows_per_source_per_s``.

Guarantee: rows that belong together are taken whole or not at all, and over any time a source gets no more than a
full bucket and what has flowed in since. Only a lot that is larger than a full bucket gets more: it could never
come else. It takes a full one and leaves it in debt.

Kernels keep a bucket as a row of three 64-bit integers: level, when it was filled last, and how many rows it has
turned away since then. A row of zeros is full.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from numba import njit

BURST_S = 60
MAX_REMEMBERED = 100_000

LEVEL, FILLED_NS, OWED = range(3)
BUCKET_COLUMNS = 3

_NANO = 10**9
_BURST_NS = BURST_S * _NANO

K = TypeVar("K", bound=Hashable)


@njit(cache=True, nogil=True)
def refilled(level, elapsed_ns, rate):  # type: ignore[no-untyped-def]
    """The nanorows of a bucket that held ``level``; a clock that went back brings none. ``rate`` in rows a second,
    above 0."""
    missing = _BURST_NS * rate - level
    if elapsed_ns > missing // rate:
        return level + missing
    return level + max(elapsed_ns, 0) * rate


@njit(cache=True, nogil=True)
def wait_ns(level, rows, rate):  # type: ignore[no-untyped-def]
    """Until a bucket lets so many rows in, rounded up; a full one lets in any number."""
    missing = min(rows, BURST_S * rate) * _NANO - level
    return 0 if missing <= 0 else -(-missing // rate)


@njit(cache=True, nogil=True)
def take(bucket, rows, rate, now_ns):  # type: ignore[no-untyped-def]
    """Take the rows from a bucket and return 0, or none of them and return in how many nanoseconds all that were
    turned away get in. A bucket that has turned rows away lets none in until the clock has gone on, so that what
    follows does not overtake them."""
    if bucket[FILLED_NS] != now_ns:
        bucket[LEVEL] = refilled(bucket[LEVEL], now_ns - bucket[FILLED_NS], rate)
        bucket[FILLED_NS] = now_ns
        bucket[OWED] = 0
    wait = wait_ns(bucket[LEVEL], bucket[OWED] + rows, rate)
    if wait == 0:
        bucket[LEVEL] -= rows * _NANO
    else:
        bucket[OWED] += rows
    return wait


@dataclass(frozen=True, slots=True)
class Short(Generic[K]):
    """The source that must wait longest before its rows get in."""

    source: K
    wait_ns: int


class Allowances(Generic[K]):
    """The buckets of sources whose bodies are taken whole or not at all. A source that is full again is forgotten
    when there are many; when all of them send, all begin anew. Not thread-safe."""

    def __init__(self, rows_per_s: int) -> None:
        self._rate = rows_per_s
        self._buckets: dict[K, tuple[int, int]] = {}  # level, filled_ns
        self._now_ns = 0

    def spend(self, rows: Mapping[K, int], now_ns: int) -> Short[K] | None:
        """Take the rows of a body from the buckets of its sources. Where one holds too little, nothing is taken."""
        now_ns = self._gone_on(now_ns)
        levels = {source: self._level(source, now_ns) for source in rows}
        waits = {source: wait_ns(level, rows[source], self._rate) for source, level in levels.items()}
        longest = max(waits, key=waits.__getitem__, default=None)
        if longest is not None and waits[longest] > 0:
            return Short(longest, waits[longest])
        if len(self._buckets) + len(rows) > MAX_REMEMBERED:
            self._forget(now_ns)
        for source, level in levels.items():
            self._buckets[source] = level - rows[source] * _NANO, now_ns
        return None

    def _gone_on(self, now_ns: int) -> int:
        """Threads ask in another order than they looked at the clock: a bucket must not fill twice for a while that
        one of them saw already. A clock that was set back by more than fills a bucket is believed."""
        if now_ns < self._now_ns <= now_ns + _BURST_NS:
            return self._now_ns
        if now_ns < self._now_ns:
            self._buckets = {key: (level, now_ns) for key, (level, _) in self._buckets.items()}
        self._now_ns = now_ns
        return now_ns

    def _level(self, source: K, now_ns: int) -> int:
        level, filled_ns = self._buckets.get(source, (0, now_ns - _BURST_NS))
        return int(refilled(level, now_ns - filled_ns, self._rate))

    def _forget(self, now_ns: int) -> None:
        full = _BURST_NS * self._rate
        kept = {key: one for key, one in self._buckets.items() if self._level(key, now_ns) < full}
        self._buckets = kept if len(kept) < MAX_REMEMBERED // 2 else {}
