from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest
import pytest_asyncio

from agent.errors import BadInput, NotFound
from agent.store.database import Database
from agent.store.metrics_config import MetricConfig, MetricConfigStore, MetricThreshold


def config(name: str = "http_requests_total", service: str | None = None) -> MetricConfig:
    return MetricConfig(str(uuid4()), name, "counter", service, 10.0, 3600.0, {"env": "prod"})


def threshold(name: str = "up") -> MetricThreshold:
    return MetricThreshold(str(uuid4()), name, "static", ">", 0.5, 0.9)


def plain(row: MetricConfig) -> MetricConfig:
    return replace(row, created_at=None, updated_at=None)


@pytest_asyncio.fixture
async def store(database: Database) -> MetricConfigStore:
    return MetricConfigStore(database)


async def test_a_configuration_comes_back_as_it_was_written(store: MetricConfigStore) -> None:
    written = config()
    assert plain(await store.create(written)) == written
    assert plain(await store.get(written.id)) == written


async def test_creating_twice_is_one_row(store: MetricConfigStore) -> None:
    written = config()
    await store.create(written)
    await store.create(written)
    assert [row.id for row in await store.configs()] == [written.id]


@pytest.mark.parametrize("service", [None, "cart"])
async def test_a_metric_of_a_service_is_configured_once(
    store: MetricConfigStore, service: str | None
) -> None:
    await store.create(config(service=service))
    with pytest.raises(BadInput, match="is configured already"):
        await store.create(config(service=service))


async def test_changing(store: MetricConfigStore) -> None:
    first, second = await store.create(config("a")), await store.create(config("b"))
    changed = await store.change(replace(first, enabled=False, labels={}))
    assert (changed.enabled, changed.labels) == (False, {})
    with pytest.raises(BadInput, match="is configured already"):
        await store.change(replace(second, metric_name="a"))
    with pytest.raises(NotFound):
        await store.change(config("c"))


async def test_listing_by_metric_service_and_state(store: MetricConfigStore) -> None:
    await store.create(config("a"))
    await store.create(config("a", "cart"))
    await store.create(replace(config("b"), enabled=False))
    assert [(c.metric_name, c.source_service) for c in await store.configs()] == [
        ("a", None), ("a", "cart"), ("b", None),
    ]  # fmt: skip
    assert len(await store.configs(metric="a")) == 2
    assert len(await store.configs(service="cart")) == 1
    assert [c.metric_name for c in await store.configs(enabled=False)] == ["b"]


async def test_deleting_twice_is_as_once(store: MetricConfigStore) -> None:
    written = await store.create(config())
    await store.delete(written.id)
    await store.delete(written.id)
    with pytest.raises(NotFound):
        await store.get(written.id)


async def test_thresholds(store: MetricConfigStore) -> None:
    written = await store.create_threshold(threshold())
    assert (written.warning_value, written.critical_value) == (0.5, 0.9)
    with pytest.raises(BadInput, match="already"):
        await store.create_threshold(threshold())
    changed = await store.change_threshold(replace(written, critical_value=0.12345 + 1))
    assert changed.critical_value == 1.1234  # half to even, as the column keeps it
    assert await store.thresholds("up") == [changed]
    assert await store.threshold(written.id) == changed
    await store.delete_threshold(written.id)
    assert await store.thresholds() == []
    with pytest.raises(NotFound):
        await store.change_threshold(threshold())


async def test_a_threshold_of_nobody_known_says_so(store: MetricConfigStore) -> None:
    with pytest.raises(BadInput, match="expected a UUID"):
        await store.create_threshold(replace(threshold(), created_by="me"))
