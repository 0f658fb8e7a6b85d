"""A block without the series whose samples in it are no longer kept.

Groups that lose nothing are copied as they are written; the others are decoded, and those that are neighbours
are put together while one group holds them, so that a block of which little is left takes little.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from agent.promql.values import Times
from agent.telemetry.frames import I32, I64, U8, Bool
from agent.windows.metrics.blockcodec import decode_group, ranges, unpack
from agent.windows.metrics.blocks import (
    GROUP_SERIES,
    GroupRow,
    Item,
    items_of,
    rewrite_block,
)
from agent.windows.metrics.sealed import Block, make_block, padded
from agent.windows.metrics.sealing import Gathered


def thinned(block: Block, keep: Bool, like: Block | None) -> Block | None:
    """The block of the same stretch of time with the series that are kept (by their rows), in the place of its
    file; None where there is none, and no file then. ``like`` as in ``make_block``. Whoever has the file open goes on
    reading the old one. Raises OSError when the disk refuses; the old file stays then."""
    parts: list[I32] = []

    def rows() -> Iterator[GroupRow]:
        for row, ids in _groups(block, keep):
            parts.append(ids)
            yield row

    info = block.file.info
    file = rewrite_block(block.file.path, info.cut_ms, info.position, rows())
    return make_block(file, padded(parts), like) if file else None


def _groups(block: Block, keep: Bool) -> Iterator[tuple[GroupRow, I32]]:
    """The groups of the thinner block, with the ids of their series."""
    waiting: list[tuple[Gathered, I32]] = []
    for number, row in enumerate(block.file.rows()):
        place = slice(number * GROUP_SERIES, number * GROUP_SERIES + row.series)
        ids, kept = block.ids[place], np.flatnonzero(keep[place])
        whole = len(kept) == row.series
        if waiting and (whole or sum(len(one) for _, one in waiting) + len(kept) > GROUP_SERIES):
            yield _joined(waiting)
            waiting = []
        if whole:
            yield row, ids
        elif len(kept):
            waiting.append((_part(row, kept), ids[kept]))
    if waiting:
        yield _joined(waiting)


def _part(row: GroupRow, kept: I64) -> Gathered:
    """Some of the series of a group."""
    sizes, raw = unpack(row.labels)
    length = np.frombuffer(sizes, np.int32).astype(np.int64)
    canonical: U8 = np.frombuffer(raw, np.uint8)
    group = decode_group(row.times, row.values)
    counts = np.diff(group.offsets)[kept]
    place = {old: new for new, old in enumerate(kept.tolist())}
    return Gathered(
        sizes=length[kept],
        raw=canonical[ranges((np.cumsum(length) - length)[kept], length[kept])],
        counts=counts,
        times=Times(np.cumsum(counts) - counts, group.time_ms[ranges(group.time_start[kept], counts)]),
        value=group.value[ranges(group.offsets[:-1][kept], counts)],
        histograms=_items(row.histograms, place),
        exemplars=_items(row.exemplars, place),
    )


def _items(content: bytes, place: dict[int, int]) -> list[Item]:
    found = items_of(content)
    return [(place[series], time, one) for series, time, one in found if series in place]


def _behind_each_other(times: list[Times]) -> Times:
    begin = np.cumsum([0, *(len(one.ms) for one in times)]).tolist()
    start = [one.start + first for one, first in zip(times, begin, strict=False)]
    return Times(np.concatenate(start), np.concatenate([one.ms for one in times]))


def _joined(parts: list[tuple[Gathered, I32]]) -> tuple[GroupRow, I32]:
    gathered = [one for one, _ in parts]
    starts = np.cumsum([0, *(len(one.sizes) for one in gathered)]).tolist()

    def items(kind: str) -> list[Item]:
        return [
            (start + series, time, content)
            for start, one in zip(starts, gathered, strict=False)
            for series, time, content in getattr(one, kind)
        ]

    whole = Gathered(
        sizes=np.concatenate([one.sizes for one in gathered]),
        raw=np.concatenate([one.raw for one in gathered]),
        counts=np.concatenate([one.counts for one in gathered]),
        times=_behind_each_other([one.times for one in gathered]),
        value=np.concatenate([one.value for one in gathered]),
        histograms=items("histograms"),
        exemplars=items("exemplars"),
    )
    return whole.row(), np.concatenate([ids for _, ids in parts])
