from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from actors.aggregator.aggregator import Aggregator
from tests.unit.aggregator.fakes import Shop, frame


@pytest.fixture
def options() -> dict[str, Any]:
    return {"live_queue_bytes": 64 << 10, "heartbeat_s": 1.0, "max_live_clients": 2}


@asynccontextmanager
async def watching(
    aggregator: Aggregator, query: str = "", **options: Any
) -> AsyncIterator[ClientConnection]:
    address = aggregator.address.replace("http", "ws", 1) + "/api/v1/live" + query
    async with connect(address, **options) as socket:
        if query:
            assert (await heard(socket))["type"] == "subscribed"
        yield socket


async def heard(socket: ClientConnection) -> Any:
    return json.loads(await asyncio.wait_for(socket.recv(), 5))


async def say(socket: ClientConnection, **message: Any) -> Any:
    await socket.send(json.dumps(message))
    return await heard(socket)


async def test_query_subscribes(aggregator: Aggregator, shop: Shop) -> None:
    async with watching(aggregator, "?signals=spans") as socket:
        shop.streams[0].send(frame(signal="logs"), frame(signal="spans"))
        assert (await heard(socket))["type"] == "spans"


async def test_payload_is_forwarded_as_it_is(aggregator: Aggregator, shop: Shop) -> None:
    async with watching(aggregator, "?signals=spans") as socket:
        shop.streams[1].send(frame("payment"))
        assert await socket.recv(decode=False) == frame("payment").payload


async def test_message_subscribes(aggregator: Aggregator, shop: Shop) -> None:
    async with watching(aggregator) as socket:
        said = await say(socket, type="subscribe", id="a", services=["cart"], severity="warn")
        assert said == {
            "type": "subscribed", "id": "a", "tenant": "default", "services": ["cart"], "severity": "warn",
            "signals": ["incidents", "logs", "metrics", "spans"],
        }  # fmt: skip
        shop.streams[0].send(frame("front"), frame("cart", "logs", 9), frame("cart", "logs", 13, rows=7))
        assert (await heard(socket))["rows"] == 7


async def test_unsubscribe_and_ping(aggregator: Aggregator, shop: Shop) -> None:
    async with watching(aggregator, "?signals=spans") as socket:
        assert (await say(socket, type="unsubscribe", id="query"))["type"] == "unsubscribed"
        shop.streams[0].send(frame())
        assert (await say(socket, type="ping"))["type"] == "pong"


async def test_one_frame_for_two_subscriptions(aggregator: Aggregator, shop: Shop) -> None:
    async with watching(aggregator, "?signals=spans") as socket:
        await say(socket, type="subscribe", id="b", signals=["spans"])
        shop.streams[0].send(frame(rows=1), frame(rows=2))
        assert [(await heard(socket))["rows"], (await heard(socket))["rows"]] == [1, 2]


async def test_tenants_do_not_see_each_other(aggregator: Aggregator, shop: Shop) -> None:
    async with watching(aggregator, "?signals=spans&tenant=a") as a:
        shop.streams[0].send(frame(tenant="b"), frame(tenant="a", rows=4))
        assert (await heard(a))["rows"] == 4


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "bad_message"),
        ('{"type":"dance"}', "bad_message"),
        ('{"type":"subscribe","sginals":[]}', "bad_message"),
        ('{"type":"subscribe","signals":["pictures"]}', "bad_signal"),
        ('{"type":"subscribe","severity":"loud"}', "bad_severity"),
        ('{"type":"subscribe","tenant":"a/b"}', "bad_tenant"),
    ],
)
async def test_bad_messages_are_told_what_is_expected(aggregator: Aggregator, text: str, code: str) -> None:
    async with watching(aggregator) as socket:
        await socket.send(text)
        said = await heard(socket)
        assert (said["type"], said["error"]["code"]) == ("error", code)
        assert said["error"]["hint"]


async def test_heartbeat_when_quiet(aggregator: Aggregator) -> None:
    async with watching(aggregator, "?signals=spans") as socket:
        assert (await heard(socket))["type"] == "heartbeat"


async def test_incidents_reach_those_who_want_them(aggregator: Aggregator) -> None:
    async with watching(aggregator, "?signals=incidents&services=cart") as socket:
        aggregator.publish_incident("default", {"id": "i-1", "services": ["payment"]})
        aggregator.publish_incident("default", {"id": "i-2", "services": ["cart"]})
        assert (await heard(socket))["incident"]["id"] == "i-2"


async def test_incidents_alone_poll_no_stream(aggregator: Aggregator, shop: Shop) -> None:
    async with watching(aggregator, "?signals=incidents"):
        assert shop.streams[0].polls == 0


async def test_nobody_listens_nobody_polls(aggregator: Aggregator, shop: Shop) -> None:
    async with watching(aggregator, "?signals=spans"):
        pass
    before = shop.streams[0].polls
    shop.streams[0].send(frame())
    await asyncio.sleep(0)
    assert shop.streams[0].polls == before


async def test_slow_reader_is_told_and_holds_nobody_up(aggregator: Aggregator, shop: Shop) -> None:
    async with (
        watching(aggregator, "?signals=spans") as quick,
        watching(aggregator, "?signals=spans", max_queue=1) as slow,
    ):
        sent = 200
        for _ in range(sent):
            shop.streams[0].send(frame(rows=1, size=100_000 // 2))
            assert (await heard(quick))["rows"] == 1
        got, missed = 0, 0
        while got + missed < sent:
            message = await heard(slow)
            got += message["type"] == "spans"
            missed += message["rows"]["spans"] if message["type"] == "missed" else 0
        assert missed > 0
        assert aggregator.health().figures["live_missed_rows_total"] == missed


async def test_what_the_stream_dropped_is_told(aggregator: Aggregator, shop: Shop) -> None:
    async with watching(aggregator, "?signals=spans") as socket:
        shop.streams[0].missed = {"spans": 40, "logs": 3}
        shop.streams[0].send(frame())
        assert await heard(socket) == {"type": "missed", "rows": {"spans": 40}}


async def test_a_restarted_stream_goes_on(aggregator: Aggregator, shop: Shop) -> None:
    async with watching(aggregator, "?signals=spans") as socket:
        shop.streams[0].restart()
        shop.streams[0].send(frame(rows=1))
        assert "restarted" in (await heard(socket))["reason"]
        shop.streams[0].send(frame(rows=2))
        assert (await heard(socket))["rows"] == 2


async def test_clients_are_bounded(aggregator: Aggregator) -> None:
    async with watching(aggregator, "?signals=spans"), watching(aggregator, "?signals=spans"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with watching(aggregator, "?signals=spans"):
                pass
    assert refused.value.response.status_code == 503
    assert b"max_live_clients" in (refused.value.response.body or b"")


@pytest.mark.parametrize(("origin", "status"), [("http://evil.example", 403), ("null", 403)])
async def test_other_origins_are_refused(http: aiohttp.ClientSession, origin: str, status: int) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect("/api/v1/live", headers={"Origin": origin})
    assert refused.value.status == status


async def test_own_origin_is_welcome(http: aiohttp.ClientSession, aggregator: Aggregator) -> None:
    async with http.ws_connect("/api/v1/live", headers={"Origin": aggregator.address}) as socket:
        await socket.send_str('{"type":"ping"}')
        assert (await socket.receive_json())["type"] == "pong"


async def test_stop_says_goodbye(shop: Shop, aggregator: Aggregator) -> None:
    async with watching(aggregator, "?signals=spans") as socket:
        await aggregator.stop()
        with pytest.raises(websockets.ConnectionClosed):
            await heard(socket)
        assert socket.close_code == 1001
