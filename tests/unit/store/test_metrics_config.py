from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.errors import BadInput
from agent.store.metrics_config import MetricConfig, MetricThreshold

ID = "6a3f9a1e-5f0c-4f57-9d0c-0d3c2f4b7a11"
CONFIG = MetricConfig(ID, "http_*")
THRESHOLD = MetricThreshold(ID, "up", comparison_operator="<", critical_value=1.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metric_name": ""}, "metric_name: got ''"),
        ({"metric_name": "a b"}, "no blanks"),
        ({"metric_name": "x" * 256}, "1 to 255 characters"),
        ({"metric_type": "count"}, "expected one of counter, gauge"),
        ({"source_service": ""}, "source_service"),
        ({"scrape_interval_s": 0.0}, "scrape_interval_s: got 0, expected a number from 0.1"),
        ({"scrape_interval_s": float("nan")}, "scrape_interval_s"),
        ({"retention_s": 1.0}, "retention_s: got 1"),
        ({"retention_s": 1e12}, "retention_s"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {f"l{i}": "x" for i in range(51)}}, "expected at most 50"),
    ],
)
def test_what_a_configuration_may_not_say(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        replace(CONFIG, **change).checked()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold_type": "x"}, "threshold_type"),
        ({"comparison_operator": "=>"}, "comparison_operator"),
        ({"critical_value": None}, "expected one at least"),
        ({"critical_value": float("inf")}, "critical_value"),
        ({"critical_value": 1e11}, "critical_value"),
        ({"warning_value": 0.5}, "at or below warning_value"),
        ({"comparison_operator": ">", "warning_value": 2.0}, "at or above warning_value"),
    ],
)
def test_what_a_threshold_may_not_say(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        replace(THRESHOLD, **change).checked()


def test_a_configuration_as_a_rule() -> None:
    rule = replace(
        CONFIG, source_service="cart", scrape_interval_s=0.5, retention_s=60.0, enabled=False
    ).rule()
    assert (rule.pattern, rule.service, rule.scrape_interval_ms, rule.retention_ms, rule.enabled) == (
        "http_*", "cart", 500, 60_000, False,
    )  # fmt: skip
