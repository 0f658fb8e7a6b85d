"""The metric window of one tenant in one stream: series, their recent samples, and the sealed ones.

Order and loss: records are applied in the order of the log; a sample that is there already is dropped
without a word (so that the log may be applied again), what is older than the sealed cut or beyond a limit is
counted in ``left_out`` by reason. What is sealed no longer needs the log. One thread appends; any number of
others may query, and one may seal. A query sees every sample of the records that were applied when it began.
Retention: a policy may keep some series shorter or longer than the window. No query shows what is older, from the
moment it is; memory and disk are given back soon after (``advance``, ``thin``). Time is the watermark.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.promql.errors import TOO_MANY_SAMPLES, QueryLimit
from agent.promql.kernels import written_out
from agent.promql.values import Exemplars, Matcher, Selection, Times
from agent.telemetry.frames import F64, I32, I64
from agent.telemetry.labels import LabelTable
from agent.telemetry.samples import SampleBatch
from agent.windows.metrics.answers import (
    DecodeHistograms,
    exemplar_of,
    extend,
    histograms_of,
    items_from,
    offsets_of,
)
from agent.windows.metrics.blocks import BlockInfo
from agent.windows.metrics.index import LabelIndex
from agent.windows.metrics.retention import drop_older
from agent.windows.metrics.sealed import SealedPart
from agent.windows.metrics.upkeep import FOREVER_MS, MetricLimits, Upkeep, View


@dataclass(frozen=True, slots=True)
class Appended:
    """``series`` is the id of each series of the record, -1 where it was left out; ids stay the same until
    the window's ``epoch`` moves. ``samples`` counts those that were new, histograms among them."""

    series: I32
    samples: int


class MetricWindow(Upkeep):
    """``decode_histograms`` makes FloatHistograms of a series' ``Histogram`` messages, in time order."""

    def __init__(self, limits: MetricLimits, decode_histograms: DecodeHistograms) -> None:
        super().__init__(limits)
        self._decode_histograms = decode_histograms

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

    def append(self, batch: SampleBatch, position: int, last: int | None = None) -> Appended:
        """Apply the record of the log at ``position``, or those up to the one at ``last``."""
        with self._lock:
            ids, added = self._recent.append(batch, position, count_old=position > self._sealed_position)
            self._position = max(position if last is None else last, self._position)
        return Appended(ids, added)

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
        if not matchers and (start_ms, end_ms) == FOREVER_MS and not self._hides(start_ms):
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
        if not matchers and (start_ms, end_ms) == FOREVER_MS and not self._hides(start_ms):
            return self._view.index.label_values(name)
        index, ids = self._alive(matchers, start_ms, end_ms)
        return index.label_values(name, ids)

    def exemplars(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Exemplars]:
        """The exemplars in ``[start_ms, end_ms]`` of the series that fit."""
        while True:
            view = self._view
            ids = view.index.select(matchers)
            floor_ms = self._floors(view, ids, start_ms)
            items = SealedPart(self._decoded, view.blocks, ids, (start_ms, end_ms)).items("exemplars")
            with self._lock:
                if view is self._view:
                    span_ms = max(start_ms, view.cut_ms), end_ms
                    extend(items, self._recent.exemplars.among(ids, *span_ms))
                    break
        if floor_ms is not None:
            items = items_from(items, floor_ms)
        return [
            Exemplars(dict(view.index.label_set(int(ids[row]))), [exemplar_of(*one) for one in items[row]])
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

    def _select(self, view: View, matchers: Sequence[Matcher], span_ms: tuple[int, int]) -> Selection | None:
        """None where the view is no longer the window's."""
        ids = view.index.select(matchers)
        floor_ms = self._floors(view, ids, span_ms[0])
        if floor_ms is not None:
            span_ms = max(span_ms[0], int(floor_ms.min())), span_ms[1]
        sealed = SealedPart(self._decoded, view.blocks, ids, span_ms)
        if not sealed.find(self._limits.max_query_samples):
            raise QueryLimit(TOO_MANY_SAMPLES)
        items = sealed.items("histograms")
        head_ms = max(span_ms[0], view.cut_ms), span_ms[1]
        with self._lock:
            if view is not self._view:
                return None
            head = self._recent.head.counts(ids, *head_ms)
            extend(items, self._recent.histograms.among(ids, *head_ms))
            offsets, value = self._room(sealed.counts + head)
            times, stale = self._recent.head.copy(ids, head_ms, head, offsets[1:], value)
        stale |= sealed.copy(offsets[:-1].copy(), value)
        times = sealed.times(offsets, head, times)
        if floor_ms is not None:
            time_ms = written_out(offsets, times.start, times.ms)
            offsets, time_ms, value = drop_older(offsets, floor_ms, time_ms, value)
            times = Times(offsets[:-1], time_ms)
            items = items_from(items, floor_ms)
        found = np.diff(offsets) > 0
        found[list(items)] = True
        self._check_series(int(found.sum()))
        place = np.cumsum(found) - 1
        placed = {int(place[row]): one for row, one in items.items()}
        histograms = histograms_of(placed, int(found.sum()), self._decode_histograms)
        kept = np.concatenate([offsets[:-1][found], offsets[-1:]])
        times = Times(times.start[found], times.ms)
        return Selection(view.index.labels(ids[found]), kept, times, value, histograms, stale)

    def _room(self, counts: I64) -> tuple[I64, F64]:
        offsets = offsets_of(counts)
        if offsets[-1] > self._limits.max_query_samples:
            raise QueryLimit(TOO_MANY_SAMPLES)
        return offsets, np.empty(offsets[-1], np.float64)

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
            floor_ms = self._floors(view, ids, start_ms)
            with self._lock:
                if view is self._view:
                    first, last = self._recent.head.lifetimes(ids)
                    oldest: int | I64 = start_ms
                    if floor_ms is not None:
                        oldest, first = np.maximum(start_ms, floor_ms), np.maximum(first, floor_ms)
                    return view.index, ids[(first <= end_ms) & (last >= oldest)]
