"""Own traces: what is sent, where to, and what is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from actors.aggregator.aggregator import Aggregator
from actors.tracing import SELF_TENANT
from tests.unit.aggregator.conftest import settings
from tests.unit.aggregator.fakes import Shop, health


class FakeOtlp:
    def __init__(self) -> None:
        self.requests: list[tuple[str, ExportTraceServiceRequest]] = []

    async def take(self, request: web.Request) -> web.Response:
        tenant = request.headers["X-Scope-OrgID"]
        self.requests.append((tenant, ExportTraceServiceRequest.FromString(await _body(request))))
        return web.Response()

    def spans(self) -> dict[str, Span]:
        return {
            span.name: span
            for _, request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        }


async def _body(request: web.Request) -> bytes:
    return await request.read()  # aiohttp's server has unpacked it


@pytest.fixture
async def gateway() -> AsyncIterator[tuple[FakeOtlp, str]]:
    otlp = FakeOtlp()
    app = web.Application()
    app.router.add_post("/v1/traces", otlp.take)
    server = TestServer(app)
    await server.start_server()
    yield otlp, str(server.make_url("")).rstrip("/")
    await server.close()


async def traced(shop: Shop, url: str, paths: list[str]) -> None:
    shop.supervisor.actors.append(health("gateway-1", listens={"otlp/http": url}))
    base = settings()
    running = Aggregator(replace(base, general=replace(base.general, self_tracing=True)), shop.ports)
    await running.start()
    assert running._connecting is not None
    await running._connecting
    async with aiohttp.ClientSession(running.address) as http:
        for path in paths:
            await http.get(path)
    await running.stop()


async def test_requests_and_questions_are_spans(shop: Shop, gateway: tuple[FakeOtlp, str]) -> None:
    otlp, url = gateway
    await traced(shop, url, ["/api/v1/ask?q=why", "/api/v1/traces/x"])
    spans = otlp.spans()
    assert set(spans) == {"ask", "GET /api/v1/ask", "GET /api/v1/traces/{trace_id}"}
    assert spans["ask"].parent_span_id == spans["GET /api/v1/ask"].span_id


async def test_they_go_to_a_tenant_of_their_own(shop: Shop, gateway: tuple[FakeOtlp, str]) -> None:
    otlp, url = gateway
    await traced(shop, url, ["/api/v1/services"])
    tenant, request = otlp.requests[0]
    attributes = {a.key: a.value.string_value for a in request.resource_spans[0].resource.attributes}
    assert tenant == SELF_TENANT
    assert (attributes["service.name"], attributes["service.instance.id"]) == ("kubechat-obs", "aggregator-0")


async def test_probes_and_metrics_are_not_traced(shop: Shop, gateway: tuple[FakeOtlp, str]) -> None:
    otlp, url = gateway
    await traced(shop, url, ["/healthz", "/readyz", "/metrics", "/", "/api/v1/openapi.json"])
    assert otlp.requests == []
