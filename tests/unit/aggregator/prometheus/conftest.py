from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from actors.aggregator.aggregator import Aggregator
from tests.unit.aggregator.conftest import settings
from tests.unit.aggregator.fakes import Shop
from tests.unit.aggregator.prometheus.canned import CannedBackend


@pytest.fixture
def backend() -> CannedBackend:
    return CannedBackend()


@pytest.fixture
async def aggregator(
    shop: Shop, options: dict[str, Any], backend: CannedBackend
) -> AsyncIterator[Aggregator]:
    running = Aggregator(settings(**options), shop.ports, shop.store, backend)
    await running.start()
    yield running
    await running.stop()
