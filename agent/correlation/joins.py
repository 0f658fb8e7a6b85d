"""Joins spans to their parents, whatever comes first, within a bounded memory.

Two hash tables of span keys take turns: new spans go into the young one, look-ups see both, and when the
young one is full or old the other is dropped. So a child finds its parent (or the parent its waiting
children) if they are at most one turn apart, and nothing is ever moved or sorted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from agent.telemetry.frames import I32, I64, U8, U64, Bool

_EMPTY = np.uint64(0)
PAIR_COLUMNS = 6
"""Columns of a joined pair: parent's node, child's node, duration ns, child's end ns, failed, parent's system."""


class Generation:
    """One table. ``node`` is -1 while only children have asked for the span; ``head`` is its first waiting
    child, in the ``child_*`` columns, chained by ``child_next``."""

    def __init__(self, spans: int) -> None:
        slots = 1 << (2 * spans - 1).bit_length()
        self.spans = spans
        self.key: U64 = np.zeros(slots, np.uint64)
        self.node: I32 = np.full(slots, -1, np.int32)
        self.system: U8 = np.zeros(slots, np.uint8)
        self.head: I32 = np.full(slots, -1, np.int32)
        self.child: I64 = np.zeros((spans, 5), np.int64)  # node, duration, end, failed, next
        self.used = np.zeros(2, np.int64)  # keys, children
        self.born_ns = 0

    @property
    def room(self) -> int:
        return self.spans - int(self.used.max())


@njit(cache=True, nogil=True)
def span_key(trace_lo: np.uint64, span_id: np.uint64) -> np.uint64:
    """A key that is never 0: span ids are unique in their trace only."""
    x = (trace_lo * np.uint64(0x9E3779B97F4A7C15)) ^ span_id
    x = (x ^ (x >> np.uint64(31))) * np.uint64(0xBF58476D1CE4E5B9)
    return x | np.uint64(1)


@njit(cache=True, nogil=True)
def sampled(trace_lo: U64, threshold: np.uint64) -> Bool:
    """Which spans belong to a sampled trace: all of a trace or none, in every stream alike."""
    out = np.empty(len(trace_lo), np.bool_)
    for i in range(len(trace_lo)):
        x = trace_lo[i] * np.uint64(0xD6E8FEB86659FD93)
        out[i] = ((x ^ (x >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)) <= threshold
    return out


@njit(cache=True, nogil=True)
def _slot(keys: U64, key: np.uint64) -> int:
    mask = np.int64(len(keys) - 1)
    at = np.int64(key >> np.uint64(7)) & mask  # int() would stay unsigned, and unsigned + 1 is a float
    while keys[at] != _EMPTY and keys[at] != key:
        at = (at + 1) & mask
    return int(at)


@njit(cache=True, nogil=True)
def join(
    rows: I64, trace_lo: U64, span_id: U64, parent_id: U64, start_ns: I64, end_ns: I64, failed: Bool, system: U8,
    node: I32, key: U64, key_node: I32, key_system: U8, head: I32, child: I64, used: I64,
    old_key: U64, old_node: I32, old_system: U8, old_head: I32, old_child: I64, pairs: npt.NDArray[np.int64],
) -> int:  # fmt: skip
    """Takes in the spans ``rows``; fills ``pairs`` with those that found each other, returns how many.
    The caller has made sure that the young table has room for all of them."""
    found = 0
    for i in rows:
        own = span_key(trace_lo[i], span_id[i])
        at = _slot(key, own)
        known = key[at] == own and key_node[at] >= 0
        before = _slot(old_key, own)
        old_asked = old_key[before] == own
        if known or (old_asked and old_node[before] >= 0):
            continue  # a span sent twice
        if key[at] != own:
            key[at] = own
            used[0] += 1
        key_node[at], key_system[at] = node[i], system[i]
        waiting = head[at]
        head[at] = -1
        while waiting >= 0 and found < len(pairs):
            _pair(pairs, found, node[i], child[waiting], system[i])
            found += 1
            waiting = int(child[waiting, 4])
        if old_asked:
            waiting = old_head[before]
            old_head[before] = -1
            while waiting >= 0 and found < len(pairs):
                _pair(pairs, found, node[i], old_child[waiting], system[i])
                found += 1
                waiting = int(old_child[waiting, 4])
        if parent_id[i] == 0:
            continue
        row = int(used[1])
        used[1] += 1
        child[row, 0], child[row, 1], child[row, 2] = node[i], max(end_ns[i] - start_ns[i], 0), end_ns[i]
        child[row, 3], child[row, 4] = failed[i], -1
        wanted = span_key(trace_lo[i], parent_id[i])
        at = _slot(key, wanted)
        before = _slot(old_key, wanted)
        if key[at] == wanted and key_node[at] >= 0:
            if found < len(pairs):
                _pair(pairs, found, key_node[at], child[row], key_system[at])
                found += 1
            used[1] -= 1
        elif old_key[before] == wanted and old_node[before] >= 0:
            if found < len(pairs):
                _pair(pairs, found, old_node[before], child[row], old_system[before])
                found += 1
            used[1] -= 1
        else:
            if key[at] != wanted:
                key[at] = wanted
                used[0] += 1
            child[row, 4] = head[at]
            head[at] = row
    return found


@njit(cache=True, nogil=True, inline="always")
def _pair(
    pairs: npt.NDArray[np.int64], at: int, parent: int, child: npt.NDArray[np.int64], system: int
) -> None:
    pairs[at, 0], pairs[at, 1], pairs[at, 2] = parent, child[0], child[1]
    pairs[at, 3], pairs[at, 4], pairs[at, 5] = child[2], child[3], system
