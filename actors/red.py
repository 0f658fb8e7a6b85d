"""RED series as the API gives them, from the stores of the streams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from actors.ports import RedSeries
from agent.detection.meshwatch import Traced
from agent.detection.red import RedBins, RedKind, concat_bins
from agent.detection.redstore import RedStore, RedStoreSettings

FIGURES = ("rate_per_s", "error_ratio", "p50_ms", "p95_ms", "p99_ms")


@dataclass(frozen=True, slots=True)
class RedAsked:
    """``[start_ns, end_ns)`` of one service or all; the whole of each, or each of its operations and calls."""

    tenant: str
    service: str | None
    start_ns: int
    end_ns: int
    step_s: float
    by_operation: bool


def red_of_store(store: RedStore, asked: RedAsked) -> list[RedSeries]:
    """Served requests of each service (one series for the whole, ``operation`` empty), or of each operation
    and call."""
    stored = store.keys()
    keys = [key for key in stored if key.tenant == asked.tenant and asked.service in (None, key.service)]
    if asked.by_operation:
        wanted = [(key.service, key.operation, key.kind) for key in keys]
    else:
        wanted = [(name, "", RedKind.SERVED) for name in sorted({key.service for key in keys})]
    return [_series(store, asked, *one) for one in wanted]


def with_mesh(series: Sequence[RedSeries], mesh: Sequence[RedBins], asked: RedAsked) -> list[RedSeries]:
    """The series of spans, and those of services and times of which only a mesh tells: ``mesh`` is what each
    stream holds of it."""
    if not any(len(bins) for bins in mesh):
        return list(series)
    traced = Traced()
    for one in series:
        at = np.flatnonzero(np.asarray(one.rate_per_s) > 0)
        if len(at):
            first_s, last_s = one.start_s[at[0]], one.start_s[at[-1]] + asked.step_s
            traced.note(one.service, RedKind(one.kind), round(first_s * 1e9), round(last_s * 1e9))
    store = RedStore(RedStoreSettings(keep_s=math.inf, max_bytes=2**62))
    store.add(traced.without(concat_bins(mesh)))
    found = {(one.service, one.operation, one.kind): one for one in series}
    for one in red_of_store(store, asked):
        key = one.service, one.operation, one.kind
        found[key] = _filled(found[key], one) if key in found else one
    return [found[key] for key in sorted(found)]


def _filled(spans: RedSeries, mesh: RedSeries) -> RedSeries:
    """Spans where they tell of requests, else the mesh."""
    told = np.asarray(spans.rate_per_s) > 0
    figures = {name: np.where(told, getattr(spans, name), getattr(mesh, name)).tolist() for name in FIGURES}
    return RedSeries(
        service=spans.service, operation=spans.operation, kind=spans.kind, start_s=spans.start_s, **figures
    )


def _series(store: RedStore, asked: RedAsked, service: str, operation: str, kind: RedKind) -> RedSeries:
    found = store.query(
        service, operation or None, asked.start_ns, asked.end_ns, asked.step_s, tenant=asked.tenant, kind=kind
    )
    return RedSeries(
        service=service,
        operation=operation,
        kind=kind.value,
        start_s=(found.start_ns / 1e9).tolist(),
        rate_per_s=found.rate.tolist(),
        error_ratio=found.error_ratio.tolist(),
        p50_ms=(found.p50_ns / 1e6).tolist(),
        p95_ms=(found.p95_ns / 1e6).tolist(),
        p99_ms=(found.p99_ns / 1e6).tolist(),
    )
