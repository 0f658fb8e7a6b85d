"""``write`` and ``otlp/v1/metrics``: bodies that are passed on, as they stream in, to the layer's gateway."""

from __future__ import annotations

import aiohttp
from aiohttp import hdrs, web

from actors.aggregator.prometheus.doors import Doors
from actors.aggregator.prometheus.problems import ApiError, ErrorType
from agent.errors import ObservabilityError

OTLP_HTTP = "otlp/http"
CONNECT_S, TOTAL_S = 5.0, 60.0
_SENT = ("Content-Type", "Content-Encoding", "Content-Length", "User-Agent", "X-Scope-OrgID",
         "X-Prometheus-Remote-Write-Version", "traceparent", "tracestate")  # fmt: skip
_ANSWERED = ("content-type", "retry-after")
_WRITTEN = "x-prometheus-remote-write-"


async def write(doors: Doors, request: web.Request, tenant: str) -> web.StreamResponse:
    return await _passed(doors, request, tenant, "/api/v1/write")


async def otlp_metrics(doors: Doors, request: web.Request, tenant: str) -> web.StreamResponse:
    return await _passed(doors, request, tenant, "/v1/metrics")


async def _passed(doors: Doors, request: web.Request, tenant: str, path: str) -> web.StreamResponse:
    headers = {name: request.headers[name] for name in _SENT if name in request.headers}
    headers["X-Scope-OrgID"] = tenant
    if token := doors.api.settings.gateway.auth_token.reveal():
        headers[hdrs.AUTHORIZATION] = f"Bearer {token}"
    url = await _gateway(doors)
    try:
        async with doors.http.post(url + path, data=request.content, headers=headers) as answer:
            return web.Response(status=answer.status, body=await answer.read(), headers=_kept(answer))
    except TimeoutError:
        raise ApiError(ErrorType.UNAVAILABLE, "the gateway did not answer in time; send it again") from None
    except aiohttp.ClientError:
        raise ApiError(ErrorType.UNAVAILABLE, "the gateway does not answer; send it again") from None


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {
        name: value
        for name, value in answer.headers.items()
        if name.lower() in _ANSWERED or name.lower().startswith(_WRITTEN)
    }


async def _gateway(doors: Doors) -> str:
    """Where the gateway takes bodies by HTTP, seen from this machine."""
    try:
        actors = (await doors.api.status()).actors
    except ObservabilityError as error:
        raise ApiError(ErrorType.UNAVAILABLE, str(error)) from None
    for one in actors:
        if url := one.listens.get(OTLP_HTTP, ""):
            return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:").rstrip("/")
    raise ApiError(ErrorType.UNAVAILABLE, "the gateway does not listen yet; send it again")
