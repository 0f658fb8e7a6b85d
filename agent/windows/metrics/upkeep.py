"""What a metric window holds, and what keeps it small: sealing, thinning, letting go of what is no longer kept.

Two locks. ``_lock`` guards what records change and the view that queries take; nothing is written to the disk
under it. ``_sealing`` is held by whoever writes blocks or moves the ids of series, one at a time.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from agent.telemetry.frames import I32, I64
from agent.telemetry.metric_policy import MetricPolicy
from agent.windows.metrics.attaching import attach
from agent.windows.metrics.blocks import BlockFile, BlockInfo, block_files, write_block
from agent.windows.metrics.cuts import cut_before, parts_of_block
from agent.windows.metrics.head import FREE_STEP
from agent.windows.metrics.index import LabelIndex
from agent.windows.metrics.recent import Recent
from agent.windows.metrics.retention import Retention
from agent.windows.metrics.sealed import GONE, Block, Decoded, make_block
from agent.windows.metrics.sealing import Source, group_rows, series_between
from agent.windows.metrics.thinning import thinned

FOREVER_MS = (int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max))
# Series that are gone are forgotten when so many, and this part of all, are.
FORGET_SERIES, FORGET_PART = 1000, 0.2
EVICT_STEPS = 16  # in the event time of a block


@dataclass(frozen=True, slots=True)
class MetricLimits:
    """``max_query_samples`` and ``max_query_series`` bound what one ``select`` gathers; ``decoded_bytes`` what
    is kept of decoded blocks. Blocks end at multiples of ``block_ms`` of event time, or of a part of it where many
    samples come (``agent.windows.metrics.cuts``), once that has come ``out_of_order_ms`` further.
    ``retention_ms`` is that of series that no rule names. A series is forgotten when it has brought nothing for its
    retention and for ``idle_ms``: whoever defines series now and then has said so again by then."""

    max_series: int = 1_000_000
    max_query_samples: int = 50_000_000
    max_query_series: int = 1_000_000
    decoded_bytes: int = 128 << 20
    block_ms: int = 15 * 60_000
    out_of_order_ms: int = 10 * 60_000
    retention_ms: int = 15 * 86_400_000
    idle_ms: int = 3 * 3_600_000


@dataclass(frozen=True, slots=True)
class View:
    """What a query works on, taken at one moment."""

    index: LabelIndex
    blocks: tuple[Block, ...]
    cut_ms: int  # the head counts from here
    version: int


class Upkeep:
    """The state of a window, as ``MetricWindow`` extends it."""

    def __init__(self, limits: MetricLimits) -> None:
        self._limits = limits
        self._recent = Recent(limits.max_series, Retention(MetricPolicy(), limits.retention_ms))
        self._view = View(self._recent.index, (), FOREVER_MS[0], 0)
        self._decoded = Decoded(limits.decoded_bytes)
        self._lock, self._sealing = threading.Lock(), threading.Lock()
        self._position = self._sealed_position = -1
        self._watermark_ms: int | None = None
        self._let_go_at = self._thinned_at = (-1, 0)  # version of the policy, step of the watermark
        self._parts_at = (-1, 1)  # step of the watermark, into how many parts blocks were divided then
        self.epoch = 0

    def __len__(self) -> int:
        """The number of series."""
        return len(self._recent.head)

    def use(self, policy: MetricPolicy) -> None:
        """From now on, take in and show the samples that a policy keeps. Where there are many series it takes a
        while, and holds nobody up."""
        while True:
            index = self._view.index
            retention = Retention(policy, self._limits.retention_ms)
            retention.learn(index)
            with self._lock:
                if index is self._recent.index:
                    retention.learn(index)
                    self._recent.retention = retention
                    return

    def open(self, folder: Path) -> None:
        """Take in the blocks of a folder; before the log is applied. Raises ``CorruptLog`` for a file that is
        no block."""
        files = sorted(map(BlockFile, block_files(folder)), key=lambda file: file.info.cut_ms)
        with self._sealing, self._lock:
            blocks = attach(self._recent, files)
            self._sealed_position = max((file.info.position for file in files), default=-1)
            cut_ms = max((file.info.cut_ms for file in files), default=FOREVER_MS[0])
            self._recent.head.accept_from_ms = cut_ms
            newest = max((file.info.max_time_ms for file in files), default=None)
            self._recent.max_time_ms = newest
            self._watermark_ms = cut_ms if files else None  # it was that far at least
            self._show(blocks=tuple(blocks), cut_ms=cut_ms)

    def seal_due(self, watermark_ms: int) -> int | None:
        """Up to where ``seal`` should be asked to, when event time has come so far; None where nothing is
        due. Cuts are multiples of ``block_ms``, or of a part of it where many samples come."""
        block_ms = self._limits.block_ms
        step = watermark_ms // (block_ms // EVICT_STEPS)
        if step != self._parts_at[0]:
            self._parts_at = step, self._parts(watermark_ms)
        cut_ms = cut_before(watermark_ms - self._limits.out_of_order_ms, block_ms, self._parts_at[1])
        return cut_ms if cut_ms > self._view.cut_ms and len(self) else None

    def seal(self, cut_ms: int, folder: Path) -> BlockInfo | None:
        """Write the samples before ``cut_ms`` to a block and let go of them; None where there are none. May
        run in a thread of its own while records are appended. From its start on, samples before the cut are
        refused. Raises OSError when the disk refuses: nothing is lost then, and it may be tried again."""
        with self._sealing:
            with self._lock:
                if cut_ms <= self._view.cut_ms:
                    return None
                recent, position = self._recent, self._position
                recent.head.accept_from_ms = max(cut_ms, recent.head.accept_from_ms)
            source = Source(self._lock, recent.head, recent.index, recent.histograms, recent.exemplars)
            span_ms = self._view.cut_ms, cut_ms - 1
            ids = series_between(source, span_ms)
            floor_ms = self._floors(self._view, ids, cut_ms - 1)
            if floor_ms is not None:  # what is not kept any more is not written
                ids = ids[floor_ms < cut_ms]
            path = write_block(folder, cut_ms, position, group_rows(source, ids, span_ms))
            fresh: tuple[Block, ...] = ()
            if path:
                like = self._view.blocks[-1] if self._view.blocks else None
                fresh = (make_block(BlockFile(path), ids, like),)
            with self._lock:
                self._show(blocks=(*self._view.blocks, *fresh), cut_ms=cut_ms)
                recent.positions.drop_before(cut_ms)
            self._let_go(cut_ms)
            return fresh[0].file.info if fresh else None

    def thin_due(self) -> bool:
        """Whether ``thin`` may have something to do: once in the event time of a block, and for every policy."""
        return bool(self._recent.retention and self._view.blocks) and self._mark(1) != self._thinned_at

    def thin(self) -> int:
        """Write the blocks anew, or take them away, that hold series whose samples there are no longer kept;
        returns how many. As for ``seal``, and lets that go first; on disk is the old block or the thinner one at
        every moment."""
        with self._sealing:
            with self._lock:
                mark, retention = self._mark(1), self._recent.retention
                retention.learn(self._recent.index)
                watermark_ms = self._watermark_ms
            if watermark_ms is None:
                return 0
            changed, like = 0, None
            for block in self._view.blocks:
                waits = changed and self.seal_due(watermark_ms) is not None
                if waits or self._recent.retention is not retention:
                    return changed  # the rest is still due
                expired = retention.expired(block.ids, watermark_ms - block.file.info.max_time_ms)
                left: Block | None = block
                if expired.any():
                    left = thinned(block, ~expired, like)
                    self._replace(block, left)
                    changed += 1
                like = left or like
            self._thinned_at = mark
            return changed

    def advance(self, watermark_ms: int) -> int:
        """Event time has come so far: let go of whole blocks with their files, samples of the head, and
        series that have had nothing since; returns the number of blocks. Cheap to call often: but for blocks,
        something is done a few times in the event time of a block. While a seal runs only blocks go."""
        with self._lock:
            if self._watermark_ms is None or watermark_ms > self._watermark_ms:
                self._watermark_ms = watermark_ms
            horizon_ms = self._watermark_ms - self._recent.retention.longest_ms
            blocks = self._view.blocks  # the oldest first
            gone = list(takewhile(lambda block: block.file.info.cut_ms <= horizon_ms, blocks))
            if gone:
                self._show(blocks=blocks[len(gone) :], cut_ms=self._view.cut_ms)
        for block in gone:
            self._decoded.forget(block)
            block.file.path.unlink(missing_ok=True)
        mark = self._mark(EVICT_STEPS)
        if mark != self._let_go_at and self._sealing.acquire(blocking=False):
            try:
                self._let_go_at = mark
                self._evict_recent(horizon_ms)
                self._free_expired()
                self._forget()
            finally:
                self._sealing.release()
        return len(gone)

    def _parts(self, watermark_ms: int) -> int:
        """Into how many parts blocks are divided, as often as the series of the head have brought samples since the
        last cut."""
        with self._lock:
            recent = self._recent
            if recent.min_time_ms is None:
                return 1
            since_ms = max(self._view.cut_ms, recent.min_time_ms)
            if since_ms >= watermark_ms - self._limits.out_of_order_ms:
                return 1  # nothing to write yet, and not long enough to tell
            series = max(1, recent.head.alive(since_ms))
            blocks = (watermark_ms - since_ms) / self._limits.block_ms
            return parts_of_block(recent.head.samples / series / blocks, series)

    def _mark(self, steps: int) -> tuple[int, int]:
        """Another one for another policy, and so many times in the event time of a block."""
        watermark_ms = self._watermark_ms or 0
        return self._recent.retention.policy.version, watermark_ms // (self._limits.block_ms // steps)

    def _replace(self, old: Block, new: Block | None) -> None:
        """Show another block in the place of one, whose file it has taken; none where that is gone."""
        with self._lock:
            there = any(block is old for block in self._view.blocks)
            blocks = (new if block is old else block for block in self._view.blocks)
            self._show(blocks=tuple(block for block in blocks if block), cut_ms=self._view.cut_ms)
        self._decoded.forget(old)
        if not there:  # it was let go of while it was written anew
            old.file.path.unlink(missing_ok=True)

    def _evict_recent(self, time_ms: int) -> None:
        with self._lock:
            if time_ms <= self._view.cut_ms:
                return
            self._recent.head.accept_from_ms = max(time_ms, self._recent.head.accept_from_ms)
            self._show(blocks=self._view.blocks, cut_ms=time_ms)
            self._recent.positions.drop_before(time_ms)
        self._let_go(time_ms)

    def _free_expired(self) -> None:
        """Free what no query shows any more of series that are kept shorter than the rest."""
        recent = self._recent
        if not self._hides(self._view.cut_ms):
            return
        for first in range(0, len(recent.head), FREE_STEP):
            with self._lock:
                behind = min(first + FREE_STEP, len(recent.head))
                recent.head.free_below(self._all_floors(first, behind), first, self._view.cut_ms)
        with self._lock:
            floor_ms = self._all_floors(0, len(recent.head))
            recent.histograms.drop_before(floor_ms)
            recent.exemplars.drop_before(floor_ms)

    def _forget(self) -> None:
        """Forget the series that are gone, where they are many; ids change."""
        with self._lock:
            idle_ms = (self._recent.max_time_ms or 0) - self._limits.idle_ms
            kept = self._recent.outlived(np.minimum(self._all_floors(0, len(self)), idle_ms))
            gone = len(self) - len(kept)
            if gone < max(FORGET_SERIES, FORGET_PART * len(self)):
                return
            moved = np.full(len(self), GONE, np.int32)
            moved[kept] = np.arange(len(kept), dtype=np.int32)
            self._recent.keep(kept)
            blocks: list[Block] = []
            for block in self._view.blocks:
                ids = np.where(block.ids >= 0, moved[block.ids], block.ids)
                blocks.append(make_block(block.file, ids, blocks[-1] if blocks else None))
            self.epoch += 1
            self._show(blocks=tuple(blocks), cut_ms=self._view.cut_ms)

    def _all_floors(self, first: int, behind: int) -> I64:
        """Of the series from an id to an id. To be called under the lock, after the first ``advance``."""
        self._recent.retention.learn(self._recent.index)
        ids = np.arange(first, behind, dtype=np.int32)
        return self._recent.retention.floors(ids, self._watermark_ms or 0)

    def _hides(self, start_ms: int) -> bool:
        """Whether some series may have samples from ``start_ms`` on that are not kept any more."""
        retention, watermark_ms = self._recent.retention, self._watermark_ms
        return (
            bool(retention) and watermark_ms is not None and start_ms < watermark_ms - retention.shortest_ms
        )

    def _floors(self, view: View, ids: I32, start_ms: int) -> I64 | None:
        """The oldest time of which each series shows samples; None where that is before ``start_ms`` for all,
        and where the view is no longer the window's."""
        if not len(ids) or not self._hides(start_ms):
            return None
        with self._lock:
            if view.index is not self._recent.index:
                return None
            retention = self._recent.retention
            retention.learn(view.index)
            floor_ms = retention.floors(ids, self._watermark_ms or 0)
        return floor_ms if floor_ms.max() > start_ms else None

    def _let_go(self, cut_ms: int) -> None:
        """Free what is older, a part at a time; nobody sees it any more."""
        recent = self._recent
        for first in range(0, len(recent.head), FREE_STEP):
            with self._lock:
                recent.head.free_before(cut_ms, first, min(first + FREE_STEP, len(recent.head)))
        with self._lock:
            recent.histograms.drop_before(cut_ms)
            recent.exemplars.drop_before(cut_ms)

    def _show(self, blocks: tuple[Block, ...], cut_ms: int) -> None:
        self._view = View(self._recent.index, blocks, cut_ms, self._view.version + 1)
