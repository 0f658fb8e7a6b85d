"""Starting the aggregator actor."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from actors.aggregator.actor import RunningAggregator
from agent.secret import Secret
from agent.settings import Settings
from agent.store.database import Database


class Pool:
    closed = 0

    async def close(self) -> None:
        self.closed += 1


async def test_a_start_that_fails_closes_its_pool_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool()

    async def open_pool(*_: object, **__: object) -> Pool:
        return pool

    monkeypatch.setattr(Database, "open", open_pool)
    plain = Settings()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = replace(
            plain,
            aggregator=replace(plain.aggregator, port=taken.getsockname()[1]),
            database=replace(plain.database, url=Secret("postgresql://nowhere")),
        )
        health = await RunningAggregator(settings).start()
    assert health.state == "failed"
    assert "aggregator.port" in health.detail
    assert pool.closed == 1
