"""The hot window of one tenant in one stream: spans, logs and samples in columns, fed from the log.

Event time is the tenant's own: its watermark comes from its rows alone, so a recorded day lies beside live
traffic and neither evicts the other. Rows that are older than the window, repeated, or beyond a limit are
left out and counted in ``left_out``, by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from agent.settings import StreamSettings
from agent.telemetry.batch import (
    COMPONENT_COUNT,
    COMPONENT_PART,
    COMPONENT_SUM,
    METRIC_EXP_HISTOGRAM,
    METRIC_HISTOGRAM,
    METRIC_SUM,
    METRIC_SUMMARY,
    TEMPORALITY_CUMULATIVE,
    Batch,
    LogBatch,
    MetricBatch,
    Signal,
    SpanBatch,
    from_columns,
)
from agent.telemetry.frames import (
    I32,
    I64,
    REF_SHIFT,
    Bool,
    LogFrame,
    MetricFrame,
    Series,
    SpanFrame,
    Telemetry,
)  # fmt: skip
from agent.telemetry.otlp_attributes import point_labels, resource_attributes
from agent.telemetry.samples import SAMPLES, SampleBatch, from_sample_columns
from agent.telemetry.shapes import shape_hashes, shape_text
from agent.telemetry.source import Source
from agent.windows.columns import Columns, ColumnWindow
from agent.windows.hashindex import HashIndex, SeenSet
from agent.windows.metrics.feed import MetricFeed
from agent.windows.metrics.owners import NS_PER_MS
from agent.windows.record import Record
from agent.windows.sources import Sources
from agent.windows.texts import Texts

SPAN_SCHEMA: Mapping[str, Any] = {
    "trace_hi": np.uint64, "trace_lo": np.uint64, "span_id": np.uint64, "parent_id": np.uint64,
    "start_ns": np.int64, "end_ns": np.int64, "ref": np.int64, "size": np.int32,
    "source": np.int32, "name": np.int32, "kind": np.uint8, "status": np.uint8, "system": np.uint8,
}  # fmt: skip
LOG_SCHEMA: Mapping[str, Any] = {
    "time_ns": np.int64, "trace_hi": np.uint64, "trace_lo": np.uint64, "span_id": np.uint64, "ref": np.int64,
    "size": np.int32, "source": np.int32, "template": np.int32, "severity": np.uint8,
}  # fmt: skip
SAMPLE_SCHEMA: Mapping[str, Any] = {"time_ns": np.int64, "series": np.int32, "value": np.float64}

METRICS = Signal.METRICS.value
MAX_WATCHED = 100_000  # series that the detectors are given
SERIES_BYTES = 500  # of an entry with its strings, about
CHUNKS_A_WINDOW = 8  # the log is kept for so many parts of a window longer than the window
# Batches and samples kept for a detector that is away; it misses the older ones.
MAX_FRESH, MAX_FRESH_ROWS = 4096, 1 << 20
SERIES_SHIFT = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Applied:
    """The rows of one record that went into the window, for those who follow it: the batch they lie in,
    which of its rows they are, and their codes (``code`` is the name, template or series)."""

    signal: Signal
    batch: Batch
    rows: I64
    source: I32
    code: I32
    position: int


class TenantWindow:
    """``replayed``: the window is to replace another, whose rows the log is about to bring again; ``metrics``
    has had them."""

    def __init__(
        self,
        tenant: str,
        stream: int,
        settings: StreamSettings,
        metrics: MetricFeed,
        *,
        replayed: bool = False,
    ) -> None:
        self.tenant = tenant
        self._stream = stream
        self._settings = settings
        self.sources = Sources(tenant, settings.max_sources)
        self.names = Texts(settings.max_names)
        self.templates = Texts(settings.max_names)
        self.series: list[Series] = []
        self.cumulative: list[bool] = []
        self._scalar: list[bool] = []
        self._series_of: dict[int, tuple[HashIndex, list[int]]] = {}
        span_ns = int(settings.window_s * 1e9 / CHUNKS_A_WINDOW)
        self.spans = ColumnWindow(SPAN_SCHEMA, "end_ns", span_ns)
        self.logs = ColumnWindow(LOG_SCHEMA, "time_ns", span_ns)
        self.samples = ColumnWindow(SAMPLE_SCHEMA, "time_ns", span_ns)
        self.metrics = metrics
        self._owners = self.metrics.owners(self.sources, self._watch)
        self._replayed = replayed
        self._seen_spans = SeenSet()
        self._seen_bodies = SeenSet(1 << 16)
        self._fresh: list[tuple[I32, I64, npt.NDArray[np.float64]]] = []
        self._fresh_rows = 0
        self.left_out: Counter[str] = Counter()
        self.watermark_ns = 0
        self.limited = False  # whether a limit has turned something away

    @property
    def nbytes(self) -> int:
        return self.spans.nbytes + self.logs.nbytes + self.samples.nbytes

    @property
    def table_bytes(self) -> int:
        """What is held beside the columns, about."""
        series = sum(index.nbytes for index, _ in list(self._series_of.values()))
        texts = self.names.nbytes + self.templates.nbytes
        seen = self._seen_spans.nbytes + self._seen_bodies.nbytes
        return series + SERIES_BYTES * len(self.series) + texts + seen + self.sources.nbytes

    @property
    def low_position(self) -> int | None:
        """The lowest log position that the window still refers to; None when it is empty."""
        lows = (w.low_position for w in (self.spans, self.logs, self.samples, self.metrics.window))
        return min((low for low in lows if low is not None), default=None)

    def apply(self, record: Record) -> Applied | None:
        """Take the rows of a log record in. None where none of them is new."""
        if record.meta.signal == SAMPLES:
            self.apply_samples(from_sample_columns(record.columns), (record.position, record.position))
            return None
        signal = Signal(record.meta.signal)
        batch = from_columns(signal, record.columns)
        source = self._source_codes(batch, _times(batch))
        rows = self._admit(batch, record, source)
        if not len(rows):
            return None
        taken = source[rows]
        if isinstance(batch, SpanBatch):
            code = self._append_spans(batch, rows, taken, record)
        elif isinstance(batch, LogBatch):
            code = self._append_logs(batch, rows, taken, record)
        else:
            if not self._replayed:
                self.metrics.translate(batch, rows, record.position)
            rows, taken, code = self._append_samples(batch, rows, taken, record)
        self._count(signal, taken, _times(batch)[rows])
        return Applied(signal, batch, rows, taken, code, record.position)

    def apply_samples(self, batch: SampleBatch, stretch: tuple[int, int]) -> None:
        """Take in samples from a stretch of the log (positions of its first and last record): what a record costs
        beside its rows is paid once then. Nothing of the batch is kept."""
        series = self.metrics.take(batch, stretch, self._owners, replayed=self._replayed)
        if not len(series) or not len(batch.time_ms):
            return
        for owner, samples, last_ms in self._owners.seen(series, batch):
            self.sources.saw(owner, METRICS, samples, last_ms * NS_PER_MS)
        code, time_ns, value = self._owners.watched(series, batch)
        if len(code):
            self.samples.append(
                {"time_ns": time_ns, "series": code, "value": value}, stretch[0], self.watermark_ns
            )
            self._keep_fresh(code, time_ns, value)

    def _watch(self, series: Series, cumulative: bool) -> int:
        """The code of a series for the detectors; -1 where they watch enough already."""
        if len(self.series) >= MAX_WATCHED:
            return -1
        self.series.append(series)
        self.cumulative.append(cumulative)
        self._scalar.append(True)
        return len(self.series) - 1

    def advance(self) -> None:
        """Move the watermark to where the rows have come, and let go of what is older than the window."""
        self.watermark_ns = max(self.watermark_ns, self.sources.watermark_ns(self._settings.window_s))
        self.metrics.advance(self.watermark_ns)
        horizon = self.watermark_ns - int(self._settings.window_s * 1e9)
        for window in (self.spans, self.logs, self.samples):
            window.evict_before(horizon)

    def inherit(self, old: TenantWindow) -> None:
        """Take over what the log does not tell of a window that this one, made of the same rows, replaces."""
        self.watermark_ns = max(self.watermark_ns, old.watermark_ns)
        self._replayed = False
        self.left_out = old.left_out
        self.sources.inherit(old.sources, self.watermark_ns - int(self._settings.window_s * 1e9))

    def evict_oldest(self) -> int:
        """Let go of the oldest chunk of the largest window; the rows dropped are counted."""
        window = max((self.spans, self.logs, self.samples), key=lambda w: w.nbytes)
        dropped = window.evict_oldest()
        self.left_out["evicted_by_bytes"] += dropped
        return dropped

    def telemetry(self, start_ns: int, end_ns: int) -> Telemetry:
        """All signals with event time in ``[start_ns, end_ns)``: spans by their end, logs and samples by
        their time. Histogram buckets are left out; analyses use the spans."""
        return Telemetry(
            start_ns, end_ns,
            self.span_frame(self.spans.between(start_ns, end_ns)),
            self._log_frame(self.logs.between(start_ns, end_ns)),
            self.metric_frame(start_ns, end_ns),
            tuple(c for c in self.sources.changes if start_ns <= c.time_ns < end_ns),
        )  # fmt: skip

    def span_frame(self, columns: Mapping[str, npt.NDArray[Any]]) -> SpanFrame:
        rows = {name: column for name, column in columns.items() if name != "size"}
        return SpanFrame(**rows, sources=self.sources.table(), names=self.names.table())

    @property
    def fresh_samples(self) -> bool:
        """Whether samples have come since ``take_fresh_metrics``."""
        return bool(self._fresh)

    @property
    def fresh_crowded(self) -> bool:
        """Whether the oldest of the fresh samples are soon let go of."""
        return len(self._fresh) > MAX_FRESH // 4 or self._fresh_rows > MAX_FRESH_ROWS // 4

    def take_fresh_metrics(self) -> MetricFrame:
        """The samples that have come since the last call, without histogram buckets."""
        fresh, self._fresh, self._fresh_rows = self._fresh, [], 0
        code, time_ns, value = (
            np.concatenate([np.empty(0, t), *(f[i] for f in fresh)])
            for i, t in enumerate((np.int32, np.int64, np.float64))
        )
        return self._metric_frame(code, time_ns, value, self._scalar_series())

    def metric_frame(
        self, start_ns: int, end_ns: int, wanted: Callable[[Series], bool] | None = None
    ) -> MetricFrame:
        """The samples of a stretch by series, those that ``wanted`` picks."""
        # The rows before the mask: the series of every row taken have a place in it then.
        rows = self.samples.between(start_ns, end_ns)
        if wanted is None:
            keep = self._scalar_series()
        else:
            keep = np.asarray([wanted(series) for series in self.series[:]], np.bool_)
        return self._metric_frame(rows["series"], rows["time_ns"], rows["value"], keep)

    def _metric_frame(
        self, code: I32, time_ns: I64, value: npt.NDArray[np.float64], keep: Bool
    ) -> MetricFrame:
        mask = keep[code] if len(keep) else np.zeros(len(code), np.bool_)
        code, time_ns, value = code[mask], time_ns[mask], value[mask]
        order = np.lexsort((time_ns, code))
        present, counts = np.unique(code, return_counts=True)
        return MetricFrame(
            series=tuple(self.series[i] for i in present),
            cumulative=np.asarray([self.cumulative[i] for i in present], np.bool_),
            offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]),
            time_ns=time_ns[order],
            value=value[order],
        )

    def _scalar_series(self) -> Bool:
        return np.asarray(self._scalar[:], np.bool_)

    def _log_frame(self, columns: Mapping[str, npt.NDArray[Any]]) -> LogFrame:
        rows = {name: column for name, column in columns.items() if name != "size"}
        return LogFrame(**rows, sources=self.sources.table(), templates=self.templates.table())

    def _source_codes(self, batch: Batch, times: I64) -> I32:
        """The source of every row; -1 where the tenant has too many."""
        codes = np.full(len(batch.block_off), -1, np.int32)
        first_row = np.searchsorted(batch.block, np.arange(len(codes)))
        for block, (off, length) in enumerate(
            zip(batch.resource_off.tolist(), batch.resource_len.tolist(), strict=True)
        ):
            row = first_row[block]
            if row < len(times) and batch.block[row] == block:
                resource = batch.raw[off : off + length].tobytes()
                parse = partial(resource_attributes, batch.raw, off, length)
                codes[block] = self.sources.code(resource, parse, int(times[row]))
        return codes[batch.block]

    def _admit(self, batch: Batch, record: Record, source: I32) -> I64:
        """The rows that belong into the window."""
        keep = source >= 0
        self.left_out["source_limit"] += int(len(keep) - keep.sum())
        self.limited |= not bool(keep.all())
        late = _times(batch) < self.watermark_ns - int(self._settings.window_s * 1e9)
        self.left_out["older_than_window"] += int(late.sum())
        keep &= ~late
        if isinstance(batch, SpanBatch):
            fresh = self._seen_spans.fresh(batch.span_id ^ (batch.trace_lo * SERIES_SHIFT))
        else:
            fresh = np.broadcast_to(
                self._seen_bodies.fresh(np.asarray([record.meta.digest], np.uint64)), len(keep)
            )
        self.left_out["repeated"] += int((~fresh).sum())
        return np.flatnonzero(keep & fresh)

    def _append_spans(self, batch: SpanBatch, rows: I64, source: I32, record: Record) -> I32:
        off, length = batch.name_off[rows], batch.name_len[rows]
        name = self.names.codes(
            batch.name_hash[rows], lambda i: _text(batch.raw, int(off[i]), int(length[i]))
        )
        self.limited |= self.names.full
        self._append(self.spans, SPAN_SCHEMA, batch, rows, record, source=source, name=name)
        return name

    def _append_logs(self, batch: LogBatch, rows: I64, source: I32, record: Record) -> I32:
        off, length = batch.body_off[rows], batch.body_len[rows]
        template = self.templates.codes(
            shape_hashes(batch.raw, off, length),
            lambda i: shape_text(batch.raw[off[i] : off[i] + length[i]].tobytes()),
        )
        self.limited |= self.templates.full
        self._append(self.logs, LOG_SCHEMA, batch, rows, record, source=source, template=template)
        return template

    def _append(
        self,
        window: ColumnWindow,
        schema: Mapping[str, Any],
        batch: SpanBatch | LogBatch,
        rows: I64,
        record: Record,
        **codes: I32,
    ) -> None:
        """Rows of a batch with their codes, and with where their messages lie in the log."""
        columns = {name: getattr(batch, name)[rows] for name in schema if hasattr(batch, name)}
        position = np.int64(record.column_at["raw"] + (self._stream << REF_SHIFT))
        window.append(
            {**columns, **codes, "ref": batch.off[rows] + position, "size": batch.len[rows]},
            record.position,
            self.watermark_ns,
        )

    def _append_samples(
        self, batch: MetricBatch, rows: I64, source: I32, record: Record
    ) -> tuple[I64, I32, I32]:
        series = np.full(len(rows), -1, np.int32)
        for code in np.unique(source).tolist():
            at = np.flatnonzero(source == code)
            series[at] = self._series_codes(batch, rows[at], code)
        kept = series >= 0
        self.left_out["series_limit"] += int(len(kept) - kept.sum())
        self.limited |= not bool(kept.all())
        rows, source, series = rows[kept], source[kept], series[kept]
        if len(rows):
            time_ns, value = batch.time_ns[rows], batch.value[rows]
            samples: Columns = {"time_ns": time_ns, "series": series, "value": value}
            self.samples.append(samples, record.position, self.watermark_ns)
            self._keep_fresh(series, time_ns, value)
        return rows, source, series

    def _keep_fresh(self, series: I32, time_ns: I64, value: npt.NDArray[np.float64]) -> None:
        self._fresh.append((series, time_ns, value))
        self._fresh_rows += len(series)
        while len(self._fresh) > MAX_FRESH or (len(self._fresh) > 1 and self._fresh_rows > MAX_FRESH_ROWS):
            missed = len(self._fresh.pop(0)[0])
            self._fresh_rows -= missed
            self.left_out["missed_by_detectors"] += missed

    def _series_codes(self, batch: MetricBatch, rows: I64, source: int) -> I32:
        """The series of the rows of one source; -1 for those past its limit."""
        if source not in self._series_of:
            self._series_of[source] = (HashIndex(self._settings.max_series_per_source), [])
        index, globals_ = self._series_of[source]
        local, new_rows = index.codes(batch.series_hash[rows])
        for row in rows[new_rows].tolist():
            globals_.append(len(self.series))
            self.series.append(_series(batch, row, self.sources.states[source].source))
            self.cumulative.append(_is_running_total(batch, row))
            self._scalar.append(batch.component[row] < COMPONENT_PART)
        return (
            np.where(local >= 0, np.asarray(globals_, np.int32)[local], np.int32(-1)) if globals_ else local
        )

    def _count(self, signal: Signal, source: I32, times: I64) -> None:
        order = np.argsort(source, kind="stable")
        present, first = np.unique(source[order], return_index=True)
        if len(present):
            latest = np.maximum.reduceat(times[order], first)
            counts = np.diff(np.append(first, len(source)))
            for code, rows, last_ns in zip(present.tolist(), counts.tolist(), latest.tolist(), strict=True):
                self.sources.saw(code, signal.value, rows, last_ns)


def _times(batch: Batch) -> I64:
    """What ages a row: a span's end, since it is sent when it ended."""
    return batch.end_ns if isinstance(batch, SpanBatch) else batch.time_ns


