"""From 64-bit hashes to small dense codes, a column at a time.

Open addressing with linear probing in NumPy arrays (Knuth, The Art of Computer Programming 3, 6.4, algorithm L);
the compiled loop touches no Python object. Keys are hashes already, so their low bits are the slot.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.telemetry.frames import I32, I64, U64, Bool

EMPTY = np.int32(-1)


@njit(cache=True, nogil=True)
def _codes(
    keys: U64, slots: U64, values: I32, used: int, limit: int, out: I32, new_rows: I64
) -> tuple[int, int]:
    mask = np.uint64(len(slots) - 1)
    fresh = 0
    for row in range(len(keys)):
        key = keys[row]
        slot = (key ^ (key >> np.uint64(32))) & mask
        while values[slot] != -1 and slots[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        if values[slot] == -1:
            if used >= limit:
                out[row] = -1
                continue
            slots[slot] = key
            values[slot] = used
            new_rows[fresh] = row
            fresh += 1
            used += 1
        out[row] = values[slot]
    return used, fresh


@njit(cache=True, nogil=True)
def _holds(keys: U64, slots: U64, values: I32, out: Bool) -> None:
    mask = np.uint64(len(slots) - 1)
    for row in range(len(keys)):
        key = keys[row]
        slot = (key ^ (key >> np.uint64(32))) & mask
        while values[slot] != -1 and slots[slot] != key:
            slot = (slot + np.uint64(1)) & mask
        out[row] = values[slot] != -1


class HashIndex:
    """Codes 0, 1, 2, ... in the order in which keys first appear, at most ``limit`` of them."""

    def __init__(self, limit: int, capacity: int = 1024) -> None:
        self._limit = limit
        self._slots = np.zeros(capacity, np.uint64)
        self._values = np.full(capacity, EMPTY)
        self._used = 0

    def __len__(self) -> int:
        return self._used

    @property
    def nbytes(self) -> int:
        return self._slots.nbytes + self._values.nbytes

    def codes(self, keys: U64) -> tuple[I32, I64]:
        """The code of each key, -1 where the limit leaves no room for a new one, and the rows that
        brought a new key, in the order of their codes."""
        self._grow(min(self._used + len(keys), self._limit))
        out = np.empty(len(keys), np.int32)
        new_rows = np.empty(len(keys), np.int64)
        self._used, fresh = _codes(keys, self._slots, self._values, self._used, self._limit, out, new_rows)
        return out, new_rows[:fresh]

    def holds(self, keys: U64) -> Bool:
        """Which of the keys have a code."""
        out = np.empty(len(keys), np.bool_)
        _holds(keys, self._slots, self._values, out)
        return out

    def _grow(self, wanted: int) -> None:
        if wanted * 2 <= len(self._slots):
            return
        held = self._values != EMPTY
        keys = np.empty(self._used, np.uint64)
        keys[self._values[held]] = self._slots[held]
        capacity = 1 << (wanted * 3 - 1).bit_length()
        self._slots = np.zeros(capacity, np.uint64)
        self._values = np.full(capacity, EMPTY)
        _codes(
            keys,
            self._slots,
            self._values,
            0,
            self._limit,
            np.empty(len(keys), np.int32),
            np.empty(len(keys), np.int64),
        )


class SeenSet:
    """Which keys were seen lately: a key is remembered until ``generation`` more have come, and forgotten
    before twice as many have. Fixed memory."""

    def __init__(self, generation: int = 1 << 20) -> None:
        self._generation = generation
        self._young = HashIndex(generation)
        self._old = HashIndex(generation)

    @property
    def nbytes(self) -> int:
        return self._young.nbytes + self._old.nbytes

    def fresh(self, keys: U64) -> Bool:
        """Which of the keys are new, the first of several equal ones among them; all are remembered."""
        if len(self._young) + len(keys) > self._generation:
            self._old, self._young = self._young, HashIndex(max(self._generation, len(keys)))
        mask = np.zeros(len(keys), np.bool_)
        mask[self._young.codes(keys)[1]] = True
        if len(self._old):
            mask &= ~self._old.holds(keys)
        return mask
