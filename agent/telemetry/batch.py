"""Batches: one decoded body as columns, one row a span, log record or scalar sample.

``raw`` holds the bytes; every ``*_off`` column is an absolute position in it, and the matching
``*_len`` a length in bytes. A *block* is the content of one top-level ResourceSpans, ResourceLogs or
ResourceMetrics message: everything one source sent in the body. Blocks lie in ascending order, rows in
the order of the body, so the rows of a block are contiguous.

The first columns are the same in all three: ``block_off``, ``block_len`` and ``resource_off``,
``resource_len`` (the Resource message inside the block; 0, 0 where there is none, the last one where
there are several) have one entry a block, all others one entry a row. ``reject`` is 0 for a good row,
else the index of a ``Reject``; callers mask such rows out and answer with a partial success.

Batches are read-only by convention and keep nothing outside their arrays, so that the write-ahead log
stores the columns and maps them back as views.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum, StrEnum
from typing import Any, TypeVar

import numpy as np

from agent.telemetry.frames import F64, I32, I64, U8, U64


class Signal(StrEnum):
    SPANS = "spans"
    LOGS = "logs"
    METRICS = "metrics"


class Reject(IntEnum):
    """Why one row is refused while the rest of its body is kept. The name, in lower case, is what the
    refusal is counted under; ``REJECT_SENTENCES`` says it to the sender."""

    NONE = 0
    BAD_TRACE_ID = 1
    BAD_SPAN_ID = 2
    BAD_PARENT_ID = 3
    END_BEFORE_START = 4
    NO_TIME = 5
    TIME_OUT_OF_RANGE = 6
    NO_NAME = 7
    NO_VALUE = 8
    TOO_OLD = 9
    IN_THE_FUTURE = 10
    NAME_TOO_LONG = 11
    ROW_TOO_LARGE = 12
    BAD_BUCKETS = 13

    @property
    def reason(self) -> str:
        return self.name.lower()


REJECT_SENTENCES: Mapping[Reject, str] = {
    Reject.NONE: "accepted",
    Reject.BAD_TRACE_ID: "trace_id must be 16 bytes and not all zero",
    Reject.BAD_SPAN_ID: "span_id must be 8 bytes and not all zero",
    Reject.BAD_PARENT_ID: "parent_span_id must be empty or 8 bytes",
    Reject.END_BEFORE_START: "end_time_unix_nano lies before start_time_unix_nano",
    Reject.NO_TIME: "the time stamp is missing or zero",
    Reject.TIME_OUT_OF_RANGE: "the time stamp does not fit into a signed 64-bit integer of nanoseconds",
    Reject.NO_NAME: "the metric has no name",
    Reject.NO_VALUE: "the data point carries no value",
    Reject.TOO_OLD: "the time stamp lies further in the past than is accepted",
    Reject.IN_THE_FUTURE: "the time stamp lies further in the future than is accepted",
    Reject.NAME_TOO_LONG: "the name is longer than is accepted",
    Reject.ROW_TOO_LARGE: "the message is larger than is accepted",
    Reject.BAD_BUCKETS: "bucket_counts must be one more than explicit_bounds",
}

# The kinds of AnyValue, by the field that is set; 0 where none is.
ANY_NONE, ANY_STRING, ANY_BOOL, ANY_INT, ANY_DOUBLE, ANY_ARRAY, ANY_KVLIST, ANY_BYTES = range(8)

METRIC_GAUGE, METRIC_SUM, METRIC_HISTOGRAM, METRIC_EXP_HISTOGRAM, METRIC_SUMMARY = range(5)
TEMPORALITY_UNSPECIFIED, TEMPORALITY_DELTA, TEMPORALITY_CUMULATIVE = range(3)

# ``component`` of a sample: which number of its data point it is. From COMPONENT_PART on, bucket or
# quantile number ``component - COMPONENT_PART``.
COMPONENT_VALUE, COMPONENT_COUNT, COMPONENT_SUM, COMPONENT_PART = -1, 0, 1, 2

# A data point that says "no recorded value" becomes a sample with this NaN, the bit pattern that
# Prometheus marks the end of a series with; any other NaN is a value that was measured.
STALE_NAN_BITS = 0x7FF0000000000002


@dataclass(frozen=True, slots=True)
class SpanBatch:
    """One row a span. Ids are big-endian integers, ``parent_id`` 0 is a root; ``kind``, ``status``
    and ``system`` as in ``frames``; ``off``, ``len`` are the Span message, ``name_hash`` hashes the
    bytes of the name and is the same in every process."""

    raw: U8
    block_off: I64
    block_len: I64
    resource_off: I64
    resource_len: I64
    trace_hi: U64
    trace_lo: U64
    span_id: U64
    parent_id: U64
    name_hash: U64
    start_ns: I64
    end_ns: I64
    name_off: I64
    name_len: I64
    off: I64
    len: I64
    block: I32
    kind: U8
    status: U8
    system: U8
    reject: U8

    def __len__(self) -> int:
        return len(self.span_id)


@dataclass(frozen=True, slots=True)
class LogBatch:
    """One row a log record. ``time_ns`` is the time of the event, or of its observation where the event
    has none. ``body_kind`` is the kind of AnyValue: for ANY_STRING ``body_off``, ``body_len`` are the
    text, for every other kind the whole AnyValue message. ``off``, ``len`` are the LogRecord message.
    A trace or span id of a wrong length is none, as OTLP wants it; no trace is 0, 0."""

    raw: U8
    block_off: I64
    block_len: I64
    resource_off: I64
    resource_len: I64
    trace_hi: U64
    trace_lo: U64
    span_id: U64
    time_ns: I64
    body_off: I64
    body_len: I64
    off: I64
    len: I64
    block: I32
    severity: U8
    body_kind: U8
    reject: U8

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(frozen=True, slots=True)
class MetricBatch:
    """One row a scalar sample; a data point of a histogram or summary gives several.

    ``series_hash`` tells series of one resource apart: scope name, metric name, unit, kind,
    temporality, component (with its bound or quantile) and the attributes in any order. It is the same
    in every process. The caller mixes in the resource, by ``block``.

    ``component``: -1 the plain value of a gauge or sum; 0 the count and 1 the sum of a histogram,
    exponential histogram or summary; 2 + i for histograms the number of observations up to and
    including bound i (cumulative over the buckets, the last one is +Inf), for summaries the value of
    quantile i, for exponential histograms (i = 0 only) the zero count.
    ``kind`` is METRIC_*, ``temporality`` TEMPORALITY_* (unspecified for gauges and summaries),
    ``monotonic`` 0 or 1. ``start_ns`` is 0 where the point has none. ``metric_off`` is the Metric
    message, ``point_off`` the data point message. NaN and infinities are values like others."""

    raw: U8
    block_off: I64
    block_len: I64
    resource_off: I64
    resource_len: I64
    series_hash: U64
    start_ns: I64
    time_ns: I64
    metric_off: I64
    metric_len: I64
    name_off: I64
    name_len: I64
    point_off: I64
    point_len: I64
    value: F64
    component: I32
    block: I32
    kind: U8
    temporality: U8
    monotonic: U8
    reject: U8

    def __len__(self) -> int:
        return len(self.time_ns)


Batch = SpanBatch | LogBatch | MetricBatch
AnyBatch = TypeVar("AnyBatch", bound=SpanBatch | LogBatch | MetricBatch)

BATCH_TYPES: Mapping[Signal, type[Batch]] = {
    Signal.SPANS: SpanBatch,
    Signal.LOGS: LogBatch,
    Signal.METRICS: MetricBatch,
}
BLOCK_COLUMNS = ("block_off", "block_len", "resource_off", "resource_len")
# Offsets that a row carries; they move with the row's block.
ROW_OFFSETS = frozenset({"off", "name_off", "body_off", "metric_off", "point_off"})


def signal_of(batch: Batch) -> Signal:
    return next(signal for signal, kind in BATCH_TYPES.items() if type(batch) is kind)


def columns(batch: Batch) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a batch by name, always in the same order, ``raw`` first."""
    return {f.name: getattr(batch, f.name) for f in fields(batch)}


