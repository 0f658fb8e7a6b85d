"""``/api/v1/metrics/config`` and ``/api/v1/metrics/thresholds``: what people set about metrics."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
from msgspec import UNSET, UnsetType

from actors.aggregator.api import Api
from actors.aggregator.call import Call
from agent.errors import BadInput, StoreError
from agent.store.metrics_config import MetricConfig, MetricConfigStore, MetricThreshold

Body = TypeVar("Body")


class MetricConfigBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``metric_name`` may hold ``*``. An ``id`` of the caller's (a UUID) makes a retry harmless."""

    metric_name: str
    id: str | None = None
    metric_type: str = "unknown"
    source_service: str | None = None
    scrape_interval_s: float = 15.0
    retention_s: float = 30 * 86_400.0
    labels: dict[str, str] = {}
    enabled: bool = True


class MetricConfigChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not given stays."""

    metric_name: str | UnsetType = UNSET
    metric_type: str | UnsetType = UNSET
    source_service: str | UnsetType | None = UNSET
    scrape_interval_s: float | UnsetType = UNSET
    retention_s: float | UnsetType = UNSET
    labels: dict[str, str] | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class MetricConfigReply(msgspec.Struct, frozen=True):
    id: str
    metric_name: str
    metric_type: str
    source_service: str | None
    scrape_interval_s: float
    retention_s: float
    labels: dict[str, str]
    enabled: bool
    created_at: datetime | None
    updated_at: datetime | None


class MetricConfigsReply(msgspec.Struct, frozen=True):
    configs: list[MetricConfigReply]


class MetricThresholdBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of ``warning_value`` and ``critical_value`` at least. ``created_by`` is the id of a user."""

    metric_name: str
    id: str | None = None
    threshold_type: str = "static"
    comparison_operator: str = ">"
    warning_value: float | None = None
    critical_value: float | None = None
    created_by: str | None = None


class MetricThresholdChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not given stays."""

    metric_name: str | UnsetType = UNSET
    threshold_type: str | UnsetType = UNSET
    comparison_operator: str | UnsetType = UNSET
    warning_value: float | UnsetType | None = UNSET
    critical_value: float | UnsetType | None = UNSET


class MetricThresholdReply(msgspec.Struct, frozen=True):
    id: str
    metric_name: str
    threshold_type: str
    comparison_operator: str
    warning_value: float | None
    critical_value: float | None
    created_by: str | None
    created_at: datetime | None
    updated_at: datetime | None


class MetricThresholdsReply(msgspec.Struct, frozen=True):
    thresholds: list[MetricThresholdReply]


class Deleted(msgspec.Struct, frozen=True):
    """The id that is there no longer, whether it was or not."""

    deleted: str


async def configs(api: Api, call: Call) -> MetricConfigsReply:
    enabled = {"": None, "true": True, "false": False}[call.choice("enabled", ("", "true", "false"))]
    found = await _store(api).configs(call.text("metric") or None, call.text("service") or None, enabled)
    return MetricConfigsReply([_config(one) for one in found])


async def config(api: Api, call: Call) -> MetricConfigReply:
    return _config(await _store(api).get(call.path["id"]))


async def create_config(api: Api, call: Call) -> MetricConfigReply:
    body = _body(call, MetricConfigBody)
    values = msgspec.structs.asdict(body) | {"id": body.id or str(uuid4())}
    made = await _store(api).create(MetricConfig(**values))
    await _published(api)
    return _config(made)


async def change_config(api: Api, call: Call) -> MetricConfigReply:
    change = _body(call, MetricConfigChange)
    current = await _store(api).get(call.path["id"])
    changed = await _store(api).change(replace(current, **_given(change)))
    await _published(api)
    return _config(changed)


async def delete_config(api: Api, call: Call) -> Deleted:
    await _store(api).delete(call.path["id"])
    await _published(api)
    return Deleted(call.path["id"])


async def thresholds(api: Api, call: Call) -> MetricThresholdsReply:
    found = await _store(api).thresholds(call.text("metric") or None)
    return MetricThresholdsReply([_threshold(one) for one in found])


async def threshold(api: Api, call: Call) -> MetricThresholdReply:
    return _threshold(await _store(api).threshold(call.path["id"]))


async def create_threshold(api: Api, call: Call) -> MetricThresholdReply:
    body = _body(call, MetricThresholdBody)
    values = msgspec.structs.asdict(body) | {"id": body.id or str(uuid4())}
    made = await _store(api).create_threshold(MetricThreshold(**values))
    await _published(api)
    return _threshold(made)


async def change_threshold(api: Api, call: Call) -> MetricThresholdReply:
    change = _body(call, MetricThresholdChange)
    current = await _store(api).threshold(call.path["id"])
    changed = await _store(api).change_threshold(replace(current, **_given(change)))
    await _published(api)
    return _threshold(changed)


async def delete_threshold(api: Api, call: Call) -> Deleted:
    await _store(api).delete_threshold(call.path["id"])
    await _published(api)
    return Deleted(call.path["id"])


def _store(api: Api) -> MetricConfigStore:
    if api.metric_config is None:
        raise StoreError("no database is connected, so nothing can be set; start the layer with one")
    return api.metric_config


async def _published(api: Api) -> None:
    """The change is stored; where it cannot be read back just now it is in a few seconds."""
    if api.metric_policy is not None:
        try:
            await api.metric_policy.refresh()
        except StoreError:
            return


def _config(row: MetricConfig) -> MetricConfigReply:
    return msgspec.convert(row, MetricConfigReply, from_attributes=True)


def _threshold(row: MetricThreshold) -> MetricThresholdReply:
    return msgspec.convert(row, MetricThresholdReply, from_attributes=True)


def _given(change: MetricConfigChange | MetricThresholdChange) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}


def _body(call: Call, kind: type[Body]) -> Body:
    if not isinstance(call.body, kind):
        raise BadInput("bad_body", f"got no body, expected a {kind.__name__}")
    return call.body
