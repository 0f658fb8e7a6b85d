"""REST handlers: each takes what was asked, calls one thing and says what to render."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Any

from actors.aggregator import incidents as incident_views
from actors.aggregator import models
from actors.aggregator.api import Api
from actors.aggregator.call import Call
from actors.aggregator.reading import NS, BadRequest, parse_time_ns
from actors.aggregator.references import parse_trace_id
from actors.aggregator.trees import depth_first
from actors.ports import RedSeries, SourceInfo, Status
from actors.red import FIGURES, RedAsked, with_mesh
from agent.detection.red import RedBins
from agent.errors import NotFound, StoreError
from agent.rootcause.answer import Answer

SUMMARY_S = 60
MAX_POINTS = 11_000
MAX_QUESTION_CHARS = 2_000


async def healthz(api: Api, call: Call) -> models.HealthReply:
    return models.HealthReply("up")


async def readyz(api: Api, call: Call) -> models.ReadyReply:
    waiting = waiting_for(await api.status())
    return models.ReadyReply(not waiting, waiting)


def waiting_for(status: Status) -> dict[str, str]:
    """The actors that are not ready, each with the reason."""
    waiting = {a.name: a.detail or a.state for a in status.actors if a.state != "ready"}
    return waiting or ({} if status.state == "ready" else {"layer": status.state})


async def status(api: Api, call: Call) -> Status:
    return await api.status()


async def sources(api: Api, call: Call) -> models.SourcesReply:
    found = await api.of_all_streams(lambda stream: stream.sources(call.tenant))
    service = call.text("service")
    kept = [source for source in found if not service or source.service == service]
    return models.SourcesReply(call.tenant, sorted(kept, key=lambda s: (s.service, s.instance)))


async def services(api: Api, call: Call) -> models.ServicesReply:
    now_ns = await api.now_ns(call.tenant)
    since_ns = now_ns - SUMMARY_S * NS
    asked = RedAsked(call.tenant, None, since_ns, now_ns, SUMMARY_S, by_operation=False)
    found, (series, mesh) = await asyncio.gather(
        api.of_all_streams(lambda stream: stream.sources(call.tenant)), _red_of_all(api, asked)
    )
    return models.ServicesReply(
        call.tenant, now_ns / NS, sorted(_summaries(found, series, mesh), key=lambda one: one.service)
    )


async def _red_of_all(api: Api, asked: RedAsked) -> tuple[list[RedSeries], list[RedBins]]:
    """The RED series, and what a mesh tells."""
    a = asked
    spans, mesh = await asyncio.gather(
        api.of_all_streams(
            lambda stream: stream.red(a.tenant, a.service, a.start_ns, a.end_ns, a.step_s, a.by_operation)
        ),
        api.of_all_streams(lambda stream: stream.mesh(a.tenant, a.service, a.start_ns, a.end_ns)),
    )
    return await asyncio.to_thread(with_mesh, spans, mesh, asked), mesh


def _summaries(
    found: list[SourceInfo], series: list[RedSeries], mesh: list[RedBins]
) -> Iterable[models.ServiceSummary]:
    served = {one.service: one for one in series if one.kind == "served" and not one.operation}
    by_service: dict[str, list[SourceInfo]] = {}
    for source in found:
        by_service.setdefault(source.service, []).append(source)
    for name in sorted(by_service):
        members = by_service[name]
        red = served.get(name)
        yield models.ServiceSummary(
            service=name,
            namespace=members[0].namespace,
            instances=len(members),
            versions=sorted({m.version for m in members if m.version}),
            last_seen_s=max(m.last_seen_ns for m in members) / NS,
            **_figures(red),
        )
    namespaces = {key.service: key.namespace for bins in mesh for key in bins.keys}
    seen_ns = max((int(bins.bin_start_ns.max()) for bins in mesh if len(bins)), default=0)
    for name in sorted(namespaces.keys() & served.keys() - by_service.keys()):  # of which only a mesh tells
        yield models.ServiceSummary(
            service=name,
            namespace=namespaces[name],
            instances=0,
            versions=[],
            last_seen_s=seen_ns / NS,
            **_figures(served[name]),
        )


def _figures(red: RedSeries | None) -> dict[str, float | None]:
    return {name: _last(getattr(red, name) if red else []) for name in FIGURES}


def _last(values: list[float]) -> float | None:
    """The newest value that is one: the last step may have only begun."""
    return next((v for v in reversed(values) if not math.isnan(v)), None)


async def red(api: Api, call: Call) -> models.RedReply:
    service = call.path["service"]
    start_ns, end_ns = await call.stretch(api, "now-15m")
    step_s = call.number("step", 10.0, 1.0, 86_400.0)
    check_points(start_ns, end_ns, step_s)
    by_operation = call.choice("by", ("service", "operation")) == "operation"
    series = await red_series(api, call.tenant, service, start_ns, end_ns, step_s, by_operation)
    return models.RedReply(service, start_ns / NS, end_ns / NS, step_s, series)


def check_points(start_ns: int, end_ns: int, step_s: float) -> None:
    points = (end_ns - start_ns) / NS / step_s
    if points > MAX_POINTS:
        hint = f"at most {MAX_POINTS} points a series: a step of {math.ceil(points * step_s / MAX_POINTS)} s or a shorter stretch"
        raise BadRequest("too_many_points", f"start to end at this step is {points:.0f} points", hint)


async def red_series(
    api: Api, tenant: str, service: str, start_ns: int, end_ns: int, step_s: float, by_operation: bool
) -> list[RedSeries]:
    series, _ = await _red_of_all(api, RedAsked(tenant, service, start_ns, end_ns, step_s, by_operation))
    if not series:
        known = await api.of_all_streams(lambda stream: stream.sources(tenant))
        if service not in {source.service for source in known}:
            raise NotFound(
                f"no service {service!r} in tenant {tenant!r}; /api/v1/services lists what there is"
            )
    return series


async def topology(api: Api, call: Call) -> models.TopologyReply:
    edges, found = await asyncio.gather(
        api.ports.correlator.topology(call.tenant),
        api.of_all_streams(lambda stream: stream.sources(call.tenant)),
    )
    names = {source.service for source in found}
    names.update(str(edge[end]) for edge in edges for end in ("caller", "callee") if edge.get(end))
    return models.TopologyReply(call.tenant, sorted(names), edges)


async def incidents(api: Api, call: Call) -> models.IncidentsReply:
    since = call.text("since")
    since_s = parse_time_ns("since", since, await api.now_ns(call.tenant)) / NS if since else 0.0
    wanted = incident_views.Filter(
        status=call.text("status"),
        service=call.text("service"),
        severity=call.text("severity"),
        since_s=since_s,
        limit=int(call.number("limit", 100, 1, 1_000)),
    )
    found, partial = await _all_incidents(api, call.tenant, wanted)
    return models.IncidentsReply(call.tenant, incident_views.select(found, wanted), partial)


async def _all_incidents(
    api: Api, tenant: str, wanted: incident_views.Filter
) -> tuple[list[dict[str, Any]], str]:
    """Of this run and of earlier ones; where the store is away, of this run, and the reason."""
    held = await api.ports.correlator.incidents(tenant)
    if api.store is None:
        return held, ""
    try:
        kept = await api.store.incidents(tenant, wanted.since_s, incident_views.STORE_LIMIT)
    except StoreError as error:
        return held, f"only incidents of this run: {error}"
    return incident_views.merge(held, kept), ""


async def incident(api: Api, call: Call) -> dict[str, Any]:
    incident_id = call.path["id"]
    every = await api.ports.correlator.incidents(call.tenant)
    held = [one for one in every if str(one.get("id")) == incident_id]
    kept = await _kept_incident(api, call.tenant, incident_id, must=not held)
    found = incident_views.merge(held, [kept] if kept else [])
    if not found:
        raise NotFound(
            f"no incident {incident_id!r} in tenant {call.tenant!r}; /api/v1/incidents lists what there is"
        )
    return found[0]


async def _kept_incident(api: Api, tenant: str, incident_id: str, *, must: bool) -> dict[str, Any] | None:
    """``must``: nobody else knows it, so that a store that is away is an error and not a "there is none"."""
    if api.store is None:
        return None
    try:
        return await api.store.incident(tenant, incident_id)
    except StoreError:
        if must:
            raise
        return None


async def acknowledge(api: Api, call: Call) -> dict[str, Any]:
    return await _decide(api, call, "acknowledged")


async def resolve(api: Api, call: Call) -> dict[str, Any]:
    return await _decide(api, call, "resolved")


async def _decide(api: Api, call: Call, new_status: str) -> dict[str, Any]:
    current = await incident(api, call)
    if str(current.get("status")) == new_status:
        return current  # a retry of a request whose answer was lost
    if str(current.get("status")) == "resolved":
        hint = "an incident that comes back is a new incident"
        raise BadRequest("already_resolved", f"incident {call.path['id']} is resolved", hint)
    if api.store is None:
        raise StoreError("no database is connected, so the decision would be lost; start the layer with one")
    decision = call.body if isinstance(call.body, models.Decision) else models.Decision()
    changed = await api.store.set_incident_status(
        call.tenant, call.path["id"], new_status, decision.by, decision.note, api.wall_clock()
    )
    if changed is None:
        raise StoreError(f"incident {call.path['id']} is not yet in the database; try again in a second")
    return incident_views.merge([current], [changed])[0]


async def ask(api: Api, call: Call) -> Answer:
    if isinstance(call.body, models.Ask):
        at = None if call.body.at is None else str(call.body.at)
        return await _answer(api, call.body.tenant or call.tenant, call.body.question, call.body.service, at)
    question = call.text("q")
    return await _answer(api, call.tenant, question, call.text("service") or None, call.text("at") or None)


async def _answer(api: Api, tenant: str, question: str, service: str | None, at: str | None) -> Answer:
    if not question.strip() or len(question) > MAX_QUESTION_CHARS:
        got = f"question: got {len(question)} characters"
        hint = f'write 1 to {MAX_QUESTION_CHARS} characters, such as "why is latency up?"'
        raise BadRequest("bad_question", got, hint)
    at_ns = parse_time_ns("at", at, await api.now_ns(tenant)) if at else None
    with api.tracer.start_as_current_span(
        "ask", attributes={"tenant": tenant, "service": service or ""}
    ) as span:
        async with asyncio.timeout(api.settings.aggregator.ask_timeout_s):
            answer = await api.ports.correlator.ask(question.strip(), service, at_ns, tenant)
        span.set_attributes({"verdict": answer.verdict.value, "confidence": answer.confidence})
    return answer


async def trace(api: Api, call: Call) -> models.TraceReply:
    return await open_trace(api, call.tenant, parse_trace_id(call.path["trace_id"]))


async def open_trace(api: Api, tenant: str, trace_id: str) -> models.TraceReply:
    spans = await api.of_all_streams(lambda stream: stream.trace(tenant, trace_id))
    if not spans:
        raise NotFound(
            f"trace {trace_id} is not held in tenant {tenant!r}: never sent, or older than the window"
        )
    return models.TraceReply(trace_id, depth_first(spans))
