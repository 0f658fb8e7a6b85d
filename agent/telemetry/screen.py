"""Bounds that depend on the clock or the settings: which rows of a decoded batch are refused for them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from agent.telemetry.batch import AnyBatch, LogBatch, MetricBatch, Reject, SpanBatch
from agent.telemetry.frames import I64, U8

_MAX_NS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Limits:
    """``max_past_s``, ``max_future_s``: how far a row may lie from the clock, inclusive.
    ``max_name_bytes`` bounds span and metric names, ``max_row_bytes`` one span, log record or data point."""

    max_past_s: float
    max_future_s: float
    max_name_bytes: int
    max_row_bytes: int


def screen(batch: AnyBatch, now_ns: int, limits: Limits) -> AnyBatch:
    """The batch with further rows marked in ``reject``; a row that is refused already keeps its reason.
    A span is too old by its start and in the future by its end."""
    earliest = max(0, now_ns - int(limits.max_past_s * 1e9))
    latest = min(_MAX_NS, now_ns + int(limits.max_future_s * 1e9))
    first, last, name_len, row_len = _bounded_columns(batch)
    reject = batch.reject.copy()
    _mark(reject, first < earliest, Reject.TOO_OLD)
    _mark(reject, last > latest, Reject.IN_THE_FUTURE)
    _mark(reject, name_len > limits.max_name_bytes, Reject.NAME_TOO_LONG)
    _mark(reject, row_len > limits.max_row_bytes, Reject.ROW_TOO_LARGE)
    return replace(batch, reject=reject)


def _bounded_columns(batch: SpanBatch | LogBatch | MetricBatch) -> tuple[I64, I64, I64, I64]:
    match batch:
        case SpanBatch():
            return batch.start_ns, batch.end_ns, batch.name_len, batch.len
        case LogBatch():
            return batch.time_ns, batch.time_ns, np.zeros_like(batch.len), batch.len
        case MetricBatch():
            return batch.time_ns, batch.time_ns, batch.name_len, batch.point_len


def _mark(reject: U8, rows: np.ndarray[tuple[int], np.dtype[np.bool_]], reason: Reject) -> None:
    reject[rows & (reject == Reject.NONE)] = reason
