from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from chatops.terminal.client import Refused
from chatops.terminal.sending import IN_FLIGHT, Sender


class FakeGateway:
    """Answers as it is told, then 200."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.seen: list[tuple[str, str, bytes]] = []
        self.now, self.most = 0, 0

    async def take(self, request: web.Request) -> web.Response:
        self.now += 1
        self.most = max(self.most, self.now)
        body = await request.read()
        await asyncio.sleep(0)
        self.now -= 1
        if self.answers:
            return self.answers.pop(0)
        self.seen.append((request.path, request.headers["X-Scope-OrgID"], body))
        return web.Response()


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
async def sender(gateway: FakeGateway) -> AsyncIterator[Sender]:
    app = web.Application()
    app.router.add_post("/v1/{signal}", gateway.take)
    server = TestServer(app)
    await server.start_server()
    async with aiohttp.ClientSession() as session:
        yield Sender(session, str(server.make_url("")), "day")
    await server.close()


async def test_each_signal_has_its_path(sender: Sender, gateway: FakeGateway) -> None:
    await sender.send([("spans", b"a"), ("logs", b"b"), ("metrics", b"c")])
    assert sorted(gateway.seen) == [
        ("/v1/logs", "day", b"b"),
        ("/v1/metrics", "day", b"c"),
        ("/v1/traces", "day", b"a"),
    ]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_what_is_put_off_is_sent_again(sender: Sender, gateway: FakeGateway, status: int) -> None:
    gateway.answers = [web.Response(status=status, headers={"Retry-After": "0"})]
    await sender.send([("logs", b"x")])
    assert [body for _, _, body in gateway.seen] == [b"x"]
    assert sender.sent_bytes == 1


async def test_what_is_refused_is_told(sender: Sender, gateway: FakeGateway) -> None:
    gateway.answers = [web.Response(status=400, text="not OTLP")]
    with pytest.raises(Refused, match="not OTLP"):
        await sender.send([("logs", b"x")])


async def test_requests_in_flight_are_bounded(sender: Sender, gateway: FakeGateway) -> None:
    await sender.send([("logs", b"%d" % n) for n in range(100)])
    assert len(gateway.seen) == 100
    assert gateway.most <= IN_FLIGHT
