"""The one door: puts the routes of Prometheus' API into the application, and renders their errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from actors.aggregator.prometheus import passing
from actors.aggregator.prometheus.doors import Doors
from actors.aggregator.prometheus.form import read_form
from actors.aggregator.prometheus.problems import api_error_of, status_and_headers
from actors.aggregator.prometheus.replies import JSON, error_body, send
from actors.aggregator.prometheus.routes import PATHS, ROUTES, PrometheusRoute
from actors.aggregator.prometheus.series import load_kernels

DOORS = web.AppKey("prometheus", Doors)

ReadTenant = Callable[[web.Request], str]


def mount(app: web.Application, doors: Doors, tenant_of: ReadTenant) -> None:
    app[DOORS] = doors
    app.cleanup_ctx.append(_open)
    for route in ROUTES:
        for method in route.methods:
            app.router.add_route(method, route.path, _endpoint(route, tenant_of))
        if hdrs.METH_GET in route.methods:
            app.router.add_route(hdrs.METH_HEAD, route.path, _endpoint(route, tenant_of))
        app.router.add_route(
            hdrs.METH_OPTIONS, route.path, _options(", ".join((*route.methods, "HEAD", "OPTIONS")))
        )
    for path, handler in (
        ("/api/v1/write", passing.write),
        ("/api/v1/otlp/v1/metrics", passing.otlp_metrics),
    ):
        app.router.add_post(path, _passing(handler, tenant_of))


def is_mounted(path: str) -> bool:
    """Whether the template of a route is one of Prometheus' API."""
    return path in PATHS


def refuse(error: Exception) -> web.Response:
    """The error of a route as Prometheus' API says it."""
    status, headers = status_and_headers(error)
    told = api_error_of(error)
    body = error_body(told.kind, told.message)
    return web.Response(body=body, status=status, headers=headers, content_type=JSON)


def _endpoint(route: PrometheusRoute, tenant_of: ReadTenant) -> Handler:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        form = await read_form(request, tenant_of(request))
        return await send(request, await route.handler(request.app[DOORS], request, form))

    return endpoint


def _passing(
    handler: Callable[[Doors, web.Request, str], Awaitable[web.StreamResponse]], tenant_of: ReadTenant
) -> Handler:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        return await handler(request.app[DOORS], request, tenant_of(request))

    return endpoint


def _options(allowed: str) -> Handler:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        return web.Response(status=204, headers={hdrs.ALLOW: allowed})

    return endpoint


async def _open(app: web.Application) -> AsyncIterator[None]:
    await asyncio.to_thread(load_kernels)
    timeout = aiohttp.ClientTimeout(total=passing.TOTAL_S, sock_connect=passing.CONNECT_S)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        app[DOORS].http = session
        yield
