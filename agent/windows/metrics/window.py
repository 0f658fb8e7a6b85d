"""The metric window of one tenant in one stream: series, their recent samples, and the sealed ones.

Order and loss: records are applied in the order of the log; a sample that is there already is dropped
without a word (so that the log may be applied again), what is older than the sealed cut or beyond a limit is
counted in ``left_out`` by reason. One thread appends; any number of others may query. A query sees every
sample of the records that were applied when it began.

Ids of series are dense and stay the same until ``epoch`` moves.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.promql.errors import TOO_MANY_SAMPLES, QueryLimit
from agent.promql.values import Exemplars, Histograms, Matcher, Selection
from agent.telemetry.frames import F64, I32, I64, U64
from agent.telemetry.labels import LabelTable, decode_labels
from agent.telemetry.samples import SampleBatch
from agent.windows.metrics.head import Head
from agent.windows.metrics.index import LabelIndex, well_formed
from agent.windows.metrics.lists import TimedLists
from agent.windows.metrics.positions import LogPositions

EXEMPLARS_A_SERIES = 128
_ALWAYS = (int(np.iinfo(np.int64).min), int(np.iinfo(np.int64).max))

DecodeHistogram = Callable[[bytes], Any]


@dataclass(frozen=True, slots=True)
class MetricLimits:
    """``max_query_samples`` and ``max_query_series`` bound what one ``select`` gathers."""

    max_series: int = 1_000_000
    max_query_samples: int = 50_000_000
    max_query_series: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Appended:
    """``series`` is the id of each series of the record, -1 where it was left out; ``samples`` counts those
    that were new, histograms among them."""

    series: I32
    samples: int


class MetricWindow:
    """``decode_histogram`` makes a FloatHistogram of a ``Histogram`` message."""

    def __init__(self, limits: MetricLimits, decode_histogram: DecodeHistogram) -> None:
        self._limits = limits
        self._decode_histogram = decode_histogram
        self._lock = threading.Lock()  # of the head, the lists and what is counted
        self._head = Head(limits.max_series)
        self._index = LabelIndex()
        self._histograms = TimedLists()
        self._exemplars = TimedLists(EXEMPLARS_A_SERIES)
        self._positions = LogPositions()
        self._metadata: dict[str, dict[str, str]] = {}
        self._left_out: Counter[str] = Counter()
        self.epoch = 0
        self.max_time_ms: int | None = None  # the newest time of a sample so far

    def __len__(self) -> int:
        """The number of series."""
        return len(self._head)

    @property
    def samples(self) -> int:
        """Float samples that are not sealed, and histograms."""
        return self._head.samples + self._histograms.count

    @property
    def nbytes(self) -> int:
        lists = self._histograms.nbytes + self._exemplars.nbytes
        return self._head.nbytes + self._index.nbytes + lists

    @property
    def low_position(self) -> int | None:
        """The lowest position of the log that this window would need after a restart."""
        return self._positions.low

    @property
    def left_out(self) -> Counter[str]:
        """Samples that were not taken, by reason."""
        head = self._head.refused()
        return self._left_out + Counter(too_old=head["too_old"], no_room=head["no_room"])

    def append(self, batch: SampleBatch, position: int) -> Appended:
        """Apply the record of the log at ``position``."""
        with self._lock:
            self._define(batch, position)
            ids = self._head.table.find(batch.series_hash)
            added = self._head.append(ids, batch.sample_count, batch.time_ms, batch.value)
            if (ids < 0).any():
                self._refuse(batch, ids)
            if len(batch.histogram_time_ms):
                added += self._append_histograms(batch, ids)
            if len(batch.exemplar_series):
                self._append_exemplars(batch, ids)
            self._note_time(batch, position)
        if len(batch.metadata_off):
            self._append_metadata(batch)
        return Appended(ids, added)

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        """The series that fit all matchers and have samples in ``[start_ms, end_ms]``, with those.

        Raises ``QueryLimit`` past a limit, ``Malformed`` for a bad regular expression."""
        ids = self._index.select(matchers)
        with self._lock:
            counts = self._head.counts(ids, start_ms, end_ms)
            self._check_samples(int(counts.sum()))
            histograms = self._histogram_rows(ids, start_ms, end_ms)
            found = counts > 0
            found[[row for row, _ in histograms]] = True
            ids, offsets = ids[found], _offsets(counts[found])
            self._check_series(len(ids))
            time_ms, value = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.float64)
            self._head.copy(ids, (start_ms, end_ms), offsets[1:], time_ms, value)
        place = np.cumsum(found) - 1
        decoded = self._decoded([(int(place[row]), items) for row, items in histograms], len(ids))
        return Selection(self._index.labels(ids), offsets, time_ms, value, decoded)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> LabelTable:
        """The label sets that fit all matchers, of series that were alive in ``[start_ms, end_ms]``."""
        return self._index.labels(self._alive(matchers, start_ms, end_ms))

    def label_names(
        self, matchers: Sequence[Matcher] = (), start_ms: int = _ALWAYS[0], end_ms: int = _ALWAYS[1]
    ) -> list[str]:
        """The label names of the series that fit, sorted."""
        if not matchers and (start_ms, end_ms) == _ALWAYS:
            return self._index.label_names()
        return self._index.label_names(self._alive(matchers, start_ms, end_ms))

    def label_values(
        self,
        name: str,
        matchers: Sequence[Matcher] = (),
        start_ms: int = _ALWAYS[0],
        end_ms: int = _ALWAYS[1],
    ) -> list[str]:
        """The values of one label of the series that fit, sorted."""
        if not matchers and (start_ms, end_ms) == _ALWAYS:
            return self._index.label_values(name)
        return self._index.label_values(name, self._alive(matchers, start_ms, end_ms))

    def exemplars(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Exemplars]:
        """The exemplars in ``[start_ms, end_ms]`` of the series that fit."""
        wanted = set(self._exemplars.series())
        ids = [series for series in self._index.select(matchers).tolist() if series in wanted]
        with self._lock:
            rows = [(series, self._exemplars.between(series, start_ms, end_ms)) for series in ids]
        return [
            Exemplars(dict(self._index.label_set(series)), [_exemplar(t, content) for t, content in items])
            for series, items in rows
            if items
        ]

    def metadata(self) -> dict[str, dict[str, str]]:
        """``{metric: {"type", "help", "unit"}}``, the newest of each."""
        return dict(self._metadata)

    def stats(self, limit: int = 10) -> dict[str, Any]:
        """Figures for the status of the TSDB."""
        return {
            "series": len(self),
            "samples": self.samples,
            "chunks": self._head.chunk_count,
            "out_of_order": self._head.inserted,
            "exemplars": self._exemplars.count,
            "max_time_ms": self.max_time_ms,
            "bytes": self.nbytes,
            "cardinality": self._index.cardinality(limit),
        }

    def _define(self, batch: SampleBatch, position: int) -> None:
        """Take in the series that this record defines and that are not known yet."""
        if not len(batch.define_hash):
            return
        ids = self._head.table.find(batch.define_hash)
        self._head.defined(ids[ids >= 0], position)
        _, first = np.unique(batch.define_hash, return_index=True)
        rows = np.sort(first[ids[first] < 0])
        rows = rows[well_formed(batch.raw, batch.define_off[rows], batch.define_len[rows])]
        rows = rows[: max(0, self._head.max_series - len(self._head))]
        if len(rows):
            self._index.add(batch.raw, batch.define_off[rows], batch.define_len[rows])
            self._head.add(batch.define_hash[rows], position)

    def _refuse(self, batch: SampleBatch, ids: I32) -> None:
        missing = ids < 0
        lost = int(batch.sample_count[missing].sum() + batch.histogram_count[missing].sum())
        full = len(self._head) >= self._head.max_series
        self._left_out["series_limit" if full else "unknown_series"] += lost

    def _append_histograms(self, batch: SampleBatch, ids: I32) -> int:
        owner = np.repeat(ids, batch.histogram_count)
        keep = (owner >= 0) & (batch.histogram_time_ms >= self._head.accept_from_ms)
        self._left_out["too_old"] += int(((owner >= 0) & ~keep).sum())
        added = 0
        for row in np.flatnonzero(keep).tolist():
            content = _cut(batch.raw, batch.histogram_off[row], batch.histogram_len[row])
            added += self._histograms.add(int(owner[row]), int(batch.histogram_time_ms[row]), content)
        self._head.touch(owner[keep], batch.histogram_time_ms[keep])
        return added

    def _append_exemplars(self, batch: SampleBatch, ids: I32) -> None:
        for row, at in enumerate(batch.exemplar_series.tolist()):
            time_ms = int(batch.exemplar_time_ms[row])
            if ids[at] >= 0 and time_ms >= self._head.accept_from_ms:
                labels = _cut(batch.raw, batch.exemplar_off[row], batch.exemplar_len[row])
                value = batch.exemplar_value[row : row + 1].tobytes()
                self._exemplars.add(int(ids[at]), time_ms, value + labels)

    def _append_metadata(self, batch: SampleBatch) -> None:
        for off, size in zip(batch.metadata_off.tolist(), batch.metadata_len.tolist(), strict=True):
            entry = json.loads(_cut(batch.raw, off, size))
            self._metadata[entry["metric"]] = {key: entry.get(key, "") for key in ("type", "help", "unit")}

    def _note_time(self, batch: SampleBatch, position: int) -> None:
        times = [int(t.max()) for t in (batch.time_ms, batch.histogram_time_ms) if len(t)]
        youngest = max(times, default=None)
        since = int(batch.defined_since[0]) if len(batch.defined_since) else position
        if youngest is not None:
            self.max_time_ms = max(youngest, self.max_time_ms or youngest)
            youngest = youngest if youngest >= self._head.accept_from_ms else None
        self._positions.add(position, since, youngest)

    def _alive(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> I32:
        ids = self._index.select(matchers)
        first, last = self._head.lifetimes(ids)
        return ids[(first <= end_ms) & (last >= start_ms)]

    def _histogram_rows(
        self, ids: I32, start_ms: int, end_ms: int
    ) -> list[tuple[int, list[tuple[int, bytes]]]]:
        """``(place in ids, items)`` of the series that have histograms in the range."""
        if not self._histograms.count:
            return []
        with_any = np.asarray(sorted(self._histograms.series()), np.int32)
        rows = np.flatnonzero(np.isin(ids, with_any, assume_unique=True)).tolist()
        found = ((row, self._histograms.between(int(ids[row]), start_ms, end_ms)) for row in rows)
        return [(row, items) for row, items in found if items]

    def _decoded(self, rows: Iterable[tuple[int, list[tuple[int, bytes]]]], series: int) -> Histograms | None:
        by_row = dict(rows)
        if not by_row:
            return None
        counts = np.zeros(series, np.int64)
        counts[list(by_row)] = [len(items) for items in by_row.values()]
        offsets = _offsets(counts)
        time_ms, sample = np.empty(offsets[-1], np.int64), np.empty(offsets[-1], np.object_)
        for row, items in by_row.items():
            for at, (time, content) in enumerate(items, start=int(offsets[row])):
                time_ms[at], sample[at] = time, self._decode_histogram(content)
        return Histograms(offsets, time_ms, sample)

    def _check_samples(self, samples: int) -> None:
        if samples > self._limits.max_query_samples:
            raise QueryLimit(TOO_MANY_SAMPLES)

    def _check_series(self, series: int) -> None:
        if series > self._limits.max_query_series:
            raise QueryLimit(
                f"the selector matches {series} series, more than the limit of "
                f"{self._limits.max_query_series}; add matchers"
            )


def _offsets(counts: I64) -> I64:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _cut(raw: Any, off: int, size: int) -> bytes:
    return bytes(raw[off : off + size].tobytes())


def _exemplar(time_ms: int, content: bytes) -> dict[str, Any]:
    """What ``_append_exemplars`` packed: the value, then the labels."""
    value: F64 = np.frombuffer(content, np.float64, 1)
    return {"labels": dict(decode_labels(content[8:])), "value": float(value[0]), "timestamp_ms": time_ms}


__all__ = ["Appended", "MetricLimits", "MetricWindow", "U64"]
