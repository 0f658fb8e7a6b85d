"""The metric window of one tenant in one stream: series, their recent samples, and the sealed ones.

Order and loss: records are applied in the order of the log; a sample that is there already is dropped
without a word (so that the log may be applied again), what is older than the sealed cut or beyond a limit is
counted in ``left_out`` by reason. What is sealed no longer needs the log. One thread appends; any number of
others may query, and one may seal. A query sees every sample of the records that were applied when it began.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.promql.errors import TOO_MANY_SAMPLES, QueryLimit
from agent.promql.values import Exemplars, Histograms, Matcher, Selection
from agent.telemetry.frames import F64, I32, I64
from agent.telemetry.labels import LabelTable, decode_labels
from agent.telemetry.metric_policy import MetricPolicy
from agent.telemetry.samples import SampleBatch
from agent.windows.metrics.attaching import attach
from agent.windows.metrics.blocks import BlockFile, BlockInfo, block_files, write_block
from agent.windows.metrics.head import FREE_STEP
from agent.windows.metrics.index import LabelIndex
from agent.windows.metrics.recent import Recent
from agent.windows.metrics.sealed import Block, Decoded, SealedPart, make_block
from agent.windows.metrics.sealing import Source, group_rows, series_between

FOREVER_MS = (int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max))
# Series that are gone are forgotten when so many, and this part of all, are.
FORGET_SERIES, FORGET_PART = 1000, 0.2
EVICT_STEPS = 16  # in the event time of a block

DecodeHistograms = Callable[[Sequence[bytes]], Sequence[Any]]
_Items = dict[int, list[tuple[int, bytes]]]  # by place of the series, in the order of time


@dataclass(frozen=True, slots=True)
class MetricLimits:
    """``max_query_samples`` and ``max_query_series`` bound what one ``select`` gathers; ``decoded_bytes`` what
    is kept of decoded blocks. Blocks end at multiples of ``block_ms`` of event time, once that has come
    ``out_of_order_ms`` further. A series is forgotten when it has brought nothing for the retention and for
    ``idle_ms``: whoever defines series now and then has said so again by then."""

    max_series: int = 1_000_000
    max_query_samples: int = 50_000_000
    max_query_series: int = 1_000_000
    decoded_bytes: int = 128 << 20
    block_ms: int = 30 * 60_000
    out_of_order_ms: int = 10 * 60_000
    idle_ms: int = 3 * 3_600_000


@dataclass(frozen=True, slots=True)
class Appended:
    """``series`` is the id of each series of the record, -1 where it was left out; ids stay the same until
    the window's ``epoch`` moves. ``samples`` counts those that were new, histograms among them."""

    series: I32
    samples: int


@dataclass(frozen=True, slots=True)
class _View:
    """What a query works on, taken at one moment."""

    index: LabelIndex
    blocks: tuple[Block, ...]
    cut_ms: int  # the head counts from here
    version: int


