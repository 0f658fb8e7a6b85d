"""The sealed blocks of a window: which series lie where in them, and their samples, decoded when asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from agent.promql.values import Times
from agent.telemetry.frames import F64, I32, I64
from agent.windows.metrics.answers import offsets_of
from agent.windows.metrics.blockcodec import Group
from agent.windows.metrics.blocks import GROUP_SERIES, BlockFile, Item

NOWHERE = -1
# In place of the id of a series: no room for it; forgotten, nothing of it is kept; no series, it fills up a group.
UNKNOWN, GONE, NOBODY = -1, -2, -3
ITEM_BYTES = 200  # of one decoded histogram or exemplar, about


@njit(cache=True, nogil=True)
def _find(offsets, time_start, time_ms, series, rows, start_ms, end_ms, low, count, shared):  # type: ignore[no-untyped-def]
    """Where the samples in ``[start_ms, end_ms]`` of some series of a group begin, and how many they are; ``shared``
    no longer those rows whose times here are not those of the row before. Returns how many samples there are."""
    total, before, before_size, before_row = np.int64(0), np.int64(-1), np.int64(-1), np.int64(-1)
    for i in range(len(series)):
        begin, size = time_start[series[i]], offsets[series[i] + 1] - offsets[series[i]]
        if begin == before and size == before_size:
            low[i], count[i] = low[i - 1], count[i - 1]
            shared[rows[i]] &= rows[i] == before_row + 1
        else:
            times = time_ms[begin : begin + size]
            low[i] = np.searchsorted(times, start_ms)
            count[i] = np.searchsorted(times, end_ms, side="right") - low[i]
            shared[rows[i]] = False
        before, before_size, before_row = begin, size, rows[i]
        total += count[i]
    return total


@njit(cache=True, nogil=True)
def _copy(start, column, series, low, count, rows, cursor, to):  # type: ignore[no-untyped-def]
    """Write what ``_find`` found of a column, where each series begins at ``start``, behind the ``cursor`` of each
    row, and move that; not where the cursor is -1."""
    for i in range(len(series)):
        at = cursor[rows[i]]
        if at < 0:
            continue
        first = start[series[i]] + low[i]
        # Of views the compiler knows that no index counts from the end, and moves several at once.
        some, place = column[first : first + count[i]], to[at : at + count[i]]
        for k in range(len(place)):
            place[k] = some[k]
        cursor[rows[i]] = at + count[i]


@dataclass(frozen=True, slots=True)
class _Piece:
    """Samples of some of the wanted series (places ``rows``) in one group."""

    group: Group
    rows: I64
    series: I64
    low: I64
    count: I64


@dataclass(frozen=True, slots=True)
class Block:
    """``ids`` are the series of the block in its order, UNKNOWN, GONE or NOBODY where there is none; ``place[id]``
    is where a series lies in it. Every group has ``GROUP_SERIES`` places, the last one as many as it has series."""

    file: BlockFile
    ids: I32
    place: I32

    @property
    def nbytes(self) -> int:
        """In memory."""
        return self.ids.nbytes + self.place.nbytes

    def rows(self, ids: I32) -> I32:
        """Where series lie in the block, NOWHERE where they do not."""
        inside = ids < len(self.place)
        out = np.full(len(ids), NOWHERE, np.int32)
        out[inside] = self.place[ids[inside]]
        return out


def make_block(file: BlockFile, ids: I32, like: Block | None = None) -> Block:
    """``like`` is a block that may have the same series; the tables are shared then."""
    if like is not None and np.array_equal(like.ids, ids):
        return Block(file, like.ids, like.place)
    place = np.full(int(ids.max(initial=-1)) + 1, NOWHERE, np.int32)
    known = ids >= 0
    place[ids[known]] = np.flatnonzero(known)
    return Block(file, ids, place)


def padded(groups: Sequence[I32]) -> I32:
    """``Block.ids`` of the ids of each group."""
    parts = [np.empty(0, np.int32)]
    for ids in groups:
        parts += [np.full(-len(parts[-1]) % GROUP_SERIES, NOBODY, np.int32), ids]
    return np.concatenate(parts)


class Decoded:
    """The groups that were decoded lately, bounded by bytes. Thread-safe. Known by the serial of the file: another
    one may come to the same path."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[Any, ...], tuple[int, Any]] = OrderedDict()
        self._lock = threading.Lock()
        self.nbytes = 0

    def group(self, block: Block, number: int) -> Group:
        key = (block.file.serial, number)
        found = self._get(key)
        if found is None:
            found = block.file.group(number)
            self._put(key, found.nbytes, found)
        return found  # type: ignore[no-any-return]

    def items(self, block: Block, number: int, kind: str) -> list[Item]:
        key = (block.file.serial, number, kind)
        found = self._get(key)
        if found is None:
            found = block.file.items(number, kind)
            self._put(key, sum(ITEM_BYTES + len(item[2]) for item in found), found)
        return found  # type: ignore[no-any-return]

    def forget(self, block: Block) -> None:
        with self._lock:
            for key in [key for key in self._kept if key[0] == block.file.serial]:
                self.nbytes -= self._kept.pop(key)[0]

    def _get(self, key: tuple[Any, ...]) -> Any:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][1]

    def _put(self, key: tuple[Any, ...], nbytes: int, made: Any) -> None:
        with self._lock:
            self.nbytes += nbytes - self._kept.pop(key, (0, None))[0]
            self._kept[key] = nbytes, made
            while self.nbytes > self._most_bytes and len(self._kept) > 1:
                self.nbytes -= self._kept.popitem(last=False)[1][0]


