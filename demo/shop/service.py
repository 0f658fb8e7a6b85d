"""What all services of the shop have in common: an aiohttp server, a client for the peers, knobs.

A knob is a number that an order of the supervisor turns while the service runs; 0 is the normal
position of each. What turning one does is up to the service, and nothing of it is told to anybody:
the telemetry shows the effect alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import aiohttp
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.typedefs import Handler, Middleware
from opentelemetry import trace

from demo.shop.child import announce, run_until_stopped
from demo.shop.settings import ServiceSettings
from demo.shop.telemetry import start_telemetry

LOOPBACK = "127.0.0.1"
CALL_TIMEOUT_S = 10.0
LEAVE_WITHIN_S = 2.5

Json = Mapping[str, Any]


class UpstreamFailed(Exception):
    """A peer did not answer, or answered with a server error."""

    def __init__(self, service: str, path: str, why: str) -> None:
        super().__init__(f"{service} {path}: {why}")
        self.service = service


class ClusterNames(AbstractResolver):
    """What the name service of a cluster does: ``http://cart:8080`` is somewhere; here, on this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=LOOPBACK, port=port, family=socket.AF_INET, proto=0, flags=0)
        ]

    async def close(self) -> None:
        return None


def client_session(timeout_s: float = CALL_TIMEOUT_S) -> aiohttp.ClientSession:
    """A session that finds the services by name."""
    connector = aiohttp.TCPConnector(resolver=ClusterNames(), limit=200, use_dns_cache=False)
    return aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=timeout_s))


class Service:
    """Base of the services: they give ``name`` and ``routes`` and use ``call`` to reach each other."""

    name: ClassVar[str]

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.log = logging.getLogger(f"shop.{self.name}")
        self.knobs: dict[str, float] = {}
        self.session: aiohttp.ClientSession

    def routes(self) -> Iterable[web.RouteDef]:
        raise NotImplementedError

    async def open(self) -> None:
        """Acquire what the handlers need; called in the event loop, before the first request."""

    async def close(self) -> None:
        """Give back what ``open`` acquired."""

    async def turned(self, knob: str, value: float) -> None:
        """A knob was turned; only for services that must act on the turn itself."""

    async def call(
        self,
        service: str,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Json | None = None,
    ) -> Any:
        """The JSON that a peer answers. A client error of the peer is passed on as it is."""
        url = self.settings.url(service) + path
        try:
            async with self.session.request(method, url, params=params, json=body) as response:
                if response.status >= 500:
                    raise UpstreamFailed(service, path, f"answered {response.status}")
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UpstreamFailed(service, path, f"{type(error).__name__}: {error}") from error
        if response.status >= 400:
            raise Refused(response.status, answer)
        return answer

    async def _order(self, order: Mapping[str, Any]) -> None:
        for knob, value in order.get("turn", {}).items():
            self.knobs[knob] = float(value)
            await self.turned(knob, float(value))


class Refused(Exception):
    """A peer answered 4xx: the caller's own mistake, handed on to whoever called."""

    def __init__(self, status: int, answer: Json) -> None:
        super().__init__(f"{status}: {answer}")
        self.status, self.answer = status, answer


def answering_errors(log: logging.Logger) -> Middleware:
    """A middleware that logs a failure inside the request's span and answers for it."""

    @web.middleware
    async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            return web.json_response(dict(refused.answer), status=refused.status)
        except UpstreamFailed as failure:
            log.error(
                "%s %s failed: %s",
                request.method,
                _route(request),
                failure,
                extra={"peer.service": failure.service},
            )
            trace.get_current_span().record_exception(failure)
            return web.json_response({"error": str(failure)}, status=502)
        except web.HTTPException:
            raise
        except Exception as error:
            log.exception(
                "%s %s failed: %s: %s", request.method, _route(request), type(error).__name__, error
            )
            trace.get_current_span().record_exception(error)
            return web.json_response({"error": "internal error"}, status=500)

    return answer_errors


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else request.path


def run_service(kind: type[Service], settings: ServiceSettings) -> None:
    """Serve until told to stop. Telemetry starts first: the instrumentation replaces classes."""
    telemetry = start_telemetry(settings.name, settings.version)
    asyncio.run(_serve(kind(settings)))
    telemetry.flush()
    # The exporters' threads may be in the middle of a retry; nobody is left to wait for them.
    os._exit(0)


async def _serve(service: Service) -> None:
    async with client_session() as service.session:
        await service.open()
        app = web.Application(middlewares=[answering_errors(service.log)])
        app.add_routes(service.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=LEAVE_WITHIN_S)
        await runner.setup()
        # The port is shared for a moment when a new version takes over from an old one.
        await web.TCPSite(runner, LOOPBACK, service.settings.port, reuse_port=True).start()
        service.log.info("%s %s is serving", service.name, service.settings.version)
        announce(ready=True, port=service.settings.port, version=service.settings.version)
        try:
            await run_until_stopped(service._order)
        finally:
            await runner.cleanup()
            await service.close()
