"""Bodies that go on to a gateway, which a small server stands for."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from tests.unit.aggregator.fakes import Shop, health

SEEN: web.AppKey[list[tuple[str, bytes, dict[str, str]]]] = web.AppKey("seen", list)


@pytest.fixture
async def gateway(shop: Shop) -> AsyncIterator[web.Application]:
    async def take(request: web.Request) -> web.Response:
        app[SEEN].append((request.path, await request.read(), dict(request.headers)))
        headers = {"X-Prometheus-Remote-Write-Samples-Written": "3", "Retry-After": "2", "Server": "secret"}
        return web.Response(status=429, text="later", headers=headers)

    app = web.Application(client_max_size=1 << 30)
    app[SEEN] = []
    app.router.add_post("/{any:.*}", take)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    shop.supervisor.actors.append(health("gateway-0", listens={"otlp/http": f"http://0.0.0.0:{port}"}))
    yield app
    await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "goes_to"), [("/api/v1/write", "/api/v1/write"), ("/api/v1/otlp/v1/metrics", "/v1/metrics")]
)
async def test_passed_on(
    gateway: web.Application, http: aiohttp.ClientSession, path: str, goes_to: str
) -> None:
    body = b"x" * (1 << 20)
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Scope-OrgID": "shop",
    }
    async with http.post(path, data=body, headers=headers) as response:
        assert (response.status, await response.text()) == (429, "later")
        assert response.headers["X-Prometheus-Remote-Write-Samples-Written"] == "3"
        assert response.headers["Retry-After"] == "2"
    ((seen, passed, given),) = gateway[SEEN]
    assert (seen, passed) == (goes_to, body)
    assert {name: given[name] for name in headers} == headers


async def test_what_is_compressed_stays_so(gateway: web.Application, http: aiohttp.ClientSession) -> None:
    body = gzip.compress(b"x" * 1000)
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    async with http.post("/api/v1/otlp/v1/metrics", data=body, headers=headers) as response:
        assert response.status == 429
    ((_, passed, given),) = gateway[SEEN]
    assert (passed, given["Content-Encoding"]) == (body, "gzip")


async def test_a_gateway_that_does_not_listen(shop: Shop, http: aiohttp.ClientSession) -> None:
    async with http.post("/api/v1/write", data=b"x") as response:
        assert response.status == 503
        assert (await response.json())["errorType"] == "unavailable"
