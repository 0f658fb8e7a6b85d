from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from actors.aggregator.aggregator import Aggregator
from tests.unit.aggregator.prometheus.canned import CannedBackend


@pytest.fixture
def options() -> dict[str, Any]:
    return {"query_concurrency": 2, "query_timeout_s": 0.5}


async def told(http: aiohttp.ClientSession, within: str = "") -> tuple[int, str]:
    async with http.get("/api/v1/query", params={"query": "up", "timeout": within}) as response:
        return response.status, (await response.json()).get("error", "")


async def test_queries_wait_for_their_turn(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    backend.takes_s = 0.02
    assert await asyncio.gather(*(told(http) for _ in range(6))) == [(200, "")] * 6
    assert backend.most_running == 2


async def test_the_wait_counts(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    backend.takes_s = 10.0
    running = [asyncio.create_task(told(http)) for _ in range(2)]
    while backend.running < 2:
        await asyncio.sleep(0.01)
    assert await told(http, "50ms") == (503, "query timed out in query queue")
    assert await asyncio.gather(*running) == [(503, "query timed out in expression evaluation")] * 2


async def test_a_client_that_leaves_stops_its_query(aggregator: Aggregator, backend: CannedBackend) -> None:
    backend.takes_s = 10.0
    host, port = aggregator.address.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /api/v1/query?query=up HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await writer.drain()
    while not backend.running:
        await asyncio.sleep(0.01)
    writer.close()
    async with asyncio.timeout(5):
        while not backend.cancelled:
            await asyncio.sleep(0.01)
    assert backend.running == 0
