"""The aiohttp application: routes, and what holds for all of them: measuring, errors, access.

measured -> errors in JSON -> access -> parse, call, render
"""

from __future__ import annotations

import asyncio
import hmac
import time
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np
import structlog
from aiohttp import WSCloseCode, hdrs, web
from aiohttp.typedefs import Handler
from opentelemetry.propagate import extract
from opentelemetry.trace import SpanKind, StatusCode

from actors.aggregator import openapi
from actors.aggregator.api import Api
from actors.aggregator.call import Call
from actors.aggregator.live import LiveHub
from actors.aggregator.metrics import Metrics
from actors.aggregator.models import ErrorReply, ReadyReply
from actors.aggregator.problems import refusal_of
from actors.aggregator.prometheus.backend import MetricBackend
from actors.aggregator.prometheus.doors import Doors
from actors.aggregator.prometheus.mount import is_mounted, mount, refuse
from actors.aggregator.prometheus.routes import PASSED
from actors.aggregator.prometheus.routes import ROUTES as PROMETHEUS_ROUTES
from actors.aggregator.reading import BadRequest, check_known, parse_tenant
from actors.aggregator.routes import (
    LIVE_PATH,
    METRICS_PATH,
    OPENAPI_PATH,
    OTHER_ROUTES,
    ROUTES,
    Route,
)
from actors.aggregator.security import SECURITY_HEADERS
from actors.aggregator.subscriptions import from_query
from actors.aggregator.websocket import Connection
from actors.ports import DEFAULT_TENANT, Status
from agent.errors import ObservabilityError, Overloaded, Unsupported

MAX_BODY_BYTES = 64 << 10
TENANT_HEADER = "X-Scope-OrgID"
JSON = "application/json"
UNKNOWN_ROUTE = "(unknown)"

log = structlog.get_logger("api")

API = web.AppKey("api", Api)
HUB = web.AppKey("hub", LiveHub)
METRICS = web.AppKey("metrics", Metrics)
SOCKETS: web.AppKey[set[web.WebSocketResponse]] = web.AppKey("sockets", set)


def make_app(
    api: Api, hub: LiveHub, metrics: Metrics, backend: MetricBackend | None = None
) -> web.Application:
    """``backend`` answers Prometheus' API, which is not there without it."""
    app = web.Application(middlewares=[_measured, _errors, _access], client_max_size=MAX_BODY_BYTES)
    app[API], app[HUB], app[METRICS] = api, hub, metrics
    app[SOCKETS] = set()
    app.on_shutdown.append(_close_sockets)
    for route in ROUTES:
        path = route.path.replace("{reference}", "{reference:.+}")
        app.router.add_route(route.method, path, _endpoint(route))
    app.router.add_get("/", _index)
    app.router.add_get(METRICS_PATH, _metrics)
    app.router.add_get(OPENAPI_PATH, _openapi)
    app.router.add_get(LIVE_PATH, _live)
    if backend is not None:
        mount(app, Doors(api, backend), _tenant)
    return app


_OPEN = {route.path for route in ROUTES if route.open} | {
    route.path for route in PROMETHEUS_ROUTES if route.open
}
_UNTRACED = {route.path for route in ROUTES if not route.traced} | set(OTHER_ROUTES) | set(PASSED)


