"""The API with made-up actors behind it, served from a thread, as a command finds it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from actors.aggregator.aggregator import Aggregator
from actors.aggregator.prometheus.backend import MetricBackend
from chatops.terminal.main import app
from tests.unit.aggregator.conftest import settings
from tests.unit.aggregator.fakes import Shop


class Served:
    """The layer at ``url``; ``do`` runs something on its event loop."""

    def __init__(self, backend: MetricBackend | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.shop = self.do(self._make_shop)
        self.aggregator = Aggregator(settings(heartbeat_s=60.0), self.shop.ports, self.shop.store, backend)
        self.wait(self.aggregator.start())
        self.url = self.aggregator.address

    def do(self, what: Any, *args: Any) -> Any:
        async def run() -> Any:
            return what(*args)

        return self.wait(run())

    def wait(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    def stop(self) -> None:
        self.wait(self.aggregator.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @staticmethod
    def _make_shop() -> Shop:
        return Shop()


@pytest.fixture
def layer() -> Iterator[Served]:
    served = Served()
    yield served
    served.stop()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECHAT_OBS_URL", "KUBECHAT_OBS_TOKEN", "KUBECHAT_OBS_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def command(*words: str, **options: Any) -> Result:
    return CliRunner().invoke(app, list(words), **options)
