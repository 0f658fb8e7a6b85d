"""The queue to the gateway: what waits, what is sent again, what is lost and counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from actors.scraper import delivery
from actors.scraper.delivery import Delivery
from agent.errors import Overloaded
from agent.secret import Secret
from tests.unit.scraper.servers import FakeGateway
from tests.unit.telemetry.write_requests import message


def body(name: str, value: float = 1.0) -> bytes:
    series = {
        "labels": [{"name": "__name__", "value": name}],
        "samples": [{"value": value, "timestamp": 1}],
    }
    return bytes(message("WriteRequest")(timeseries=[series]).SerializeToString())


@asynccontextmanager
async def running(gateway: FakeGateway, max_bytes: int = 1 << 20) -> AsyncIterator[Delivery]:
    async def address() -> str:
        return gateway.url

    made = Delivery(address, Secret("token"), max_bytes)
    sender = asyncio.create_task(made.run())
    yield made
    sender.cancel()
    await asyncio.gather(sender, return_exceptions=True)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(delivery, "LONGEST_WAIT_S", 0.001)


async def test_what_waits_goes_out_as_one_request_in_order(gateway: FakeGateway) -> None:
    async with running(gateway) as made:
        for i in range(3):
            made.put(body("a", i), 1)
        await made.drained()
    assert gateway.values("a") == [0.0, 1.0, 2.0]
    assert len(gateway.requests) == 1
    assert gateway.headers[0]["Authorization"] == "Bearer token"
    assert gateway.headers[0]["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert (made.counts["sent_bodies"], made.queued_bytes) == (3, 0)


@pytest.mark.parametrize("status", [429, 503, 500])
async def test_what_cannot_be_taken_now_is_sent_again(gateway: FakeGateway, status: int) -> None:
    gateway.statuses = [status, status]
    async with running(gateway) as made:
        made.put(body("a"), 1)
        await made.drained()
    assert gateway.values("a") == [1.0]
    assert made.counts["retries"] == 2


async def test_what_is_refused_is_counted_and_not_sent_again(gateway: FakeGateway) -> None:
    gateway.statuses = [400]
    async with running(gateway) as made:
        made.put(body("a"), 1)
        await made.drained()
    assert gateway.requests == []
    assert made.counts["refused_bodies"] == 1


async def test_beyond_its_room_the_oldest_goes_and_is_counted(gateway: FakeGateway) -> None:
    async with running(gateway, max_bytes=2 * len(body("a"))) as made:
        for i in range(5):
            made.put(body("a", i), 7)
        await made.drained()
    assert gateway.values("a") == [3.0, 4.0]
    assert (made.counts["dropped_bodies"], made.counts["dropped_samples"]) == (3, 21)


async def test_a_gateway_that_is_away_is_looked_for_again(gateway: FakeGateway) -> None:
    asked = 0

    async def address() -> str:
        nonlocal asked
        asked += 1
        if asked == 1:
            raise Overloaded("the gateway is away")
        return gateway.url if asked > 2 else "http://127.0.0.1:1"

    made = Delivery(address, Secret(""), 1 << 20)
    sender = asyncio.create_task(made.run())
    made.put(body("a"), 1)
    await made.drained()
    sender.cancel()
    assert gateway.values("a") == [1.0]
    assert "Authorization" not in gateway.headers[0]