def _text(raw: npt.NDArray[np.uint8], off: int, length: int) -> str:
    return raw[off : off + length].tobytes().decode("utf-8", "replace")


def _series(batch: MetricBatch, row: int, source: Source) -> Series:
    name = _text(batch.raw, int(batch.name_off[row]), int(batch.name_len[row]))
    return Series(
        source, name + _suffix(int(batch.kind[row]), int(batch.component[row])), point_labels(batch, row)
    )


def _is_running_total(batch: MetricBatch, row: int) -> bool:
    """Whether differences are what counts. A sum that is not monotonic (an UpDownCounter, such as memory in
    use) is a gauge, whatever its temporality says."""
    if batch.kind[row] == METRIC_SUM and not batch.monotonic[row]:
        return False
    return bool(batch.temporality[row] == TEMPORALITY_CUMULATIVE and batch.kind[row] != METRIC_SUMMARY)


def _suffix(kind: int, component: int) -> str:
    """What the name of a number of a histogram or summary ends with, as Prometheus has it."""
    if component == COMPONENT_COUNT:
        return "_count"
    if component == COMPONENT_SUM:
        return "_sum"
    if component >= COMPONENT_PART:
        return {METRIC_HISTOGRAM: "_bucket", METRIC_EXP_HISTOGRAM: "_zero_count"}.get(kind, "")
    return ""
