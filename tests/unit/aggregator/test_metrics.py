from __future__ import annotations

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from actors.aggregator.metrics import MetricName
from tests.unit.aggregator.fakes import Shop, health


async def samples(http: aiohttp.ClientSession) -> dict[tuple[str, ...], float]:
    async with http.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        families = list(text_string_to_metric_families(await response.text()))
    return {(s.name, *s.labels.values()): s.value for f in families for s in f.samples}


async def test_figures_of_all_actors(http: aiohttp.ClientSession) -> None:
    found = await samples(http)
    assert found["kubechat_obs_lag_seconds", "stream-0", "stream"] == 0.5
    assert found["kubechat_obs_spans_total", "stream-0", "stream"] == 9
    assert found["kubechat_obs_refused_total", "gateway-0", "gateway", "bad_tenant"] == 2
    assert found["kubechat_obs_actor_restarts_total", "stream-0"] == 1
    assert found["kubechat_obs_live_clients",] == 0


async def test_requests_by_route_not_by_path(http: aiohttp.ClientSession) -> None:
    for path in ("/api/v1/traces/1", "/api/v1/traces/2", "/unknown/1"):
        await http.get(path)
    found = await samples(http)
    name = "kubechat_obs_http_request_duration_seconds_count"
    assert found[name, "GET", "/api/v1/traces/{trace_id}", "400"] == 2
    assert found[name, "GET", "(unknown)", "404"] == 1


async def test_without_supervisor_own_figures_stay(http: aiohttp.ClientSession, shop: Shop) -> None:
    shop.supervisor.away = True
    found = await samples(http)
    assert ("kubechat_obs_live_clients",) in found
    assert ("kubechat_obs_actor_restarts_total", "stream-0") not in found


async def test_no_family_is_told_twice(http: aiohttp.ClientSession, shop: Shop) -> None:
    shop.supervisor.actors.append(
        health("aggregator", figures={"live_clients": 1.0, "live_missed_rows_total": 2.0})
    )
    async with http.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    names = [line.split()[2] for line in lines if line.startswith("# HELP ")]
    assert len(names) == len(set(names))


async def test_openmetrics_when_asked(http: aiohttp.ClientSession) -> None:
    async with http.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as response:
        assert (await response.text()).endswith("# EOF\n")


@pytest.mark.parametrize(
    ("figure", "name", "counter"),
    [
        ("spans_total", "kubechat_obs_spans", True),
        ("lag_s", "kubechat_obs_lag_seconds", False),
        ("rows_per_s", "kubechat_obs_rows_per_second", False),
        ("took_s_total", "kubechat_obs_took_seconds", True),
        ("window bytes", "kubechat_obs_window_bytes", False),
    ],
)
def test_names(figure: str, name: str, counter: bool) -> None:
    assert MetricName.of(figure) == MetricName(name, counter)
