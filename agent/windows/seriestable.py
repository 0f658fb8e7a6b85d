"""The series of one tenant that the gateway knows: by the hash of their labels, with their last sample.

Open addressing with linear probing (Knuth, The Art of Computer Programming 3, 6.4, algorithm L). A series is
one row of four 64-bit words, half a line of the processor's cache, because a request of thousands of series
costs what its cache misses cost:

    hash | last_ms | bits of the last value, or hash of the last histogram | meta

``meta`` packs, from bit 0: stream (10 bits), last sample was a histogram, alias, tick of last use (20), generation
of its definition (24), in use (bit 63). A row whose alias bit is set stands for labels that came in another form
than the canonical one (unsorted, with empty values); its second word is the hash of the canonical form.

``places`` says for each row what decided its owner, ``sources`` how many series each place has and, where the rate
of a source is limited, ``buckets`` what each may still send (``agent.telemetry.allowance``).

``sequence`` and ``sequence_place`` belong to ``agent.windows.expresslane``: in which order the series come.

Which stream owns a series is decided by rendezvous hashing, as in ``agent.windows.placement``, over the hash of
tenant, job and instance: all series of a target lie together, and the targets of one job use all cores.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.telemetry.allowance import BUCKET_COLUMNS
from agent.telemetry.frames import I64, U8, U64
from agent.telemetry.hashing import mix, slot_of
from agent.telemetry.labels import hash_labels
from agent.telemetry.remote_write_labels import Fault

HASH, LAST_MS, LAST_BITS, META = range(4)
STREAM_BITS = 10
HISTOGRAM_BIT, ALIAS_BIT, TICK_SHIFT, GENERATION_SHIFT = 10, 11, 12, 32
TICK_MASK, GENERATION_MASK, STREAM_MASK = (1 << 20) - 1, (1 << 24) - 1, (1 << STREAM_BITS) - 1
USED = 1 << 63
NEVER_MS = -(1 << 63)

TICK_S = 60  # the unit of last use
IDLE_TICKS = 120  # a series that got nothing for two hours makes room, and is defined anew if it comes back
SMALLEST = 1 << 12

_MANY_SERIES, _MANY_OF_SOURCE = int(Fault.TOO_MANY_SERIES), int(Fault.TOO_MANY_SERIES_OF_SOURCE)
_META_BASE = np.uint64(USED)
_ALIAS = np.uint64(1 << ALIAS_BIT)


@njit(cache=True, nogil=True)
def owner_of(place, streams):  # type: ignore[no-untyped-def]
    """The stream, 0 to ``streams - 1``, that draws the highest number for the hash of a place."""
    best = np.int64(0)
    most = np.uint64(0)
    for i in range(streams):
        draw = mix(place, np.uint64(i + 1))
        if draw >= most:
            most = draw
            best = np.int64(i)
    return best


@njit(cache=True, nogil=True)
def locate(rows, hashes, generations, slots, unknown):  # type: ignore[no-untyped-def]
    """``slots[i]`` becomes the slot of series ``i``, -1 where it is not known; those are listed in ``unknown``.

    A series that came as an alias and must be defined again counts as unknown: its canonical labels are not
    at hand. Returns how many are unknown."""
    count = 0
    for i in range(len(hashes)):
        slot = slot_of(rows, hashes[i])
        meta = rows[slot, 3]
        if meta & _ALIAS:
            slot = slot_of(rows, rows[slot, 1])
            meta = rows[slot, 3]
            stream = meta & np.uint64(STREAM_MASK)
            generation = (meta >> np.uint64(GENERATION_SHIFT)) & np.uint64(GENERATION_MASK)
            if meta != 0 and generation != np.uint64(generations[stream]):
                meta = np.uint64(0)
        if meta == 0:
            slots[i] = -1
            unknown[count] = i
            count += 1
        else:
            slots[i] = np.int64(slot)
    return count


@njit(cache=True, nogil=True)
def source_of(sources, place):  # type: ignore[no-untyped-def]
    """The slot of a place in the table of sources (hash, number of series); its own, or a free one."""
    mask = np.uint64(len(sources) - 1)
    slot = place & mask
    while sources[slot, 1] != 0 and sources[slot, 0] != place:
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit(cache=True, nogil=True)
def register(rows, places, sources, used, limits, streams, tick, hashes, raw_hashes, place, unknown, faults):  # type: ignore[no-untyped-def]
    """Enter canonical series, and an alias for those that came in another form. ``used`` counts rows, series
    and sources; ``limits`` bounds series and series a source. ``faults`` says who found no room."""
    for u in range(len(unknown)):
        if faults[u] != 0:
            continue
        key = hashes[unknown[u]]
        slot = slot_of(rows, key)
        if rows[slot, 3] == 0:
            source = source_of(sources, place[u])
            if used[1] >= limits[0] or sources[source, 1] >= np.uint64(limits[1]):
                faults[u] = _MANY_SERIES if used[1] >= limits[0] else _MANY_OF_SOURCE
                continue
            if sources[source, 1] == 0:
                used[2] += 1
            sources[source, 0] = place[u]
            sources[source, 1] += np.uint64(1)
            rows[slot, 0] = key
            rows[slot, 1] = np.uint64(1) << np.uint64(63)
            rows[slot, 2] = 0
            rows[slot, 3] = (
                _META_BASE | (tick << np.uint64(TICK_SHIFT)) | np.uint64(owner_of(place[u], streams))
            )
            places[slot] = place[u]
            used[0] += 1
            used[1] += 1
        if raw_hashes[u] != key:
            alias = slot_of(rows, raw_hashes[u])
            if rows[alias, 3] == 0:
                used[0] += 1
                rows[alias, 0] = raw_hashes[u]
                rows[alias, 1] = key
                rows[alias, 3] = _META_BASE | _ALIAS | (tick << np.uint64(TICK_SHIFT))


@njit(cache=True, nogil=True)
def _move(old, old_places, rows, places, sources, used, tick, idle):  # type: ignore[no-untyped-def]
    """Enter the rows of another table that were used in the last ``idle`` ticks. Aliases are left behind:
    they are found again."""
    for i in range(len(old)):
        meta = old[i, 3]
        if meta == 0 or meta & _ALIAS:
            continue
        age = (tick - (meta >> np.uint64(TICK_SHIFT))) & np.uint64(TICK_MASK)
        if age > np.uint64(idle):
            continue
        slot = slot_of(rows, old[i, 0])
        rows[slot] = old[i]
        places[slot] = old_places[i]
        source = source_of(sources, old_places[i])
        if sources[source, 1] == 0:
            used[2] += 1
        sources[source, 0] = old_places[i]
        sources[source, 1] += np.uint64(1)
        used[0] += 1
        used[1] += 1


@njit(cache=True, nogil=True)
def _move_buckets(old, old_buckets, sources, buckets):  # type: ignore[no-untyped-def]
    """Take along the buckets of the sources that are still there."""
    for i in range(len(old)):
        if old[i, 1] == 0:
            continue
        source = source_of(sources, old[i, 0])
        if sources[source, 1] != 0:
            buckets[source] = old_buckets[i]


class SeriesTable:
    """``max_series`` bounds the series, ``max_per_source`` those of one job and instance; ``rated`` tells whether
    the sources have buckets. Not thread-safe."""

    def __init__(
        self, tenant: str, streams: int, max_series: int, max_per_source: int, *, rated: bool
    ) -> None:
        self.seed = np.uint64(hash_labels(tenant.encode()))
        self._rated = rated
        self._streams = streams
        self._limits = np.asarray([max_series, max_per_source], np.int64)
        self._purged_tick = -1
        self._empty(SMALLEST)

    def __len__(self) -> int:
        return int(self._used[1])

    @property
    def nbytes(self) -> int:
        return (
            self.rows.nbytes
            + self.sequence.nbytes
            + self.sequence_place.nbytes
            + self.places.nbytes
            + self.sources.nbytes
            + self.buckets.nbytes
        )

    def locate(self, hashes: U64, generations: I64, slots: I64) -> I64:
        """Fill ``slots``; the numbers of the series that are not known."""
        unknown = np.empty(len(hashes), np.int64)
        return unknown[: locate(self.rows, hashes, generations, slots, unknown)]

    def register(
        self, hashes: U64, raw_hashes: U64, place: U64, unknown: I64, faults: U8, now_s: int
    ) -> None:
        """Enter the series listed in ``unknown`` whose fault is 0; the others of these get one where there
        is no room. Slots found before are void."""
        tick = now_s // TICK_S & TICK_MASK
        self.make_room(2 * len(unknown), tick)
        register(
            self.rows, self.places, self.sources, self._used, self._limits, self._streams, np.uint64(tick),
            hashes, raw_hashes, place, unknown, faults,
        )  # fmt: skip

    def make_room(self, wanted: int, tick: int) -> None:
        """For so many more rows: let idle series go where the limit is near, and grow so that a third of the rows stays
        free."""
        near = len(self) + wanted // 2 > int(self._limits[0]) and self._purged_tick != tick
        if near or (int(self._used[0]) + wanted) * 3 > 2 * len(self.rows):
            self._purged_tick = tick
            old, places, sources, buckets = self.rows, self.places, self.sources, self.buckets
            self._empty(max(SMALLEST, 1 << (2 * (len(self) + wanted) - 1).bit_length()))
            _move(old, places, self.rows, self.places, self.sources, self._used, np.uint64(tick), IDLE_TICKS)
            if self._rated:
                _move_buckets(sources, buckets, self.sources, self.buckets)

    def _empty(self, size: int) -> None:
        self.rows = np.zeros((size, 4), np.uint64)
        self.sequence = np.zeros((size, 2), np.uint64)
        self.sequence_place = np.zeros(size, np.int32)
        self.places = np.zeros(size, np.uint64)
        self.sources = np.zeros((size, 2), np.uint64)
        self.buckets = np.zeros((size if self._rated else 0, BUCKET_COLUMNS), np.int64)
        self._used = np.zeros(3, np.int64)
