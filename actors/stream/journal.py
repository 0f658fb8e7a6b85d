"""What a stream keeps for the detectors: its latest increments, bounded by bytes, read by cursor and in pages.

Order: as drained. Loss: a reader that stays away while more than ``max_bytes`` come misses the oldest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import fields

import numpy as np

from actors.stream.core import Increment

JOURNAL_BYTES = 32 << 20
PAGE_BYTES = 8 << 20
TABLE_ENTRY_BYTES = 400  # a key or a series with its strings, about


class Journal:
    def __init__(self, max_bytes: int = JOURNAL_BYTES) -> None:
        self._max_bytes = max_bytes
        self._entries: deque[tuple[int, int, Increment]] = deque()
        self.nbytes = 0
        self.cursor = 0

    def add(self, increments: Iterable[Increment]) -> None:
        for increment in increments:
            self.cursor += 1
            size = increment_bytes(increment)
            self._entries.append((self.cursor, size, increment))
            self.nbytes += size
        while self.nbytes > self._max_bytes and len(self._entries) > 1:
            self.nbytes -= self._entries.popleft()[1]

    def after(self, cursor: int, max_bytes: int = PAGE_BYTES) -> tuple[int, tuple[Increment, ...]]:
        """The increments behind ``cursor``, at most ``max_bytes`` of them but one at least, and the cursor of
        the last one returned."""
        items: list[Increment] = []
        size = 0
        for at, nbytes, increment in self._entries:
            if at <= cursor:
                continue
            size += nbytes
            if items and size > max_bytes:
                return at - 1, tuple(items)
            items.append(increment)
        return self.cursor, tuple(items)


def increment_bytes(increment: Increment) -> int:
    """What an increment weighs, about."""
    parts = increment.red, increment.metrics, increment.mesh
    columns = [getattr(part, f.name) for part in parts for f in fields(part)]
    tables = len(increment.red.keys) + len(increment.metrics.series) + len(increment.mesh.keys)
    return TABLE_ENTRY_BYTES * (1 + tables) + sum(c.nbytes for c in columns if isinstance(c, np.ndarray))
