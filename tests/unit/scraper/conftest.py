from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.scraper.servers import FakeGateway, FakeTarget, serving


@pytest.fixture
async def target() -> AsyncIterator[FakeTarget]:
    made = FakeTarget()
    async with serving("/metrics", made) as address:
        made.address = address
        yield made


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    made = FakeGateway()
    async with serving("/api/v1/write", made) as address:
        made.url = f"http://{address}"
        yield made
