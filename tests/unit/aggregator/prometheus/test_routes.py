"""What is not a query: labels, metadata, rules, the server itself."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from actors.aggregator.prometheus import form
from agent.secret import Secret
from tests.unit.aggregator.fakes import Shop
from tests.unit.aggregator.prometheus.canned import CannedBackend
from tests.unit.aggregator.prometheus.test_queries import asked


@pytest.fixture
def options() -> dict[str, Any]:
    return {"auth_token": Secret("s3cret")}


@pytest.fixture
async def http(aggregator: Any) -> Any:
    headers = {"Authorization": "Bearer s3cret"}
    async with aiohttp.ClientSession(aggregator.address, headers=headers) as session:
        yield session


async def data(http: aiohttp.ClientSession, path: str, /, **form: str) -> Any:
    return (await asked(http, path, **form))["data"]


async def test_series(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    reply = await asked(
        http, "/api/v1/series", **{"match[]": 'up{job="a"}', "limit": "2", "start": "1", "end": "2"}
    )
    assert reply["data"] == [{"__name__": "up", "job": "a"}, {"__name__": "up", "job": "b"}]
    assert reply["warnings"] == ["results truncated due to limit"]
    scope = backend.asked[0][1]
    assert (scope.start_ms, scope.end_ms, scope.limit) == (1000, 2000, 3)
    assert {(m.name, m.op, m.value) for m in scope.selectors[0]} == {
        ("__name__", "=", "up"),
        ("job", "=", "a"),
    }


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "no match[] parameter provided"),
        (
            {"match[]": '{job=""}'},
            'invalid parameter "match[]": match[] must contain at least one non-empty matcher',
        ),
    ],
)
async def test_series_refused(http: aiohttp.ClientSession, given: dict[str, str], told: str) -> None:
    assert (await asked(http, "/api/v1/series", 400, **given))["error"] == told


@pytest.mark.parametrize("text", ["rate(up[5m])", "up offset 5m", "up[5m]", "1", "up{"])
async def test_no_selectors(http: aiohttp.ClientSession, text: str) -> None:
    error = (await asked(http, "/api/v1/labels", 400, **{"match[]": text}))["error"]
    assert "parse error" in error


async def test_label_names_and_values(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    assert await data(http, "/api/v1/labels") == ["__name__", "job"]
    reply = await asked(http, "/api/v1/label/U__a_2e_b/values", limit="1")
    assert (reply["data"], reply["warnings"]) == (["a"], ["results truncated due to limit"])
    assert backend.asked[-1][1] == "a.b"


async def test_exemplars(http: aiohttp.ClientSession) -> None:
    shown = await data(http, "/api/v1/query_exemplars", query="rate(foo[5m])")
    exemplar = {"labels": {"trace_id": "x"}, "value": "6.5", "timestamp": 1600096945.479}
    assert shown == [{"seriesLabels": {"__name__": "foo"}, "exemplars": [exemplar]}]


async def test_exemplars_of_nothing(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/v1/query_exemplars", params={"query": "1"}) as response:
        assert response.status == 204


async def test_metadata(http: aiohttp.ClientSession) -> None:
    shown = await data(http, "/api/v1/metadata", limit_per_metric="1")
    assert shown["up"] == [{"type": "gauge", "help": "Whether it is up.", "unit": ""}]
    assert list(await data(http, "/api/v1/metadata", limit="1")) == ["up"]
    assert (await asked(http, "/api/v1/metadata", 400, limit="x"))["error"] == "limit must be a number"


async def test_target_metadata(http: aiohttp.ClientSession) -> None:
    shown = await data(http, "/api/v1/targets/metadata", match_target='{job=~"b|c"}', metric="requests_total")
    assert shown == [{"target": {"job": "b"}, "type": "counter", "help": "Requests.", "unit": ""}]


async def test_targets(http: aiohttp.ClientSession) -> None:
    shown = await data(http, "/api/v1/targets", state="active", scrapePool="b")
    assert [one["scrapePool"] for one in shown["activeTargets"]] == ["b"]
    assert (shown["droppedTargets"], shown["droppedTargetCounts"]) == ([], None)
    assert await data(http, "/api/v1/scrape_pools") == {"scrapePools": ["a", "b"]}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["job:up:sum", "Down"]),
        ({"type": "alert"}, ["Down"]),
        ({"rule_name[]": "job:up:sum"}, ["job:up:sum"]),
        ({"rule_group[]": "other"}, []),
        ({"file[]": "f.yml", "type": "record"}, ["job:up:sum"]),
        ({"match[]": '{team="x"}'}, ["job:up:sum"]),
    ],
)
async def test_rules(http: aiohttp.ClientSession, given: dict[str, str], names: list[str]) -> None:
    groups = (await data(http, "/api/v1/rules", **given))["groups"]
    assert [rule["name"] for group in groups for rule in group["rules"]] == names


async def test_rules_without_alerts(http: aiohttp.ClientSession) -> None:
    (group,) = (await data(http, "/api/v1/rules", exclude_alerts="true"))["groups"]
    assert group["rules"][1]["alerts"] == []
    assert (await asked(http, "/api/v1/rules", 400, type="x"))[
        "error"
    ] == 'invalid parameter "type": not supported value "x"'


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("/api/v1/alerts", "alerts"), ("/api/v1/alertmanagers", "activeAlertmanagers"),
        ("/api/v1/status/buildinfo", "version"), ("/api/v1/status/runtimeinfo", "startTime"),
        ("/api/v1/status/flags", "query.timeout"), ("/api/v1/status/config", "yaml"),
    ],
)  # fmt: skip
async def test_about(http: aiohttp.ClientSession, path: str, key: str) -> None:
    assert key in await data(http, path)


async def test_cardinality(http: aiohttp.ClientSession) -> None:
    shown = await data(http, "/api/v1/status/tsdb", limit="1")
    assert shown["headStats"] == {
        "numSeries": 4,
        "numLabelPairs": 8,
        "chunkCount": 2,
        "minTime": 1000,
        "maxTime": 2000,
    }
    assert shown["seriesCountByMetricName"] == [{"name": "up", "value": 3}]
    assert (await asked(http, "/api/v1/status/tsdb", 400, limit="0"))[
        "error"
    ] == "limit must be a positive number"


async def test_format_and_parse(http: aiohttp.ClientSession) -> None:
    assert await data(http, "/api/v1/format_query", query="sum(up) by(job)") == "sum by (job) (up)"
    assert (await data(http, "/api/v1/parse_query", query="sum(up)"))["type"] == "aggregation"
    assert "parse error" in (await asked(http, "/api/v1/parse_query", 400, query="sum("))["error"]


async def test_health_asks_for_no_token(http: aiohttp.ClientSession, shop: Shop) -> None:
    for path in ("/-/healthy", "/-/ready"):
        async with http.get(path, headers={"Authorization": ""}) as response:
            assert response.status == 200


async def test_not_ready(http: aiohttp.ClientSession, shop: Shop) -> None:
    shop.supervisor.away = True
    async with http.get("/-/ready") as response:
        assert response.status == 503


async def test_a_missing_token_is_told_in_the_same_form(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/v1/query", params={"query": "1"}, headers={"Authorization": ""}) as response:
        assert response.status == 401
        assert (await response.json())["status"] == "error"


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_other_methods(http: aiohttp.ClientSession, method: str) -> None:
    async with http.request(method, "/api/v1/query", params={"query": "1"}) as response:
        assert response.status in (200, 204)
        assert await response.read() == b""


async def test_tenant(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    await asked(http, "/api/v1/query", query="1", tenant="shop")
    assert backend.asked[0][0] == "shop"
    assert (await asked(http, "/api/v1/query", 400, query="1", tenant="no such"))["errorType"] == "bad_data"


async def test_a_large_form_is_refused(http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "MAX_FORM_BYTES", 1000)
    async with http.post("/api/v1/query", data={"query": "1+" * 1000}) as response:
        assert response.status == 400
        assert "POST too large" in (await response.json())["error"]
