"""Frames: columns of telemetry as they are handed from the windows to whoever analyses them.

A frame is a set of equally long NumPy columns, one row a span, log record or sample, and the tables
that its integer columns point into. Frames are read-only by convention: nobody writes into a column
that was handed over. ``ref`` is where the raw bytes lie: ``stream << 48 | position in its log``;
-1 where there are none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from agent.telemetry.source import Source

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

KIND_UNSPECIFIED, KIND_INTERNAL, KIND_SERVER, KIND_CLIENT, KIND_PRODUCER, KIND_CONSUMER = range(6)
STATUS_UNSET, STATUS_OK, STATUS_ERROR = range(3)

# What a span talks to, told by the prefix of its attribute names (db.*, gen_ai.*, ...); the most telling one wins.
SYSTEM_NONE, SYSTEM_HTTP, SYSTEM_RPC, SYSTEM_MESSAGING, SYSTEM_DB, SYSTEM_GEN_AI = range(6)

REF_SHIFT = 48


def split_ref(ref: int) -> tuple[int, int]:
    """``(stream, position)`` of a reference."""
    return ref >> REF_SHIFT, ref & ((1 << REF_SHIFT) - 1)


@dataclass(frozen=True, slots=True)
class SpanFrame:
    """One row a span. ``parent_id`` 0 is a root; ids are big-endian integers; times are Unix ns."""

    trace_hi: U64
    trace_lo: U64
    span_id: U64
    parent_id: U64
    start_ns: I64
    end_ns: I64
    kind: U8
    status: U8
    system: U8
    source: I32
    name: I32
    ref: I64
    sources: tuple[Source, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.span_id)


@dataclass(frozen=True, slots=True)
class LogFrame:
    """One row a log record. ``severity`` is OTLP's 1 to 24, 0 unset; no trace is 0, 0.
    ``templates`` holds the masked texts, not the bodies."""

    time_ns: I64
    trace_hi: U64
    trace_lo: U64
    span_id: U64
    severity: U8
    source: I32
    template: I32
    ref: I64
    sources: tuple[Source, ...]
    templates: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """A metric series: its source, its name and its own labels, sorted by name."""

    source: Source
    name: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class MetricFrame:
    """Samples grouped by series: those of ``series[i]`` are rows ``offsets[i]:offsets[i + 1]``, in
    time order. ``cumulative[i]`` says that the values are a running total (take differences)."""

    series: tuple[Series, ...]
    cumulative: Bool
    offsets: I64
    time_ns: I64
    value: F64

    def __len__(self) -> int:
        return len(self.time_ns)


@dataclass(frozen=True, slots=True)
class ChangeEvent:
    """Something that was changed, as opposed to something that went wrong.

    ``kind`` is ``version`` (a service runs another version), ``restart`` (an instance was replaced)
    or ``event`` (reported from outside). ``text`` is fit to show."""

    time_ns: int
    source: Source
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Telemetry:
    """What an analysis reads: all signals of one stretch of event time, ``start_ns`` inclusive,
    ``end_ns`` exclusive. A span belongs to the stretch in which it ended."""

    start_ns: int
    end_ns: int
    spans: SpanFrame
    logs: LogFrame
    metrics: MetricFrame
    changes: tuple[ChangeEvent, ...] = ()


Rows = TypeVar("Rows", SpanFrame, LogFrame)


def select(frame: Rows, rows: Bool | I64) -> Rows:
    """The rows of ``frame`` that a mask or an index array names; the tables stay shared."""
    taken: dict[str, Any] = {f.name: getattr(frame, f.name) for f in fields(frame)}
    for name, column in taken.items():
        if isinstance(column, np.ndarray):
            taken[name] = column[rows]
    return type(frame)(**taken)


def concat_spans(frames: Sequence[SpanFrame]) -> SpanFrame:
    """One frame with the rows of all, in the order given; the tables are merged."""
    return _concat(SpanFrame, frames, {"source": "sources", "name": "names"})


def concat_logs(frames: Sequence[LogFrame]) -> LogFrame:
    """One frame with the rows of all, in the order given; the tables are merged."""
    return _concat(LogFrame, frames, {"source": "sources", "template": "templates"})


def concat_metrics(frames: Sequence[MetricFrame]) -> MetricFrame:
    """One frame with the series of all. A series lives in one stream, so none stands in two frames."""
    lengths = [np.diff(f.offsets) for f in frames]
    return MetricFrame(
        series=tuple(series for f in frames for series in f.series),
        cumulative=np.concatenate([np.zeros(0, np.bool_), *(f.cumulative for f in frames)]),
        offsets=np.concatenate(
            [np.zeros(1, np.int64), np.cumsum(np.concatenate([np.zeros(0, np.int64), *lengths]))]
        ),
        time_ns=np.concatenate([np.zeros(0, np.int64), *(f.time_ns for f in frames)]),
        value=np.concatenate([np.zeros(0, np.float64), *(f.value for f in frames)]),
    )


def concat(parts: Sequence[Telemetry]) -> Telemetry:
    """What several streams hold of the same stretch, as one."""
    if not parts:
        raise ValueError("concat of no telemetry: pass at least one part")
    return Telemetry(
        start_ns=min(part.start_ns for part in parts),
        end_ns=max(part.end_ns for part in parts),
        spans=concat_spans([part.spans for part in parts]),
        logs=concat_logs([part.logs for part in parts]),
        metrics=concat_metrics([part.metrics for part in parts]),
        changes=tuple(sorted((c for part in parts for c in part.changes), key=lambda c: c.time_ns)),
    )


_DTYPES: dict[str, type] = {
    "trace_hi": np.uint64, "trace_lo": np.uint64, "span_id": np.uint64, "parent_id": np.uint64,
    "kind": np.uint8, "status": np.uint8, "system": np.uint8, "severity": np.uint8,
    "source": np.int32, "name": np.int32, "template": np.int32,
    "start_ns": np.int64, "end_ns": np.int64, "time_ns": np.int64, "ref": np.int64,
}  # fmt: skip


def _concat(cls: type[Rows], frames: Sequence[Rows], tables: dict[str, str]) -> Rows:
    merged: dict[str, Any] = {}
    for column, table in tables.items():
        index: dict[object, int] = {}
        parts = [np.zeros(0, np.int32)]
        for frame in frames:
            codes = [index.setdefault(entry, len(index)) for entry in getattr(frame, table)]
            parts.append(np.asarray(codes, np.int32)[getattr(frame, column)] if codes else parts[0])
        merged[column], merged[table] = np.concatenate(parts), tuple(index)
    plain: str
    for plain, dtype in _DTYPES.items():
        if plain in cls.__dataclass_fields__ and plain not in merged:
            columns = [np.zeros(0, dtype), *(getattr(frame, plain) for frame in frames)]
            merged[plain] = np.concatenate(columns)
    return cls(**merged)


NO_SPANS = concat_spans([])
NO_LOGS = concat_logs([])
NO_METRICS = concat_metrics([])
