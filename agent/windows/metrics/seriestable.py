"""From the 64-bit hash of a series to its dense id, a record at a time.

Open addressing with linear probing, as in ``agent.windows.hashindex``; key and id lie side by side, so that
a look-up touches one cache line, and lines of later keys are asked for ahead: with a million series every
look-up misses the cache, and the misses then overlap.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.telemetry.frames import I32, I64, U64
from agent.windows.metrics.prefetch import prefetch

AHEAD = 12
FIRST_SLOTS = 1024


@njit(cache=True, nogil=True)
def _home(key, mask):  # type: ignore[no-untyped-def]
    return (key ^ (key >> np.uint64(32))) & mask


@njit(cache=True, nogil=True)
def _find(keys, slots, out):  # type: ignore[no-untyped-def]
    """``slots`` has shape (slots, 2): key, id + 1; id 0 is an empty slot."""
    mask = np.uint64(len(slots) - 1)
    one = np.uint64(1)
    for row in range(len(keys)):
        if row + AHEAD < len(keys):
            prefetch(slots, _home(keys[row + AHEAD], mask) * np.uint64(2))
        key = keys[row]
        slot = _home(key, mask)
        while slots[slot, 1] != 0 and slots[slot, 0] != key:
            slot = (slot + one) & mask
        out[row] = np.int64(slots[slot, 1]) - 1


@njit(cache=True, nogil=True)
def _insert(keys, slots, first_id):  # type: ignore[no-untyped-def]
    """Keys that are not in the table, all different, get ids from ``first_id`` on."""
    mask = np.uint64(len(slots) - 1)
    one = np.uint64(1)
    for row in range(len(keys)):
        slot = _home(keys[row], mask)
        while slots[slot, 1] != 0:
            slot = (slot + one) & mask
        slots[slot, 0] = keys[row]
        slots[slot, 1] = np.uint64(first_id + row + 1)


class SeriesTable:
    """Ids 0, 1, 2, ... in the order in which keys are added."""

    def __init__(self) -> None:
        self._slots = np.zeros((FIRST_SLOTS, 2), np.uint64)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def nbytes(self) -> int:
        return self._slots.nbytes

    def find(self, keys: U64) -> I32:
        """The id of each key, -1 where it has none."""
        out = np.empty(len(keys), np.int32)
        _find(keys, self._slots, out)
        return out

    def add(self, keys: U64) -> I64:
        """Give ids to keys, all different and none of them known; returns the ids."""
        self._grow(self._used + len(keys))
        _insert(keys, self._slots, self._used)
        ids = np.arange(self._used, self._used + len(keys))
        self._used += len(keys)
        return ids

    def keys(self) -> U64:
        """The key of every id."""
        held = self._slots[self._slots[:, 1] != 0]
        keys = np.empty(self._used, np.uint64)
        keys[held[:, 1].astype(np.int64) - 1] = held[:, 0]
        return keys

    def _grow(self, wanted: int) -> None:
        if wanted * 2 <= len(self._slots):
            return
        keys = self.keys()
        self._slots = np.zeros((1 << (wanted * 3 - 1).bit_length(), 2), np.uint64)
        _insert(keys, self._slots, 0)
