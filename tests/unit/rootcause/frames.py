"""Small frames written as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.telemetry.frames import (
    KIND_INTERNAL,
    NO_LOGS,
    STATUS_UNSET,
    SYSTEM_NONE,
    LogFrame,
    SpanFrame,
)
from agent.telemetry.source import Source


@dataclass(frozen=True)
class S:
    """A span; ``at`` is ``service`` or ``service/instance``, times are ns."""

    id: int
    parent: int
    at: str
    name: str
    start: int
    end: int
    kind: int = KIND_INTERNAL
    status: int = STATUS_UNSET
    system: int = SYSTEM_NONE
    trace: int = 1


@dataclass(frozen=True)
class L:
    """A line of a span."""

    time: int
    span: int
    at: str
    text: str
    severity: int = 9
    trace: int = 1


def source(at: str) -> Source:
    service, _, instance = at.partition("/")
    return Source("default", service, instance=instance)


def spans(rows: Sequence[S]) -> SpanFrame:
    places = list(dict.fromkeys(r.at for r in rows))
    names = list(dict.fromkeys(r.name for r in rows))
    return SpanFrame(
        trace_hi=np.zeros(len(rows), np.uint64),
        trace_lo=np.array([r.trace for r in rows], np.uint64),
        span_id=np.array([r.id for r in rows], np.uint64),
        parent_id=np.array([r.parent for r in rows], np.uint64),
        start_ns=np.array([r.start for r in rows], np.int64),
        end_ns=np.array([r.end for r in rows], np.int64),
        kind=np.array([r.kind for r in rows], np.uint8),
        status=np.array([r.status for r in rows], np.uint8),
        system=np.array([r.system for r in rows], np.uint8),
        source=np.array([places.index(r.at) for r in rows], np.int32),
        name=np.array([names.index(r.name) for r in rows], np.int32),
        ref=np.full(len(rows), -1, np.int64),
        sources=tuple(source(at) for at in places),
        names=tuple(names),
    )


def logs(rows: Sequence[L]) -> LogFrame:
    if not rows:
        return NO_LOGS
    places = list(dict.fromkeys(r.at for r in rows))
    texts = list(dict.fromkeys(r.text for r in rows))
    return LogFrame(
        time_ns=np.array([r.time for r in rows], np.int64),
        trace_hi=np.zeros(len(rows), np.uint64),
        trace_lo=np.array([r.trace for r in rows], np.uint64),
        span_id=np.array([r.span for r in rows], np.uint64),
        severity=np.array([r.severity for r in rows], np.uint8),
        source=np.array([places.index(r.at) for r in rows], np.int32),
        template=np.array([texts.index(r.text) for r in rows], np.int32),
        ref=np.full(len(rows), -1, np.int64),
        sources=tuple(source(at) for at in places),
        templates=tuple(texts),
    )
