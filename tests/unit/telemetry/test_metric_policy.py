from __future__ import annotations

import pickle

import pytest

from agent.telemetry.metric_policy import MetricPolicy, MetricRule, State, Threshold


def series(name: str, **labels: str) -> dict[str, str]:
    return {"__name__": name, **labels}


POLICY = MetricPolicy(
    [
        MetricRule("*", retention_ms=1),
        MetricRule("http_*", retention_ms=2),
        MetricRule("http_*_total", retention_ms=3),
        MetricRule("http_requests_total", retention_ms=4),
        MetricRule("http_requests_total", service="cart", retention_ms=5),
        MetricRule("http_requests_total", service="cart", labels={"code": "500"}, retention_ms=6),
        MetricRule("debug_*", enabled=False),
    ],
    version=7,
)


@pytest.mark.parametrize(
    ("labels", "retention_ms"),
    [
        (series("up"), 1),
        (series("http_x"), 2),
        (series("http_x_total"), 3),
        (series("http_requests_total", job="shop/pay"), 4),
        (series("http_requests_total", job="shop/cart"), 5),
        (series("http_requests_total", service="cart"), 5),
        (series("http_requests_total", job="cart", code="500"), 6),
    ],
)
def test_the_most_telling_rule_decides(labels: dict[str, str], retention_ms: int) -> None:
    rule = POLICY.rule_of(labels)
    assert rule is not None
    assert rule.retention_ms == retention_ms


def test_what_is_switched_off_is_not_kept() -> None:
    assert not POLICY.keeps(series("debug_x"))
    assert POLICY.keeps(series("up"))


def test_without_rules_all_is_kept() -> None:
    assert MetricPolicy().rule_of(series("up")) is None
    assert MetricPolicy().keeps(series("up"))


def test_a_pattern_is_no_regular_expression() -> None:
    assert MetricPolicy([MetricRule("a.b")]).rules_of_name("axb") == ()


def test_many_stars_cost_nothing() -> None:
    policy = MetricPolicy([MetricRule("a" + "*" * 250 + "b")])
    assert policy.rules_of_name("a" * 10_000) == ()


def test_it_travels() -> None:
    other = pickle.loads(pickle.dumps(POLICY))
    assert (other.version, other.rules) == (POLICY.version, POLICY.rules)


@pytest.mark.parametrize(
    ("threshold", "value", "state"),
    [
        (Threshold("m", warning=1, critical=2), 2.5, State.CRITICAL),
        (Threshold("m", warning=1, critical=2), 1.5, State.WARNING),
        (Threshold("m", warning=1, critical=2), 1.0, State.NORMAL),
        (Threshold("m", comparison="<=", warning=5, critical=2), 2.0, State.CRITICAL),
        (Threshold("m", warning=1), 9.0, State.WARNING),
        (Threshold("m", critical=1), float("nan"), State.NORMAL),
    ],
)
def test_thresholds(threshold: Threshold, value: float, state: State) -> None:
    assert threshold.state_of(value) is state
