"""What a reference of an answer points at, opened."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.aggregator import references, rest
from actors.aggregator.api import Api
from actors.aggregator.call import Call
from actors.aggregator.models import EvidenceReply
from actors.aggregator.reading import NS
from actors.ports import RedSeries, StreamPort
from agent.errors import NotFound
from agent.telemetry.frames import split_ref

RED_POINTS = 60  # what a person sees at a glance
RED_STEPS_S = (1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
CHANGE_REACH_S = 1


async def evidence(api: Api, call: Call) -> EvidenceReply:
    text = call.path["reference"]
    kind, found = await _open(api, call.tenant, references.parse_reference(text))
    return EvidenceReply(text, kind, found)


async def _open(api: Api, tenant: str, reference: references.Reference) -> tuple[str, Any]:
    match reference:
        case references.TraceReference(trace_id):
            return "trace", await rest.open_trace(api, tenant, trace_id)
        case references.LogReference(ref):
            return "log", await _log(api, tenant, ref)
        case references.SeriesReference():
            return "series", await _series(api, tenant, reference)
        case references.RedReference():
            return "red", await _red(api, tenant, reference)
        case references.ChangeReference():
            return "change", await _changes(api, tenant, reference)


async def _log(api: Api, tenant: str, ref: int) -> dict[str, Any]:
    stream, _ = split_ref(ref)
    if stream >= len(api.ports.streams):
        raise NotFound(f"log:{ref} names stream {stream}, and there are {len(api.ports.streams)}")
    return await api.ports.streams[stream].log(tenant, ref)


async def _series(api: Api, tenant: str, wanted: references.SeriesReference) -> list[dict[str, Any]]:
    found = await api.of_all_streams(
        lambda stream: stream.samples(
            tenant, wanted.service, wanted.instance, wanted.metric, wanted.start_ns, wanted.end_ns
        )
    )
    if not found:
        raise NotFound(
            f"no samples of {wanted.metric!r} of {wanted.service}/{wanted.instance} in that range: "
            "never sent, or older than the window"
        )
    return found


async def _red(api: Api, tenant: str, wanted: references.RedReference) -> list[RedSeries]:
    length_s = (wanted.end_ns - wanted.start_ns) / NS
    step_s = next((step for step in RED_STEPS_S if length_s / step <= RED_POINTS), length_s / RED_POINTS)
    series = await rest.red_series(
        api, tenant, wanted.service, wanted.start_ns, wanted.end_ns, step_s, bool(wanted.operation)
    )
    found = [one for one in series if one.operation == wanted.operation]
    if not found:
        raise NotFound(
            f"{wanted.service} served no operation {wanted.operation!r} in that range: "
            f"/api/v1/services/{wanted.service}/red?by=operation lists what it serves"
        )
    return found


async def _changes(api: Api, tenant: str, wanted: references.ChangeReference) -> list[dict[str, Any]]:
    start_ns = wanted.time_ns - CHANGE_REACH_S * NS
    end_ns = wanted.time_ns + (CHANGE_REACH_S + 1) * NS  # the reference may be in whole seconds
    held = await api.of_all_streams(lambda stream: _changes_of(stream, tenant, start_ns, end_ns))
    found = [change for change in held if change["source"]["service"] == wanted.service]
    if not found:
        raise NotFound(f"no change of {wanted.service!r} is held at that time: older than the window?")
    return found


async def _changes_of(stream: StreamPort, tenant: str, start_ns: int, end_ns: int) -> list[dict[str, Any]]:
    telemetry = await stream.telemetry(tenant, start_ns, end_ns, 0)  # None: holds nothing of the tenant
    return [msgspec.to_builtins(change) for change in telemetry.changes] if telemetry else []