def from_columns(signal: Signal, arrays: Mapping[str, np.ndarray[Any, Any]]) -> Batch:
    """The batch whose ``columns`` were ``arrays``; nothing is copied. Raises KeyError naming a column
    that is missing."""
    cls = BATCH_TYPES[signal]
    return cls(**{f.name: arrays[f.name] for f in fields(cls)})


def take_rows(batch: AnyBatch, rows: np.ndarray[Any, Any]) -> AnyBatch:
    """The rows that a mask or an index array names; bytes and blocks stay as they are."""
    taken = {
        name: column if name == "raw" or name in BLOCK_COLUMNS else column[rows]
        for name, column in columns(batch).items()
    }
    return type(batch)(**taken)


def drop_rejected(batch: AnyBatch) -> tuple[AnyBatch, dict[Reject, int]]:
    """The good rows, and how many others there were by reason (empty when all are good). Counted is what
    the sender counts: spans, log records, and data points rather than the samples they give."""
    if not batch.reject.any():
        return batch, {}
    counted = batch.reject
    if isinstance(batch, MetricBatch):
        rejected = np.flatnonzero(counted)
        counted = counted[rejected[np.diff(batch.point_off[rejected], prepend=-1) != 0]]
    counts = np.bincount(counted, minlength=len(Reject))
    by_reason = {reject: int(counts[reject]) for reject in Reject if reject and counts[reject]}
    return take_rows(batch, batch.reject == 0), by_reason


def take_blocks(batch: AnyBatch, blocks: np.ndarray[Any, Any]) -> AnyBatch:
    """A batch of these blocks alone, in ascending order: ``raw`` is their bytes end to end, rows and
    offsets are moved along. The same batch comes back when all blocks are named."""
    chosen = np.unique(np.asarray(blocks, np.int64))
    if len(chosen) == len(batch.block_off):
        return batch
    lengths = batch.block_len[chosen]
    new_off = np.cumsum(lengths) - lengths
    shift = np.zeros(len(batch.block_off), np.int64)
    shift[chosen] = new_off - batch.block_off[chosen]
    number = np.full(len(batch.block_off), -1, np.int32)
    number[chosen] = np.arange(len(chosen), dtype=np.int32)
    taken = columns(take_rows(batch, number[batch.block] >= 0))
    row_shift = shift[taken["block"]]
    for name in ROW_OFFSETS & taken.keys():
        taken[name] = taken[name] + row_shift
    resource_len = batch.resource_len[chosen]
    taken |= {
        "raw": _end_to_end(batch.raw, batch.block_off[chosen], lengths),
        "block_off": new_off,
        "block_len": lengths,
        "resource_off": np.where(resource_len > 0, batch.resource_off[chosen] + shift[chosen], 0),
        "resource_len": resource_len,
        "block": number[taken["block"]],
    }
    return type(batch)(**taken)


def _end_to_end(raw: U8, off: I64, length: I64) -> U8:
    bounds = zip(off.tolist(), (off + length).tolist(), strict=True)
    return np.concatenate([raw[:0], *(raw[start:end] for start, end in bounds)])
