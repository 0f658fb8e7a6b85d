"""A real exporter scraped into the running layer, and its numbers asked for through the Prometheus API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from actors.runtime import Layer
from actors.scraper.actor import Scraper
from agent.settings import Settings

pytestmark = pytest.mark.ray
CONFIG = """
scrape_configs:
- job_name: scraped
  scrape_interval: 200ms
  scrape_timeout: 200ms
  static_configs:
  - targets: ['127.0.0.1:{port}']
"""


@pytest.fixture
async def scraped(layer: Layer, settings: Settings, tmp_path: Path) -> AsyncIterator[Scraper]:
    registry = CollectorRegistry()
    orders = Counter("scraped_orders", "Orders.", ["kind"], registry=registry)
    orders.labels("book").inc(42)
    Histogram("scraped_seconds", "Seconds.", buckets=(0.5, 1), registry=registry).observe(0.7)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    file = tmp_path / "prometheus.yml"
    file.write_text(CONFIG.format(port=server.server_port))
    scraper = Scraper(replace(settings, scrape=replace(settings.scrape, config_file=str(file))), "scraper-0")
    await scraper.start()
    yield scraper
    await scraper.stop()
    server.shutdown()
    server.server_close()
    thread.join()


async def answer(api: str, query: str) -> list[dict[str, Any]]:
    """The vector of an instant query, once it is not empty."""
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            async with session.get(f"{api}/api/v1/query", params={"query": query}) as response:
                body = await response.json()
            assert body["status"] == "success", body
            if found := body["data"]["result"]:
                return list(found)
            await asyncio.sleep(0.1)


async def test_an_exporter_is_scraped_and_can_be_asked_for(scraped: Scraper, api: str) -> None:
    (orders,) = await answer(api, "scraped_orders_total")
    assert orders["value"][1] == "42"
    labels = orders["metric"]
    assert (labels["job"], labels["kind"]) == ("scraped", "book")
    assert labels["instance"].startswith("127.0.0.1:")
    buckets = await answer(api, 'scraped_seconds_bucket{job="scraped"}')
    assert {one["metric"]["le"]: one["value"][1] for one in buckets} == {"0.5": "0", "1.0": "1", "+Inf": "1"}
    (up,) = await answer(api, 'up{job="scraped"}')
    assert up["value"][1] == "1"
    (active,) = (await scraped.targets())["activeTargets"]
    assert (active["health"], active["lastError"]) == ("up", "")
    assert (await scraped.health()).refused == {}
