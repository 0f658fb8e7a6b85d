"""The routes of metric configurations and thresholds, with rows in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from actors.aggregator.aggregator import Aggregator
from actors.aggregator.metric_policy import PolicyKeeper, version_of
from agent.errors import BadInput, NotFound, StoreError
from agent.store.metrics_config import MetricConfig, MetricThreshold

ID = "6a3f9a1e-5f0c-4f57-9d0c-0d3c2f4b7a11"
CONFIG, THRESHOLDS = "/api/v1/metrics/config", "/api/v1/metrics/thresholds"


class Store:
    def __init__(self) -> None:
        self.rows: dict[str, MetricConfig] = {}
        self.marks: dict[str, MetricThreshold] = {}
        self.away = False

    async def configs(
        self, metric: str | None = None, service: str | None = None, enabled: bool | None = None
    ) -> list[MetricConfig]:
        if self.away:
            raise StoreError("away")
        return [row for row in self.rows.values() if enabled in (None, row.enabled)]

    async def get(self, config_id: str) -> MetricConfig:
        if config_id not in self.rows:
            raise NotFound(f"no metric configuration {config_id}")
        return self.rows[config_id]

    async def create(self, config: MetricConfig) -> MetricConfig:
        self.rows[config.id] = config.checked()
        return config

    change = create

    async def delete(self, config_id: str) -> None:
        self.rows.pop(config_id, None)

    async def thresholds(self, metric: str | None = None) -> list[MetricThreshold]:
        return list(self.marks.values())

    async def threshold(self, threshold_id: str) -> MetricThreshold:
        return self.marks[threshold_id]

    async def create_threshold(self, row: MetricThreshold) -> MetricThreshold:
        if row.metric_name == "taken":
            raise BadInput("already_there", "taken")
        self.marks[row.id] = row.checked()
        return row

    change_threshold = create_threshold

    async def delete_threshold(self, threshold_id: str) -> None:
        self.marks.pop(threshold_id, None)


@pytest.fixture
def store(aggregator: Aggregator) -> Store:
    rows: Any = Store()
    aggregator._api.metric_config, aggregator._api.metric_policy = rows, PolicyKeeper(rows)
    return rows  # type: ignore[no-any-return]


async def ask(http: aiohttp.ClientSession, method: str, path: str, **body: Any) -> tuple[int, Any]:
    async with http.request(method, path, json=body or None) as response:
        return response.status, await response.json()


async def test_a_configuration_is_made_changed_and_deleted(
    http: aiohttp.ClientSession, store: Store, aggregator: Aggregator
) -> None:
    status, made = await ask(http, "POST", CONFIG, metric_name="debug_*", id=ID, enabled=False)
    assert (status, made["metric_name"], made["retention_s"], made["id"]) == (200, "debug_*", 2_592_000.0, ID)
    policy = aggregator.metric_policy(0)
    assert policy is not None
    assert not policy.keeps({"__name__": "debug_x"})
    assert aggregator.metric_policy(policy.version) is None
    status, changed = await ask(http, "PATCH", f"{CONFIG}/{ID}", retention_s=60.0)
    assert (status, changed["retention_s"], changed["enabled"]) == (200, 60.0, False)
    assert (await ask(http, "GET", f"{CONFIG}/{ID}"))[1] == changed
    assert (await ask(http, "GET", f"{CONFIG}?enabled=true"))[1] == {"configs": []}
    assert (await ask(http, "DELETE", f"{CONFIG}/{ID}"))[1] == {"deleted": ID}
    assert (await ask(http, "GET", f"{CONFIG}/{ID}"))[0] == 404


async def test_a_threshold_is_made_changed_and_deleted(http: aiohttp.ClientSession, store: Store) -> None:
    _, made = await ask(http, "POST", THRESHOLDS, metric_name="up", comparison_operator="<", critical_value=1)
    path = f"{THRESHOLDS}/{made['id']}"
    _, changed = await ask(http, "PATCH", path, warning_value=2.0)
    assert (changed["warning_value"], changed["critical_value"]) == (2.0, 1.0)
    assert (await ask(http, "GET", THRESHOLDS))[1] == {"thresholds": [changed]}
    assert (await ask(http, "GET", path))[1] == changed
    assert (await ask(http, "DELETE", path))[0] == 200


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        (CONFIG, {}, "bad_body"),
        (CONFIG, {"metric_name": "a", "retention": 1}, "bad_body"),
        (CONFIG, {"metric_name": "a b"}, "bad_metric_name"),
        (CONFIG, {"metric_name": "a", "retention_s": 1}, "bad_retention_s"),
        (THRESHOLDS, {"metric_name": "a"}, "no_value"),
        (THRESHOLDS, {"metric_name": "taken", "critical_value": 1}, "already_there"),
    ],
)
async def test_what_is_refused(
    http: aiohttp.ClientSession, store: Store, path: str, body: dict[str, Any], code: str
) -> None:
    status, answer = await ask(http, "POST", path, **body)
    assert (status, answer["error"]["code"]) == (400, code)


async def test_without_a_database_it_says_so(http: aiohttp.ClientSession) -> None:
    status, answer = await ask(http, "GET", CONFIG)
    assert status == 503
    assert "no database" in answer["error"]["message"]


async def test_while_the_store_is_away_the_policy_stays(store: Store) -> None:
    store.rows[ID] = MetricConfig(ID, "a", enabled=False)
    keeper = PolicyKeeper(store)
    assert keeper.newer_than(1) is None  # not read yet
    await keeper.refresh()
    store.away = True
    with pytest.raises(StoreError):
        await keeper.refresh()
    assert not keeper.policy.keeps({"__name__": "a"})


def test_the_version_follows_from_the_rules_alone() -> None:
    rows = [MetricConfig(ID, "a"), MetricConfig(ID, "b")]
    assert version_of(rows) == version_of(rows[::-1])
    assert version_of(rows) != version_of([rows[0], replace(rows[1], enabled=False)])
    assert version_of([]) == 0