def _template(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else UNKNOWN_ROUTE


@web.middleware
async def _measured(request: web.Request, handler: Handler) -> web.StreamResponse:
    template, began = _template(request), time.perf_counter()
    if template in _UNTRACED:
        response = await handler(request)
    else:
        response = await _traced(request, handler, template)
    if template != LIVE_PATH:  # open for hours, which says nothing of speed
        method = request.method if request.method in hdrs.METH_ALL else "other"
        request.app[METRICS].observe(method, template, response.status, time.perf_counter() - began)
    if not response.prepared:
        response.headers.update(SECURITY_HEADERS)
    return response


async def _traced(request: web.Request, handler: Handler, template: str) -> web.StreamResponse:
    attributes = {"http.request.method": request.method, "http.route": template}
    with request.app[API].tracer.start_as_current_span(
        f"{request.method} {template}", extract(request.headers), SpanKind.SERVER, attributes
    ) as span:
        response = await handler(request)
        span.set_attribute("http.response.status_code", response.status)
        if response.status >= 500:
            span.set_status(StatusCode.ERROR)
        return response


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Exception as error:
        if is_mounted(_template(request)):
            return _refused_by_prometheus(request, error)
        refusal = refusal_of(error)
        if refusal.status == 500 or (refusal.status > 500 and not isinstance(error, ObservabilityError)):
            log.error("request failed", method=request.method, path=request.path, exc_info=error)
        return _json(ErrorReply(refusal.problem), refusal.status, dict(refusal.headers))


def _refused_by_prometheus(request: web.Request, error: Exception) -> web.Response:
    response = refuse(error)
    if response.status == 500:
        log.error("request failed", method=request.method, path=request.path, exc_info=error)
    return response


def _name(host: str) -> str:
    """The name in a Host header, without its port; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    """Only names that no name server answers for: a page can make its own name point at this machine."""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


@web.middleware
async def _access(request: web.Request, handler: Handler) -> web.StreamResponse:
    settings = request.app[API].settings.aggregator
    token = settings.auth_token
    if not token and _is_loopback(settings.host) and not _is_loopback(_name(request.host)):
        raise web.HTTPForbidden(
            text=f"Host {request.host[:100]!r} is not this machine: ask for localhost, or set "
            "aggregator.auth_token to serve under another name"
        )
    if token and _template(request) not in _OPEN:
        shown = request.headers.get(hdrs.AUTHORIZATION, "")
        if not hmac.compare_digest(shown.encode(), f"Bearer {token.reveal()}".encode()):
            raise web.HTTPUnauthorized(
                text="the token is missing or wrong", headers={hdrs.WWW_AUTHENTICATE: "Bearer"}
            )
    origin = request.headers.get(hdrs.ORIGIN)
    changes = request.method not in (hdrs.METH_GET, hdrs.METH_HEAD) or _template(request) == LIVE_PATH
    if origin is not None and changes and urlsplit(origin).netloc != request.host:
        raise web.HTTPForbidden(text=f"a page of {origin[:100]} may not do this here")
    return await handler(request)


def _endpoint(route: Route) -> Handler:
    """Parse what the route declares, call its handler, render what it returns."""
    known = tuple(p.name for p in route.parameters) + (("tenant",) if route.by_tenant else ())

    async def endpoint(request: web.Request) -> web.Response:
        check_known(request.query, known)
        for name in request.query:
            if len(request.query.getall(name)) > 1:
                raise BadRequest("repeated_parameter", f"{name} is given more than once", "give it once")
        body = await _body(request, route.body) if route.body is not None else None
        call = Call(_tenant(request), request.match_info, request.query, body)
        reply = await route.handler(request.app[API], call)
        not_ready = isinstance(reply, ReadyReply) and not reply.ready
        return _json(reply, 503 if not_ready else 200)

    return endpoint


def _tenant(request: web.Request) -> str:
    return parse_tenant(request.query.get("tenant") or request.headers.get(TENANT_HEADER) or DEFAULT_TENANT)


async def _body(request: web.Request, kind: Any) -> Any:
    raw = await request.read()
    if raw and request.content_type != JSON:
        raise Unsupported("content_type", f"got a body of {request.content_type}, expected {JSON}")
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        fields = ", ".join(kind.__struct_fields__)
        raise BadRequest(
            "bad_body", f"the body is not understood: {error}", f"an object of {fields}"
        ) from None


def _plain(value: object) -> object:
    """NumPy's scalars, which a handler's dicts may hold."""
    if isinstance(value, np.generic):
        return value.item()
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


def _json(reply: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=_ENCODER.encode(reply), status=status, headers=headers, content_type=JSON)


async def _index(request: web.Request) -> web.Response:
    links = [route.path for route in ROUTES if route.method == hdrs.METH_GET and "{" not in route.path]
    return _json({"name": "kubechat-obs", "links": sorted({*links, METRICS_PATH, LIVE_PATH, OPENAPI_PATH})})


async def _openapi(request: web.Request) -> web.Response:
    return _json(openapi.document((await request.app[API].status()).version))


async def _metrics(request: web.Request) -> web.Response:
    status: Status | None
    try:
        status = await request.app[API].status()
    except ObservabilityError:
        status = None  # this actor's own figures still count
    text, content_type = request.app[METRICS].render(status, request.headers.get(hdrs.ACCEPT, ""))
    return web.Response(body=text, headers={hdrs.CONTENT_TYPE: content_type})


async def _live(request: web.Request) -> web.StreamResponse:
    settings, hub, api = request.app[API].settings.aggregator, request.app[HUB], request.app[API]
    wanted = from_query(request.query, _tenant(request))
    if hub.client_count >= settings.max_live_clients:
        raise Overloaded(
            f"{settings.max_live_clients} clients are connected (aggregator.max_live_clients)", 5.0
        )
    connection = Connection(hub, _tenant(request), settings.heartbeat_s, api.wall_clock)
    if not connection.socket.can_prepare(request).ok:
        raise BadRequest(
            "not_a_websocket", "this is a WebSocket", f"connect to ws://{request.host}{LIVE_PATH}"
        )
    sockets = request.app[SOCKETS]
    sockets.add(connection.socket)
    try:
        return await connection.run(request, wanted)
    finally:
        sockets.discard(connection.socket)


async def _close_sockets(app: web.Application) -> None:
    going = (socket.close(code=WSCloseCode.GOING_AWAY, message=b"the layer stops") for socket in app[SOCKETS])
    await asyncio.gather(*going, return_exceptions=True)
