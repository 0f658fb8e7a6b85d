"""The answer to a question: looks whether it can look, ranks, and says what it found.

Deterministic and without a language model. It names a cause only when it is surer than the
threshold that something is odd; else it says that nothing is, or that it could not look.
"""

from __future__ import annotations

import msgspec
import numpy as np

from agent.rootcause.answer import Answer, Cause, CauseKind, Verdict
from agent.rootcause.baseline import NS, Baseline
from agent.rootcause.causes import causes
from agent.rootcause.onset import onset_ns
from agent.rootcause.question import Scope
from agent.rootcause.ranking import Findings, find
from agent.rootcause.settings import RootCauseSettings
from agent.telemetry.frames import Bool, MetricFrame, Telemetry, select

MIN_SPANS = 10
# Resources speak for themselves only when so many stretches tell what they usually are: of fewer, one in
# ten places would look odd by chance.
MIN_METRIC_STRETCHES = 8
MIN_HALF_NS = 30 * NS


def analyse(scope: Scope, window: Telemetry, baseline: Baseline, settings: RootCauseSettings) -> Answer:
    """Answer ``scope`` from the window's telemetry held against the baseline. ``took_ms`` is the caller's to fill."""
    if scope.service is not None:
        window = restrict(window, scope.service)
    missing = _missing(scope, window, baseline)
    if missing:
        return _answer(scope, window, Verdict.NOT_ENOUGH_DATA, missing, 0.0)
    found = _sharpest(window, baseline, settings.threshold)
    sure = found.confidence
    if sure < settings.threshold:
        return _answer(scope, window, Verdict.NOTHING_UNUSUAL, _quiet(scope, found), sure)
    ranked = causes(found, settings.max_causes)
    answer = _answer(scope, found.window.telemetry, Verdict.CAUSE, _summary(ranked, sure), sure, ranked)
    return msgspec.structs.replace(answer, start_s=onset_ns(found, int(np.argmax(found.score))) / NS)


def _sharpest(window: Telemetry, baseline: Baseline, threshold: float) -> Findings:
    """The findings in the window, or, where it shows nothing, in its latter half: medians do not see
    what has begun only just now."""
    history = baseline.history(window.start_ns)
    found = find(window, baseline, history)
    middle_ns = (window.start_ns + window.end_ns) // 2
    if found.confidence >= threshold or window.end_ns - middle_ns < MIN_HALF_NS:
        return found
    half = find(since(window, middle_ns), baseline, history)
    # A second look may see what chance made; it has to be surer.
    return half if half.confidence >= (1.0 + threshold) / 2.0 else found


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


def since(window: Telemetry, start_ns: int) -> Telemetry:
    """The part of ``window`` from ``start_ns`` on."""
    return Telemetry(
        start_ns=start_ns,
        end_ns=window.end_ns,
        spans=select(window.spans, window.spans.start_ns >= start_ns),
        logs=select(window.logs, window.logs.time_ns >= start_ns),
        metrics=_samples(window.metrics, window.metrics.time_ns >= start_ns),
        changes=window.changes,
    )


def _series_of(frame: MetricFrame, services: set[str]) -> MetricFrame:
    keep = np.array([s.source.service in services for s in frame.series], np.bool_)
    return _samples(frame, np.repeat(keep, np.diff(frame.offsets)))


def _samples(frame: MetricFrame, keep: Bool) -> MetricFrame:
    """The series that have samples among those to keep."""
    of_series = np.repeat(np.arange(len(frame.series)), np.diff(frame.offsets))
    counts = np.bincount(of_series[keep], minlength=len(frame.series))
    rows = np.flatnonzero(counts)
    return MetricFrame(
        series=tuple(frame.series[i] for i in rows),
        cumulative=frame.cumulative[rows],
        offsets=np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[rows])]).astype(np.int64),
        time_ns=frame.time_ns[keep],
        value=frame.value[keep],
    )


def _missing(scope: Scope, window: Telemetry, baseline: Baseline) -> str:
    """Why no answer can be given, empty if one can."""
    what = f"of {scope.service} " if scope.service else ""
    if len(window.spans) < MIN_SPANS and not len(window.metrics):
        return f"There is no telemetry {what}in the stretch asked about: too few spans and no metrics."
    history = baseline.history(window.start_ns)
    normal = [*history.normal, *history.suspect]
    if not normal:
        return (
            "There is no normal time to compare with yet: nothing was learned before the stretch asked about."
        )
    stretches = sum(len(s.series) > 0 for s in normal)
    if len(window.spans) < MIN_SPANS and stretches < MIN_METRIC_STRETCHES:
        return (
            f"There are only metrics {what}in the stretch asked about, and they were seen in {stretches} stretches "
            f"before it; {MIN_METRIC_STRETCHES} tell what is usual."
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
