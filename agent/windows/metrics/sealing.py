"""What a seal writes: the samples of the head in a stretch of time, group by group.

The lock of the head is held while the samples of one group are copied, and let go while they are
compressed and written, so that appends wait for milliseconds at most.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agent.promql.values import Times
from agent.telemetry.frames import F64, I32, I64, U8
from agent.telemetry.labels import METRIC_NAME
from agent.windows.metrics.answers import offsets_of
from agent.windows.metrics.blockcodec import encode_times, encode_values, pack
from agent.windows.metrics.blocks import GROUP_SERIES, GroupRow, Item, content_of
from agent.windows.metrics.head import Head, Room
from agent.windows.metrics.index import LabelIndex
from agent.windows.metrics.lists import TimedLists

SCAN_STEP = 1 << 14  # series looked at under one lock


@dataclass(frozen=True, slots=True)
class Source:
    """What is sealed. ``lock`` guards the head and the lists, whose ids the index has."""

    lock: threading.Lock
    head: Head
    index: LabelIndex
    histograms: TimedLists
    exemplars: TimedLists


@dataclass(frozen=True, slots=True)
class Gathered:
    """Series that become a group: their canonical label sets, and one behind the other ``counts[i]`` values
    of each; ``times`` are those of these samples alone."""

    sizes: I64
    raw: U8
    counts: I64
    times: Times
    value: F64
    histograms: list[Item]
    exemplars: list[Item]

    def row(self) -> GroupRow:
        ms = self.times.ms
        times = [int(ms.min()), int(ms.max())] if len(ms) else []
        times += [time for _, time, _ in (*self.histograms, *self.exemplars)]
        return GroupRow(
            series=len(self.sizes),
            labels=pack([self.sizes.astype(np.int32).tobytes(), self.raw.tobytes()]),
            samples=len(self.value),
            times_ms=(min(times), max(times)),
            times=encode_times(self.counts, self.times),
            values=encode_values(offsets_of(self.counts), self.value),
            histograms=content_of(self.histograms),
            exemplars=content_of(self.exemplars),
        )


def series_between(source: Source, span_ms: tuple[int, int]) -> I32:
    """The series with anything in the inclusive range, in the order of a block: by metric name."""
    found: list[I32] = []
    for first in range(0, len(source.head), SCAN_STEP):
        ids = np.arange(first, min(first + SCAN_STEP, len(source.head)), dtype=np.int32)
        with source.lock:
            found.append(ids[source.head.has_between(ids, *span_ms)])
    with source.lock:
        others = [
            series
            for lists in (source.histograms, source.exemplars)
            for series in lists.series()
            if lists.between(series, *span_ms)
        ]
    ids = np.concatenate([*found, np.asarray(others, np.int32)])
    if others:
        ids = np.unique(ids)
    return ids[np.argsort(source.index.codes(METRIC_NAME, ids), kind="stable")]


def group_rows(source: Source, ids: I32, span_ms: tuple[int, int]) -> Iterator[GroupRow]:
    """The groups of a block of these series."""
    room = Room()
    for first in range(0, len(ids), GROUP_SERIES):
        some = ids[first : first + GROUP_SERIES]
        gathered = _gathered(source, some, span_ms, room)
        while gathered is None:
            room.double()
            gathered = _gathered(source, some, span_ms, room)
        yield gathered.row()


def _gathered(source: Source, ids: I32, span_ms: tuple[int, int], room: Room) -> Gathered | None:
    """None where the room is too small, which is made larger without the lock."""
    with source.lock:
        taken = source.head.take(ids, span_ms, room)
        if taken is None:
            return None
        histograms = _items(source.histograms, ids, span_ms)
        exemplars = _items(source.exemplars, ids, span_ms)
    sizes, raw = source.index.canonical(ids)
    return Gathered(sizes, raw, *taken, histograms, exemplars)


def _items(lists: TimedLists, ids: I32, span_ms: tuple[int, int]) -> list[Item]:
    if not lists.count:
        return []
    return [
        (place, time, content)
        for place, series in enumerate(ids.tolist())
        for time, content in lists.between(series, *span_ms)
    ]