class MetricWindow:
    """``decode_histograms`` makes FloatHistograms of a series' ``Histogram`` messages, in time order."""

    def __init__(self, limits: MetricLimits, decode_histograms: DecodeHistograms) -> None:
        self._limits = limits
        self._decode_histograms = decode_histograms
        self._recent = Recent(limits.max_series)
        self._view = _View(self._recent.index, (), FOREVER_MS[0], 0)
        self._decoded = Decoded(limits.decoded_bytes)
        self._lock = threading.Lock()  # of the two above the last
        self._sealing = threading.Lock()  # held by whoever seals or forgets series
        self._position = self._sealed_position = -1
        self._evicted_ms = FOREVER_MS[0]
        self.epoch = 0

    def __len__(self) -> int:
        """The number of series."""
        return len(self._recent.head)

    @property
    def samples(self) -> int:
        """Float samples that are not sealed, and histograms."""
        return self._recent.head.samples + self._recent.histograms.count

    @property
    def blocks(self) -> list[BlockInfo]:
        return [block.file.info for block in self._view.blocks]

    @property
    def nbytes(self) -> int:
        """What lies in memory: not the blocks, but what is decoded of them."""
        tables = {id(block.ids): block.nbytes for block in self._view.blocks}
        return self._recent.nbytes + self._decoded.nbytes + sum(tables.values())

    @property
    def block_bytes(self) -> int:
        """On the disk."""
        return sum(block.file.nbytes for block in self._view.blocks)

    @property
    def low_position(self) -> int | None:
        """The lowest position of the log that this window would need after a restart."""
        return self._recent.positions.low

    @property
    def left_out(self) -> Counter[str]:
        """Samples that were not taken, by reason."""
        return self._recent.left_out

    @property
    def max_time_ms(self) -> int | None:
        """The newest time of a sample so far."""
        return self._recent.max_time_ms

    def append(self, batch: SampleBatch, position: int) -> Appended:
        """Apply the record of the log at ``position``."""
        with self._lock:
            ids, added = self._recent.append(batch, position, count_old=position > self._sealed_position)
            self._position = max(position, self._position)
        return Appended(ids, added)

    def use(self, policy: MetricPolicy) -> None:
        """From now on, take the samples that a policy keeps; what is there already stays."""
        with self._lock:
            self._recent.use(policy)

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        """The series that fit all matchers and have samples in ``[start_ms, end_ms]``, with those.

        Raises ``QueryLimit`` past a limit, ``Malformed`` for a bad regular expression."""
        found = None
        while found is None:  # again where a seal came between
            found = self._select(self._view, matchers, (start_ms, end_ms))
        return found

    def labels(self, ids: I32) -> LabelTable:
        """The label sets of series by their ids, of the present ``epoch``."""
        return self._view.index.labels(ids)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> LabelTable:
        """The label sets that fit all matchers, of series that were alive in ``[start_ms, end_ms]``."""
        index, ids = self._alive(matchers, start_ms, end_ms)
        return index.labels(ids)

    def label_names(
        self, matchers: Sequence[Matcher] = (), start_ms: int = FOREVER_MS[0], end_ms: int = FOREVER_MS[1]
    ) -> list[str]:
        """The label names of the series that fit, sorted."""
        if not matchers and (start_ms, end_ms) == FOREVER_MS:
            return self._view.index.label_names()
        index, ids = self._alive(matchers, start_ms, end_ms)
        return index.label_names(ids)

    def label_values(
        self,
        name: str,
        matchers: Sequence[Matcher] = (),
        start_ms: int = FOREVER_MS[0],
        end_ms: int = FOREVER_MS[1],
    ) -> list[str]:
        """The values of one label of the series that fit, sorted."""
        if not matchers and (start_ms, end_ms) == FOREVER_MS:
            return self._view.index.label_values(name)
        index, ids = self._alive(matchers, start_ms, end_ms)
        return index.label_values(name, ids)

    def exemplars(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Exemplars]:
        """The exemplars in ``[start_ms, end_ms]`` of the series that fit."""
        while True:
            view = self._view
            ids = view.index.select(matchers)
            items = SealedPart(self._decoded, view.blocks, ids, (start_ms, end_ms)).items("exemplars")
            with self._lock:
                if view is self._view:
                    span_ms = max(start_ms, view.cut_ms), end_ms
                    _extend(items, self._recent.exemplars.among(ids, *span_ms))
                    break
        return [
            Exemplars(dict(view.index.label_set(int(ids[row]))), [_exemplar(*one) for one in items[row]])
            for row in sorted(items)
        ]

    def metadata(self) -> dict[str, dict[str, str]]:
        """``{metric: {"type", "help", "unit"}}``, the newest of each."""
        with self._lock:
            return dict(self._recent.metadata)

    def stats(self, limit: int = 10) -> dict[str, Any]:
        """Figures for the status of the TSDB; ``cardinality`` as ``LabelIndex.cardinality`` has it."""
        head, index = self._recent.head, self._view.index
        first_ms, _ = head.lifetimes(slice(None))
        return {
            "series": len(head),
            "label_pairs": index.label_count,
            "samples": self.samples,
            "chunks": head.chunk_count,
            "out_of_order": head.inserted,
            "exemplars": self._recent.exemplars.count,
            "max_time_ms": self.max_time_ms,
            "min_time_ms": int(first_ms.min()) if self.max_time_ms is not None else None,
            "blocks": len(self._view.blocks),
            "block_bytes": self.block_bytes,
            "block_samples": sum(info.samples for info in self.blocks),
            "bytes": self.nbytes,
            "cardinality": index.cardinality(limit),
        }

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
            self._show(blocks=tuple(blocks), cut_ms=cut_ms)

    def seal_due(self, watermark_ms: int) -> int | None:
        """Up to where ``seal`` should be asked to, when event time has come so far; None where nothing is
        due. Cuts are multiples of ``block_ms``."""
        block_ms = self._limits.block_ms
        cut_ms = (watermark_ms - self._limits.out_of_order_ms) // block_ms * block_ms
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

    def evict_before(self, time_ms: int) -> int:
        """Let go of what is older: whole blocks with their files, samples of the head, and series that have
        had nothing since; returns the number of blocks. Cheap to call often: but for blocks, something is
        done a few times in the event time of a block. While a seal runs only blocks go."""
        with self._lock:
            gone = [block for block in self._view.blocks if block.file.info.cut_ms <= time_ms]
            if gone:
                left = tuple(block for block in self._view.blocks if block not in gone)
                self._show(blocks=left, cut_ms=self._view.cut_ms)
        for block in gone:
            self._decoded.forget(block)
            block.file.path.unlink(missing_ok=True)
        step_ms = self._limits.block_ms // EVICT_STEPS
        if time_ms // step_ms > self._evicted_ms // step_ms and self._sealing.acquire(blocking=False):
            try:
                self._evicted_ms = time_ms
                self._evict_recent(time_ms)
                self._forget(time_ms)
            finally:
                self._sealing.release()
        return len(gone)

    def _evict_recent(self, time_ms: int) -> None:
        with self._lock:
            if time_ms <= self._view.cut_ms:
                return
            self._recent.head.accept_from_ms = max(time_ms, self._recent.head.accept_from_ms)
            self._show(blocks=self._view.blocks, cut_ms=time_ms)
            self._recent.positions.drop_before(time_ms)
        self._let_go(time_ms)

    def _forget(self, time_ms: int) -> None:
        """Forget the series that are gone, where they are many; ids change."""
        with self._lock:
            kept = self._recent.outlived(min(time_ms, (self.max_time_ms or 0) - self._limits.idle_ms))
            gone = len(self) - len(kept)
            if gone < max(FORGET_SERIES, FORGET_PART * len(self)):
                return
            moved = np.full(len(self), -1, np.int32)
            moved[kept] = np.arange(len(kept), dtype=np.int32)
            self._recent.keep(kept)
            blocks: list[Block] = []
            for block in self._view.blocks:
                ids = np.where(block.ids >= 0, moved[block.ids], np.int32(-1))
                blocks.append(make_block(block.file, ids, blocks[-1] if blocks else None))
            self.epoch += 1
            self._show(blocks=tuple(blocks), cut_ms=self._view.cut_ms)

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
        self._view = _View(self._recent.index, blocks, cut_ms, self._view.version + 1)

    def _select(self, view: _View, matchers: Sequence[Matcher], span_ms: tuple[int, int]) -> Selection | None:
        """None where the view is no longer the window's."""
        ids = view.index.select(matchers)
        sealed = SealedPart(self._decoded, view.blocks, ids, span_ms)
        if not sealed.find(self._limits.max_query_samples):
            raise QueryLimit(TOO_MANY_SAMPLES)
        items = sealed.items("histograms")
        head_ms = max(span_ms[0], view.cut_ms), span_ms[1]
        with self._lock:
            if view is not self._view:
                return None
            head = self._recent.head.counts(ids, *head_ms)
            _extend(items, self._recent.histograms.among(ids, *head_ms))
            offsets, time_ms, value = self._room(sealed.counts + head)
            self._recent.head.copy(ids, head_ms, offsets[1:], time_ms, value)
        sealed.copy(offsets[:-1].copy(), time_ms, value)
        found = np.diff(offsets) > 0
        found[list(items)] = True
        self._check_series(int(found.sum()))
        place = np.cumsum(found) - 1
        histograms = self._decode({int(place[row]): one for row, one in items.items()}, int(found.sum()))
        kept = np.concatenate([offsets[:-1][found], offsets[-1:]])
        return Selection(view.index.labels(ids[found]), kept, time_ms, value, histograms)

    def _room(self, counts: I64) -> tuple[I64, I64, F64]:
        offsets = _offsets(counts)
        if offsets[-1] > self._limits.max_query_samples:
            raise QueryLimit(TOO_MANY_SAMPLES)
        return offsets, np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.float64)

    def _check_series(self, series: int) -> None:
        if series > self._limits.max_query_series:
            raise QueryLimit(
                f"the selector matches {series} series, more than the limit of "
                f"{self._limits.max_query_series}; add matchers"
            )

    def _alive(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> tuple[LabelIndex, I32]:
        while True:
            view = self._view
            ids = view.index.select(matchers)
            with self._lock:
                if view is self._view:
                    first, last = self._recent.head.lifetimes(ids)
                    return view.index, ids[(first <= end_ms) & (last >= start_ms)]

    def _decode(self, items: _Items, series: int) -> Histograms | None:
        if not items:
            return None
        counts = np.zeros(series, np.int64)
        counts[list(items)] = [len(one) for one in items.values()]
        offsets = _offsets(counts)
        time_ms, sample = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.object_)
        for row, one in items.items():
            rows = slice(int(offsets[row]), int(offsets[row + 1]))
            time_ms[rows] = [time for time, _ in one]
            sample[rows] = self._decode_histograms([content for _, content in one])
        return Histograms(offsets, time_ms, sample)


def _offsets(counts: I64) -> I64:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _extend(items: _Items, more: _Items) -> None:
    for row, one in more.items():
        items.setdefault(row, []).extend(one)


def _exemplar(time_ms: int, content: bytes) -> dict[str, Any]:
    """An exemplar as ``Recent`` packs it: the value, then the labels."""
    value: F64 = np.frombuffer(content, np.float64, 1)
    return {"labels": dict(decode_labels(content[8:])), "value": float(value[0]), "timestamp_ms": time_ms}
