"""A target and a gateway as small HTTP servers, which a test can make misbehave."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import cramjam
from aiohttp import web

from agent.telemetry.labels import Labels
from tests.unit.telemetry.write_requests import Request, read_request

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class FakeTarget:
    def __init__(self) -> None:
        self.text, self.content_type, self.status, self.packed = "a 1\n# EOF\n", OPENMETRICS, 200, False
        self.delay_s = 0.0
        self.asked: list[web.Request] = []
        self.address = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        await asyncio.sleep(self.delay_s)
        body = self.text.encode()
        headers = {"Content-Type": self.content_type}
        if self.packed:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        return web.Response(status=self.status, body=body, headers=headers)


class FakeGateway:
    def __init__(self) -> None:
        self.statuses: list[int] = []  # of the next answers; 200 beyond
        self.requests: list[Request] = []
        self.headers: list[dict[str, str]] = []
        self.arrived = asyncio.Event()
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            body = bytes(cramjam.snappy.decompress_raw(await request.read()))
            self.requests.append(read_request(body))
            self.headers.append(dict(request.headers))
            self.arrived.set()
        return web.Response(status=status)

    def values(self, name: str) -> list[float]:
        return [value for labels, _, value in self.samples() if dict(labels)["__name__"] == name]

    def samples(self) -> list[tuple[Labels, int, float]]:
        return [
            (labels, time_ms, value)
            for request in self.requests
            for labels, time_ms, value in request.samples
        ]

    async def until(self, name: str, count: int = 1) -> list[float]:
        """The values of a metric, once there are so many."""
        async with asyncio.timeout(10):
            while len(self.values(name)) < count:
                self.arrived.clear()
                await self.arrived.wait()
        return self.values(name)


@asynccontextmanager
async def serving(path: str, server: FakeTarget | FakeGateway) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", path, server.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await runner.cleanup()
