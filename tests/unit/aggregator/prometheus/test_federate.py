from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from agent.promql.options import EngineOptions
from agent.telemetry.labels import labels_of
from tests.unit.aggregator.prometheus.memory import MemoryBackend, MemoryStorage

NOW_S = 1_700_000_000


@pytest.fixture
def backend() -> MemoryBackend:
    series: dict[Any, list[tuple[int, float]]] = {
        labels_of({"__name__": "up", "job": 'a"\n\\', "instance": "x"}): [
            ((NOW_S - 20) * 1000, 0.0),
            ((NOW_S - 5) * 1000, 1.5),
        ],
        labels_of({"__name__": "up", "job": "b"}): [((NOW_S - 5) * 1000, 1.0)],
        labels_of({"__name__": "my.metric", "my.label": "c"}): [((NOW_S - 5) * 1000, 2.0)],
        labels_of({"__name__": "old"}): [((NOW_S - 500) * 1000, 2.0)],
    }
    return MemoryBackend(MemoryStorage(series), EngineOptions())


@pytest.fixture
async def http(aggregator: Any) -> Any:
    aggregator._api.wall_clock = lambda: float(NOW_S)
    async with aiohttp.ClientSession(aggregator.address) as session:
        yield session


async def federated(http: aiohttp.ClientSession, *selectors: str, accept: str = "") -> tuple[str, str]:
    given = [("match[]", one) for one in selectors]
    async with http.get("/federate", params=given, headers={"Accept": accept}) as response:
        return await response.text(), response.headers["Content-Type"]


async def test_the_newest_samples(http: aiohttp.ClientSession) -> None:
    text, content_type = await federated(http, "up # all of them", '{job="b"}', "old")
    assert text == (
        "# TYPE up untyped\n"
        f'up{{instance="x",job="a\\"\\n\\\\"}} 1.5 {NOW_S - 5}000\n'
        f'up{{instance="",job="b"}} 1 {NOW_S - 5}000\n'
    )
    assert content_type == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"


async def test_names_of_the_old_format(http: aiohttp.ClientSession) -> None:
    text, _ = await federated(http, '{"my.metric"}')
    assert f'my_metric{{instance="",my_label="c"}} 2 {NOW_S - 5}000\n' in text


async def test_names_for_who_reads_utf8(http: aiohttp.ClientSession) -> None:
    text, content_type = await federated(
        http, '{"my.metric"}', accept="text/plain;version=1.0.0; escaping=allow-utf-8"
    )
    assert f'{{"my.metric",instance="","my.label"="c"}} 2 {NOW_S - 5}000\n' in text
    assert content_type.endswith("allow-utf-8")


async def test_a_bad_selector_is_refused(http: aiohttp.ClientSession) -> None:
    async with http.get("/federate", params={"match[]": "up{"}) as response:
        assert response.status == 400
        assert "parse error" in await response.text()
