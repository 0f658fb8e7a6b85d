"""The answer to a question: looks whether it can look, ranks, and says what it found.

Deterministic and without a language model. It names a cause only when it is surer than the
threshold that something is odd; else it says that nothing is, or that it could not look.
"""

from __future__ import annotations

import numpy as np

from agent.rootcause.answer import Answer, Cause, CauseKind, Verdict
from agent.rootcause.baseline import NS, Baseline
from agent.rootcause.causes import causes
from agent.rootcause.question import Scope
from agent.rootcause.ranking import Findings, find
from agent.rootcause.settings import RootCauseSettings
from agent.telemetry.frames import MetricFrame, Telemetry, select

MIN_SPANS = 10


def analyse(scope: Scope, window: Telemetry, baseline: Baseline, settings: RootCauseSettings) -> Answer:
    """Answer ``scope`` from the window's telemetry held against the baseline. ``took_ms`` is the caller's to fill."""
    if scope.service is not None:
        window = restrict(window, scope.service)
    missing = _missing(scope, window, baseline)
    if missing:
        return _answer(scope, window, Verdict.NOT_ENOUGH_DATA, missing, 0.0)
    found = find(window, baseline)
    sure = found.confidence
    if sure < settings.threshold:
        return _answer(scope, window, Verdict.NOTHING_UNUSUAL, _quiet(scope, found), sure)
    ranked = causes(found, settings.max_causes)
    return _answer(scope, window, Verdict.CAUSE, _summary(ranked, sure), sure, ranked)


def restrict(window: Telemetry, service: str) -> Telemetry:
    """What has to do with ``service``: the traces that pass through it, and all that the places on
    their way sent."""
    spans = window.spans
    of_service = np.array([s.service == service for s in spans.sources], np.bool_)
    through = spans.source[np.zeros(0, np.int64)] if not len(spans) else None
    if through is None and of_service.any():
        key = np.stack([spans.trace_hi, spans.trace_lo], axis=1)
        _, trace = np.unique(key, axis=0, return_inverse=True)
        trace = trace.ravel()
        hit = np.zeros(int(trace.max()) + 1, np.bool_)
        hit[trace[of_service[spans.source]]] = True
        spans = select(spans, hit[trace])
    elif through is None:
        spans = select(spans, np.zeros(len(spans), np.bool_))
    services = {service, *(spans.sources[i].service for i in np.unique(spans.source))}
    of_log = np.array([s.service in services for s in window.logs.sources], np.bool_)
    logs = select(window.logs, of_log[window.logs.source]) if len(window.logs) else window.logs
    return Telemetry(
        start_ns=window.start_ns,
        end_ns=window.end_ns,
        spans=spans,
        logs=logs,
        metrics=_series_of(window.metrics, services),
        changes=tuple(c for c in window.changes if c.source.service in services),
    )


def _series_of(frame: MetricFrame, services: set[str]) -> MetricFrame:
    keep = np.array([s.source.service in services for s in frame.series], np.bool_)
    counts = np.diff(frame.offsets)
    rows = np.repeat(keep, counts)
    return MetricFrame(
        series=tuple(s for s, k in zip(frame.series, keep, strict=True) if k),
        cumulative=frame.cumulative[keep],
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[keep])]).astype(np.int64),
        time_ns=frame.time_ns[rows],
        value=frame.value[rows],
    )


def _missing(scope: Scope, window: Telemetry, baseline: Baseline) -> str:
    """Why no answer can be given, empty if one can."""
    what = f"of {scope.service} " if scope.service else ""
    if len(window.spans) < MIN_SPANS and not len(window.metrics):
        return f"There is no telemetry {what}in the stretch asked about: too few spans and no metrics."
    normal = baseline.normal(window.start_ns, window.end_ns)
    if not normal:
        return (
            "There is no normal time to compare with yet: nothing was learned before the stretch asked about."
        )
    if len(window.spans) >= MIN_SPANS and not any(len(s.places) for s in normal):
        return "There is no normal time to compare with yet: no traces were learned before the stretch asked about."
    return ""


def _answer(
    scope: Scope,
    window: Telemetry,
    verdict: Verdict,
    summary: str,
    sure: float,
    ranked: tuple[Cause, ...] = (),
) -> Answer:
    return Answer(
        question=scope.question,
        verdict=verdict,
        summary=summary,
        confidence=round(sure, 4),
        service=scope.service or "",
        start_s=window.start_ns / NS,
        end_s=window.end_ns / NS,
        causes=ranked,
    )


def _quiet(scope: Scope, found: Findings) -> str:
    where = scope.service or f"{len(set(found.window.places.services))} services"
    seconds = (found.window.telemetry.end_ns - found.window.telemetry.start_ns) / NS
    return (
        f"Nothing unusual: {len(found.window.trees)} spans of the last {seconds:.0f} s of {where} look as they did in "
        f"{len(found.traced)} stretches of normal time."
    )


_IN_WORDS = {
    CauseKind.SLOW_CODE: "slow code", CauseKind.SLOW_DATABASE: "a slow database call",
    CauseKind.SLOW_DEPENDENCY: "a slow call to something outside", CauseKind.ERRORS: "failures",
    CauseKind.BAD_DEPLOY: "a bad deployment", CauseKind.CPU: "a busy processor", CauseKind.MEMORY: "growing memory",
    CauseKind.RESTARTS: "restarts", CauseKind.NETWORK: "a slow network", CauseKind.POOL_EXHAUSTED: "an exhausted connection pool",
    CauseKind.CACHE: "a lost cache", CauseKind.SLOW_MODEL: "a slow model", CauseKind.TRAFFIC: "more traffic than usual",
    CauseKind.UNKNOWN: "a change in how it behaves",
}  # fmt: skip


def _summary(ranked: tuple[Cause, ...], sure: float) -> str:
    first = ranked[0]
    where = first.service if not first.instance else f"{first.service} ({first.instance})"
    return f"Most likely {_IN_WORDS[first.kind]} at {where}, {sure:.0%} sure: {first.statement}."
