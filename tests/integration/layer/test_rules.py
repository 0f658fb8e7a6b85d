"""OTLP metrics as Prometheus series, a recording rule over them, and what people set, in a running layer."""

from __future__ import annotations

import time
from typing import Any

import pytest
import requests

from tests.otlp import gauge, post_until_taken

pytestmark = pytest.mark.ray
WAIT_S = 30.0


def query(api: str, expr: str) -> list[dict[str, Any]]:
    reply = requests.get(f"{api}/api/v1/query", params={"query": expr}, timeout=10)
    assert reply.status_code == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["data"]["result"]
    return found


def until(api: str, expr: str) -> list[dict[str, Any]]:
    """The result as soon as there is one."""
    deadline = time.monotonic() + WAIT_S
    while not (found := query(api, expr)):
        assert time.monotonic() < deadline, f"{expr} gives nothing"
        time.sleep(0.2)
    return found


def test_a_rule_records_what_comes_by_otlp(api: str, otlp: str) -> None:
    post_until_taken(f"{otlp}/v1/metrics", gauge("rule-shop", "rule.input", [1.0, 2.0, 4.0]))
    (plain,) = until(api, 'rule_input{job="rule-shop", i="2"}')
    assert plain["metric"]["__name__"] == "rule_input"
    (recorded,) = until(api, "job:rule_input:sum")
    assert recorded["metric"] == {"__name__": "job:rule_input:sum", "job": "rule-shop", "kind": "test"}
    assert recorded["value"][1] == "7"


def test_the_rules_are_shown(api: str) -> None:
    (group,) = requests.get(f"{api}/api/v1/rules", timeout=10).json()["data"]["groups"]
    (rule,) = group["rules"]
    assert (group["interval"], rule["name"], rule["type"]) == (1, "job:rule_input:sum", "recording")


def test_what_people_set_is_kept(api: str) -> None:
    url = f"{api}/api/v1/metrics/config"
    made = requests.post(url, json={"metric_name": "debug_*", "enabled": False}, timeout=10).json()
    try:
        (listed,) = requests.get(url, timeout=10).json()["configs"]
        assert listed == made
    finally:
        assert requests.delete(f"{url}/{made['id']}", timeout=10).status_code == 200


def test_the_database_shows_on_metrics(api: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while "pg_up 1.0" not in (text := requests.get(f"{api}/metrics", timeout=10).text):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "pg_stat_statements_calls_total{" in text
