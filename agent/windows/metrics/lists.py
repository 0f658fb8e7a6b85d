"""What is rare beside float samples: native histograms and exemplars, as lists a series."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from agent.telemetry.frames import I32, I64

ITEM_BYTES = 120  # of one item beside its content, about


@dataclass(slots=True)
class _Items:
    time_ms: list[int] = field(default_factory=list)
    content: list[bytes] = field(default_factory=list)


class TimedLists:
    """Bytes by series id and time; of two at one time the first stays. ``most`` bounds the items of one
    series: the oldest go. Not thread-safe."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._series: dict[int, _Items] = {}
        self.count = 0
        self._content_bytes = 0

    @property
    def nbytes(self) -> int:
        return self._content_bytes + ITEM_BYTES * self.count

    def add(self, series: int, time_ms: int, content: bytes) -> bool:
        """Whether it was new."""
        items = self._series.setdefault(series, _Items())
        at = bisect_left(items.time_ms, time_ms)
        if at < len(items.time_ms) and items.time_ms[at] == time_ms:
            return False
        items.time_ms.insert(at, time_ms)
        items.content.insert(at, content)
        self.count += 1
        self._content_bytes += len(content)
        if self._most is not None and len(items.time_ms) > self._most:
            self._drop(items, 1)
        return True

    def between(self, series: int, start_ms: int, end_ms: int) -> list[tuple[int, bytes]]:
        """The items in ``[start_ms, end_ms]``, in the order of time."""
        items = self._series.get(series)
        if items is None:
            return []
        low, high = bisect_left(items.time_ms, start_ms), bisect_right(items.time_ms, end_ms)
        return list(zip(items.time_ms[low:high], items.content[low:high], strict=True))

    def among(self, ids: I32, start_ms: int, end_ms: int) -> dict[int, list[tuple[int, bytes]]]:
        """The items in ``[start_ms, end_ms]`` of some series (ascending), by their places in ``ids``."""
        if not self._series:
            return {}
        wanted = np.asarray(sorted(self._series), np.int32)
        rows = np.flatnonzero(np.isin(ids, wanted, assume_unique=True)).tolist()
        found = {row: self.between(int(ids[row]), start_ms, end_ms) for row in rows}
        return {row: items for row, items in found.items() if items}

    def series(self) -> list[int]:
        """The ids that have items."""
        return list(self._series)

    def drop_before(self, time_ms: int | I64) -> None:
        """Let go of what is older than one time, or than one for each series by its id."""
        for series in list(self._series):
            items = self._series[series]
            oldest = time_ms if isinstance(time_ms, int) else int(time_ms[series])
            self._drop(items, bisect_left(items.time_ms, oldest))
            if not items.time_ms:
                del self._series[series]

    def move(self, places: Iterable[tuple[int, int]]) -> None:
        """Give series other ids, ``(old, new)``; those not named go."""
        kept = {new: self._series[old] for old, new in places if old in self._series}
        self._series = kept
        self.count = sum(len(items.time_ms) for items in kept.values())
        self._content_bytes = sum(len(c) for items in kept.values() for c in items.content)

    def _drop(self, items: _Items, count: int) -> None:
        self.count -= count
        self._content_bytes -= sum(map(len, items.content[:count]))
        del items.time_ms[:count], items.content[:count]
