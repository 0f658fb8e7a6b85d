"""Spans and bins by hand, in the words of the tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from agent.detection.histogram import BUCKETS, bucket_of
from agent.detection.red import RedBins, RedKey, RedKind
from agent.telemetry.frames import KIND_SERVER, STATUS_ERROR, SYSTEM_NONE, SpanFrame
from agent.telemetry.source import Source

S = 1_000_000_000
T0 = 1_700_000_000 * S


class Sp(NamedTuple):
    """A span: ``end_s`` and ``took_s`` in seconds since T0."""

    service: str
    name: str
    end_s: float
    took_s: float = 0.01
    kind: int = KIND_SERVER
    system: int = SYSTEM_NONE
    failed: bool = False
    trace: int = 1
    span: int = 1
    parent: int = 0


def frame(
    *spans: Sp, services: Sequence[str] = (), names: Sequence[str] = (), tenant: str = "default"
) -> SpanFrame:
    """``services`` and ``names`` fix the order of the tables; what they lack is appended."""
    services = list(dict.fromkeys([*services, *(s.service for s in spans)]))
    names = list(dict.fromkeys([*names, *(s.name for s in spans)]))
    end = np.asarray([T0 + round(s.end_s * S) for s in spans], np.int64)
    return SpanFrame(
        trace_hi=np.zeros(len(spans), np.uint64),
        trace_lo=np.asarray([s.trace for s in spans], np.uint64),
        span_id=np.asarray([s.span for s in spans], np.uint64),
        parent_id=np.asarray([s.parent for s in spans], np.uint64),
        start_ns=end - np.asarray([round(s.took_s * S) for s in spans], np.int64),
        end_ns=end,
        kind=np.asarray([s.kind for s in spans], np.uint8),
        status=np.asarray([STATUS_ERROR * s.failed for s in spans], np.uint8),
        system=np.asarray([s.system for s in spans], np.uint8),
        source=np.asarray([services.index(s.service) for s in spans], np.int32),
        name=np.asarray([names.index(s.name) for s in spans], np.int32),
        ref=np.full(len(spans), -1, np.int64),
        sources=tuple(Source(tenant, service) for service in services),
        names=tuple(names),
    )


def key(service: str, operation: str = "op", tenant: str = "default") -> RedKey:
    return RedKey(service, "", tenant, operation, RedKind.SERVED)


def bin_of(at_s: float, *series: tuple[RedKey, Sequence[float], int]) -> RedBins:
    """One bin: for each series its key, the durations of its requests in seconds, and how many failed."""
    buckets = np.zeros((len(series), BUCKETS), np.int32)
    for row, (_, durations, _) in enumerate(series):
        for duration in durations:
            buckets[row, bucket_of(duration * S)] += 1
    return RedBins(
        keys=tuple(k for k, _, _ in series),
        series=np.arange(len(series), dtype=np.int32),
        bin_start_ns=np.full(len(series), T0 + round(at_s * S), np.int64),
        count=np.asarray([len(d) for _, d, _ in series], np.int64),
        errors=np.asarray([e for _, _, e in series], np.int64),
        sum_ns=np.asarray([round(sum(d) * S) for _, d, _ in series], np.int64),
        buckets=buckets,
    )