class SealedPart:
    """What a query finds in sealed blocks: found first, copied when the place for it is there."""

    def __init__(self, decoded: Decoded, blocks: Sequence[Block], ids: I32, span_ms: tuple[int, int]) -> None:
        self._decoded = decoded
        self._ids = ids
        self._span_ms = span_ms
        self._blocks = [b for b in blocks if b.file.info.cut_ms > span_ms[0] <= span_ms[1]]
        self._blocks = [b for b in self._blocks if b.file.info.start_ms <= span_ms[1]]
        self._pieces: list[_Piece] = []
        self.counts = np.zeros(len(ids), np.int64)
        self._shared = np.ones(len(ids), np.bool_)
        self._placed: dict[int, list[tuple[int, I64, I64]]] = {}

    def find(self, most: int) -> bool:
        """Fill ``counts``; False where there are more samples than ``most``."""
        total = 0
        for block in self._blocks:
            for number, rows, series in self._places(block):
                g = self._decoded.group(block, number)
                low, count = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
                total += _find(
                    g.offsets, g.time_start, g.time_ms, series, rows, *self._span_ms, low, count, self._shared
                )
                self.counts[rows] += count
                self._pieces.append(_Piece(g, rows, series, low, count))
                if total > most:
                    return False
        return True

    def copy(self, cursor: I64, value: F64) -> bool:
        """Write the values of each series from its ``cursor`` on. Whether stale markers may be among them."""
        for p in self._pieces:
            _copy(p.group.offsets, p.group.value, p.series, p.low, p.count, p.rows, cursor, value)
        return any(p.group.stale for p in self._pieces)

    def times(self, offsets: I64, counts: I64, after: Times) -> Times:
        """The times of the samples of each series, of which the last ``counts`` have the times ``after``."""
        if not self._pieces:
            return after
        fresh = ~self._shared
        fresh[:1] = True
        for column in (self.counts, counts, after.start):
            fresh[1:] |= column[1:] != column[:-1]
        rows = np.flatnonzero(fresh)
        own = offsets_of(np.diff(offsets)[rows])
        ms, cursor = np.empty(own[-1], np.int64), np.full(len(fresh), NOWHERE, np.int64)
        cursor[rows] = own[:-1]
        for p in self._pieces:
            _copy(p.group.time_start, p.group.time_ms, p.series, p.low, p.count, p.rows, cursor, ms)
        _copy(after.start, after.ms, rows, np.zeros_like(rows), counts[rows], rows, cursor, ms)
        return Times(own[:-1][np.cumsum(fresh) - 1], ms)

    def _places(self, block: Block) -> Sequence[tuple[int, I64, I64]]:
        """As ``_by_group``; many blocks have the same series in the same places."""
        known = self._placed.get(id(block.place))
        if known is None:
            known = self._placed[id(block.place)] = list(_by_group(block.rows(self._ids)))
        return known

    def items(self, kind: str) -> dict[int, list[tuple[int, bytes]]]:
        """``histograms`` or ``exemplars`` in the range, in the order of time, by the place of the series."""
        found: dict[int, list[tuple[int, bytes]]] = {}
        for block in self._blocks:
            if not getattr(block.file.info, kind):
                continue
            for number, rows, series in self._places(block):
                place = dict(zip(series.tolist(), rows.tolist(), strict=True))
                for one, time, content in self._decoded.items(block, number, kind):
                    if one in place and self._span_ms[0] <= time <= self._span_ms[1]:
                        found.setdefault(place[one], []).append((time, content))
        return found


def _by_group(rows: I32) -> Iterator[tuple[int, I64, I64]]:
    """``(group, places of the wanted series in it, their places in the group)``."""
    present = np.flatnonzero(rows >= 0)
    if not len(present):
        return
    groups = rows[present] // GROUP_SERIES
    order = np.argsort(groups, kind="stable")
    present, groups = present[order], groups[order]
    ends = np.flatnonzero(np.diff(groups)) + 1
    for part in np.split(np.arange(len(groups)), ends):
        chosen = present[part]
        yield int(groups[part[0]]), chosen, (rows[chosen] % GROUP_SERIES).astype(np.int64)
