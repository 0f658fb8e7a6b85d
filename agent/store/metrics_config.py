"""What people set about metrics: which are kept and how long, and the thresholds of their values.

Rows come in checked (``checked``), so that a refusal names the field, what was got and what would be right. Ids
are the writer's: writing twice is one row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Self
from uuid import UUID

from agent.errors import BadInput, NotFound
from agent.store.database import Database, Record
from agent.telemetry.metric_policy import OPERATORS, MetricRule, Threshold

LIST_LIMIT = 10_000
NAME_LIMIT = 255  # characters, the columns' width
MAX_LABELS = 50
MAX_INTERVAL_S = 86_400.0
MIN_RETENTION_S, MAX_RETENTION_S = 60.0, 20 * 365 * 86_400.0
MAX_VALUE = 99_999_999_999.0  # what DECIMAL(15,4) holds
DIGITS = 4

METRIC_TYPES = (
    "counter", "gauge", "histogram", "exponential_histogram", "gaugehistogram", "summary", "info", "stateset",
    "unknown",
)  # fmt: skip
THRESHOLD_TYPES = ("static", "rate_of_change", "baseline", "anomaly", "forecast")

_NAME = re.compile(r"[^\s\x00-\x1f\x7f\ud800-\udfff]+")


@dataclass(frozen=True, slots=True)
class MetricConfig:
    """``metric_name`` may hold ``*`` for any characters; no ``source_service`` means every service."""

    id: str
    metric_name: str
    metric_type: str = "unknown"
    source_service: str | None = None
    scrape_interval_s: float = 15.0
    retention_s: float = 30 * 86_400.0
    labels: Mapping[str, str] = field(default_factory=dict)
    enabled: bool = True
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @classmethod
    def of(cls, record: Record) -> Self:
        return cls(
            id=str(record["id"]),
            metric_name=record["metric_name"],
            metric_type=record["metric_type"],
            source_service=record["source_service"],
            scrape_interval_s=record["scrape_interval"].total_seconds(),
            retention_s=record["retention_period"].total_seconds(),
            labels={str(name): str(value) for name, value in record["labels"].items()},
            enabled=record["enabled"],
            created_at=record["created_at"],
            updated_at=record["updated_at"],
        )

    def checked(self) -> Self:
        """The row itself. Raises BadInput naming what is wrong."""
        _check_name("metric_name", self.metric_name)
        _check_choice("metric_type", self.metric_type, METRIC_TYPES)
        if self.source_service is not None:
            _check_name("source_service", self.source_service)
        _check_number("scrape_interval_s", self.scrape_interval_s, 0.1, MAX_INTERVAL_S)
        _check_number("retention_s", self.retention_s, MIN_RETENTION_S, MAX_RETENTION_S)
        _check_labels(self.labels)
        return self

    def rule(self) -> MetricRule:
        return MetricRule(
            pattern=self.metric_name,
            service=self.source_service or "",
            labels=self.labels,
            enabled=self.enabled,
            retention_ms=round(self.retention_s * 1000),
            scrape_interval_ms=round(self.scrape_interval_s * 1000),
        )


@dataclass(frozen=True, slots=True)
class MetricThreshold:
    """``created_by`` is the id of a user. Values are kept to four digits behind the point."""

    id: str
    metric_name: str
    threshold_type: str = "static"
    comparison_operator: str = ">"
    warning_value: float | None = None
    critical_value: float | None = None
    created_by: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @classmethod
    def of(cls, record: Record) -> Self:
        return cls(
            id=str(record["id"]),
            metric_name=record["metric_name"],
            threshold_type=record["threshold_type"],
            comparison_operator=record["comparison_operator"],
            warning_value=_float(record["warning_value"]),
            critical_value=_float(record["critical_value"]),
            created_by=None if record["created_by"] is None else str(record["created_by"]),
            created_at=record["created_at"],
            updated_at=record["updated_at"],
        )

    def checked(self) -> Self:
        """The row itself. Raises BadInput naming what is wrong."""
        _check_name("metric_name", self.metric_name)
        _check_choice("threshold_type", self.threshold_type, THRESHOLD_TYPES)
        _check_choice("comparison_operator", self.comparison_operator, tuple(OPERATORS))
        warning, critical = self.warning_value, self.critical_value
        for name, value in (("warning_value", warning), ("critical_value", critical)):
            if value is not None:
                _check_number(name, value, -MAX_VALUE, MAX_VALUE)
        if warning is None and critical is None:
            raise BadInput("no_value", "got neither warning_value nor critical_value, expected one at least")
        if warning is not None and critical is not None and not self._in_order(warning, critical):
            where = "at or above" if self.comparison_operator in (">", ">=") else "at or below"
            raise BadInput(
                "values_out_of_order",
                f"critical_value: got {critical:g}, expected one {where} warning_value {warning:g}, "
                f"because the operator is {self.comparison_operator}",
            )
        return self

    def _in_order(self, warning: float, critical: float) -> bool:
        if self.comparison_operator in (">", ">="):
            return critical >= warning
        return self.comparison_operator in ("==", "!=") or critical <= warning

    def threshold(self) -> Threshold:
        return Threshold(
            self.metric_name,
            self.threshold_type,
            self.comparison_operator,
            self.warning_value,
            self.critical_value,
        )


class MetricConfigStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def configs(
        self, metric: str | None = None, service: str | None = None, enabled: bool | None = None
    ) -> list[MetricConfig]:
        """By name, at most LIST_LIMIT of them."""
        records = await self._database.fetch("list_metrics_config", metric, service, enabled, LIST_LIMIT)
        return [MetricConfig.of(record) for record in records]

    async def get(self, config_id: str) -> MetricConfig:
        record = await self._database.fetch_row("get_metrics_config", as_uuid(config_id))
        return MetricConfig.of(_found(record, "metric configuration", config_id))

    async def create(self, config: MetricConfig) -> MetricConfig:
        """Raises BadInput where the metric of that service is configured already."""
        record = await self._database.fetch_row("create_metrics_config", *_config_values(config.checked()))
        if record is None:
            raise _there_already(config)
        return MetricConfig.of(record)

    async def change(self, config: MetricConfig) -> MetricConfig:
        """Raises NotFound, or BadInput where another one is of that metric and service."""
        record = await self._database.fetch_row("change_metrics_config", *_config_values(config.checked()))
        if record is None:
            await self.get(config.id)
            raise _there_already(config)
        return MetricConfig.of(record)

    async def delete(self, config_id: str) -> None:
        """Deleting what is gone does nothing."""
        await self._database.execute("delete_metrics_config", as_uuid(config_id))

    async def thresholds(self, metric: str | None = None) -> list[MetricThreshold]:
        records = await self._database.fetch("list_metric_thresholds", metric, LIST_LIMIT)
        return [MetricThreshold.of(record) for record in records]

    async def threshold(self, threshold_id: str) -> MetricThreshold:
        record = await self._database.fetch_row("get_metric_threshold", as_uuid(threshold_id))
        return MetricThreshold.of(_found(record, "metric threshold", threshold_id))

    async def create_threshold(self, row: MetricThreshold) -> MetricThreshold:
        """Raises BadInput where there is one of that metric, type and operator."""
        by = None if row.created_by is None else as_uuid(row.created_by)
        record = await self._database.fetch_row(
            "create_metric_threshold", *_threshold_values(row.checked()), by
        )
        if record is None:
            raise _threshold_there_already(row)
        return MetricThreshold.of(record)

    async def change_threshold(self, row: MetricThreshold) -> MetricThreshold:
        """Raises NotFound, or BadInput where another one is of that metric, type and operator."""
        record = await self._database.fetch_row("change_metric_threshold", *_threshold_values(row.checked()))
        if record is None:
            await self.threshold(row.id)
            raise _threshold_there_already(row)
        return MetricThreshold.of(record)

    async def delete_threshold(self, threshold_id: str) -> None:
        """Deleting what is gone does nothing."""
        await self._database.execute("delete_metric_threshold", as_uuid(threshold_id))


def as_uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadInput("bad_id", f"id: got {text!r}, expected a UUID") from None


def _config_values(config: MetricConfig) -> tuple[Any, ...]:
    return (
        as_uuid(config.id),
        config.metric_name,
        config.metric_type,
        config.source_service,
        timedelta(seconds=config.scrape_interval_s),
        timedelta(seconds=config.retention_s),
        dict(config.labels),
        config.enabled,
    )


def _threshold_values(row: MetricThreshold) -> tuple[Any, ...]:
    return (
        as_uuid(row.id),
        row.metric_name,
        row.threshold_type,
        row.comparison_operator,
        _decimal(row.warning_value),
        _decimal(row.critical_value),
    )


def _there_already(config: MetricConfig) -> BadInput:
    of = f"of service {config.source_service!r}" if config.source_service else "without a service"
    return BadInput(
        "already_configured", f"metric {config.metric_name!r} {of} is configured already; change that one"
    )


def _threshold_there_already(row: MetricThreshold) -> BadInput:
    what = f"{row.threshold_type} threshold with {row.comparison_operator}"
    return BadInput("already_there", f"metric {row.metric_name!r} has a {what} already; change that one")


def _found(record: Record | None, what: str, row_id: str) -> Record:
    if record is None:
        raise NotFound(f"no {what} {row_id}: list them to see which there are")
    return record


def _decimal(value: float | None) -> Decimal | None:
    return None if value is None else Decimal(repr(value)).quantize(Decimal(10) ** -DIGITS)


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _check_name(name: str, text: str) -> None:
    if len(text) > NAME_LIMIT or not _NAME.fullmatch(text):
        shown = repr(text[:50]) + ("…" if len(text) > 50 else "")
        raise BadInput(
            f"bad_{name}", f"{name}: got {shown}, expected 1 to {NAME_LIMIT} characters, no blanks"
        )


def _check_choice(name: str, text: str, choices: tuple[str, ...]) -> None:
    if text not in choices:
        raise BadInput(f"bad_{name}", f"{name}: got {text[:50]!r}, expected one of {', '.join(choices)}")


def _check_number(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise BadInput(f"bad_{name}", f"{name}: got {value:g}, expected a number from {low:g} to {high:g}")


def _check_labels(labels: Mapping[str, str]) -> None:
    if len(labels) > MAX_LABELS:
        raise BadInput("too_many_labels", f"labels: got {len(labels)}, expected at most {MAX_LABELS}")
    for name, value in labels.items():
        if not name or max(len(name), len(value)) > NAME_LIMIT or "\x00" in name + value:
            raise BadInput(
                "bad_label",
                f"labels: got {name[:50]!r}, expected names and values up to {NAME_LIMIT} characters",
            )
