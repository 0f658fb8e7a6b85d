"""How long a metric is kept, as people set it, in a running layer: no restart, and what is younger stays."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from agent.telemetry.labels import labels_of
from agent.telemetry.remote_write_client import encode_write_request
from tests.integration.layer.test_remote_write import V1, post
from tests.integration.layer.test_rules import query

pytestmark = pytest.mark.ray
WAIT_S = 30.0


def test_a_metric_is_kept_as_long_as_its_rule_says(api: str, otlp: str) -> None:
    now_ms = time.time_ns() // 10**6
    samples = [(now_ms - age_s * 1000, float(age_s)) for age_s in (300, 120, 20, 10, 0)]
    names = ("kept_shortly", "kept_usually")
    body = encode_write_request([(labels_of({"__name__": name, "job": "kept"}), samples) for name in names])
    assert post(otlp, body, V1).status_code == 204
    rule: dict[str, Any] = {"metric_name": "kept_sho*", "labels": {"job": "kept"}, "retention_s": 60.0}
    url = f"{api}/api/v1/metrics/config"
    made = requests.post(url, json=rule, timeout=10).json()
    try:
        count_is(api, "kept_shortly", "3")
        count_is(api, "kept_usually", "5")
        assert values_of(api, "kept_shortly", (now_ms - 1_000_000, now_ms - 300_000)) == []
    finally:
        assert requests.delete(f"{url}/{made['id']}", timeout=10).status_code == 200


def count_is(api: str, metric: str, samples: str) -> None:
    """As soon as all streams know the rule."""
    deadline = time.monotonic() + WAIT_S
    while [one["value"][1] for one in query(api, f"count_over_time({metric}[1h])")] != [samples]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def values_of(api: str, metric: str, span_ms: tuple[int, int]) -> list[str]:
    params = {"match[]": metric, "start": str(span_ms[0] / 1000), "end": str(span_ms[1] / 1000)}
    found: list[str] = requests.get(f"{api}/api/v1/label/job/values", params=params, timeout=10).json()[
        "data"
    ]
    return found
