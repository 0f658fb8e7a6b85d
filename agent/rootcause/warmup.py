"""Compile the kernels before the first question, so that nobody waits for it.

Numba keeps what it compiled on disk; on a machine that has not run the layer before this takes some
seconds, later a fraction of one.
"""

from __future__ import annotations

import numpy as np

from agent.rootcause.baseline import NS, Baseline
from agent.rootcause.ranking import find
from agent.rootcause.settings import RootCauseSettings
from agent.telemetry.frames import (
    KIND_CLIENT,
    KIND_SERVER,
    LogFrame,
    MetricFrame,
    Series,
    SpanFrame,
    Telemetry,
)
from agent.telemetry.source import Source


def warm_up() -> None:
    """Learn and ask once about one made-up trace of two services."""
    baseline = Baseline(RootCauseSettings())
    baseline.learn(_one_trace(0))
    window = _one_trace(600 * NS)
    find(window, baseline, baseline.history(window.start_ns))


def _one_trace(start_ns: int) -> Telemetry:
    sources = (Source("warm-up", "a", instance="a-1"), Source("warm-up", "b", instance="b-1"))
    starts = start_ns + np.array([1, 2, 3], np.int64) * 1_000_000
    spans = SpanFrame(
        trace_hi=np.ones(3, np.uint64),
        trace_lo=np.ones(3, np.uint64),
        span_id=np.array([1, 2, 3], np.uint64),
        parent_id=np.array([0, 1, 2], np.uint64),
        start_ns=starts,
        end_ns=starts[::-1] + 10_000_000,
        kind=np.array([KIND_SERVER, KIND_CLIENT, KIND_SERVER], np.uint8),
        status=np.zeros(3, np.uint8),
        system=np.zeros(3, np.uint8),
        source=np.array([0, 0, 1], np.int32),
        name=np.array([0, 1, 0], np.int32),
        ref=np.full(3, -1, np.int64),
        sources=sources,
        names=("in", "out"),
    )
    logs = LogFrame(
        time_ns=starts[:1] + 1000,
        trace_hi=np.ones(1, np.uint64),
        trace_lo=np.ones(1, np.uint64),
        span_id=np.ones(1, np.uint64),
        severity=np.full(1, 9, np.uint8),
        source=np.zeros(1, np.int32),
        template=np.zeros(1, np.int32),
        ref=np.full(1, -1, np.int64),
        sources=sources,
        templates=("line",),
    )
    metrics = MetricFrame(
        series=(Series(sources[0], "process.cpu.utilization"),),
        cumulative=np.zeros(1, np.bool_),
        offsets=np.array([0, 1], np.int64),
        time_ns=starts[:1],
        value=np.zeros(1),
    )
    return Telemetry(start_ns, start_ns + 60 * NS, spans, logs, metrics)
