from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from actors.aggregator.aggregator import Aggregator
from agent.settings import AggregatorSettings, GeneralSettings, Settings
from tests.unit.aggregator.fakes import Shop


@pytest.fixture
def shop() -> Shop:
    return Shop()


def settings(**aggregator: Any) -> Settings:
    section = replace(AggregatorSettings(), port=0, **aggregator)
    return Settings(general=replace(GeneralSettings(), self_tracing=False), aggregator=section)


@pytest.fixture
def options() -> dict[str, Any]:
    """Settings of the aggregator under test; a test module overrides it where it needs others."""
    return {}


@pytest.fixture
async def aggregator(shop: Shop, options: dict[str, Any]) -> AsyncIterator[Aggregator]:
    running = Aggregator(settings(**options), shop.ports, shop.store)
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def http(aggregator: Aggregator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(aggregator.address) as session:
        yield session
