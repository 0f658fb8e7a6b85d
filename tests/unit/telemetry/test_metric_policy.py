from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Malformed
from agent.telemetry.labels import LabelTable, labels_of
from agent.telemetry.metric_policy import NO_RULE, MetricPolicy, MetricRule, State, Threshold


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


CHOICES = ("up", "http_x", "http_requests_total", "debug_x", "http_a_total")
SETS = st.fixed_dictionaries(
    {"__name__": st.sampled_from(CHOICES)},
    optional={
        "job": st.sampled_from(["shop/cart", "cart", "pay"]),
        "service": st.sampled_from(["cart", "pay"]),
        "code": st.sampled_from(["200", "500"]),
        "pod": st.text("ab", min_size=1, max_size=3),
    },
)


@given(st.lists(SETS, max_size=20))
def test_many_are_decided_on_as_one_at_a_time(sets: list[dict[str, str]]) -> None:
    places = POLICY.decide(LabelTable.of([labels_of(one) for one in sets])).tolist()
    assert [POLICY.rules[place] for place in places] == [POLICY.rule_of(one) for one in sets]


def test_sets_that_no_rule_names_have_none() -> None:
    policy = MetricPolicy([MetricRule("a", labels={"b": "c"})])
    sets = [labels_of({"__name__": "a"}), labels_of({"b": "c"}), labels_of({"__name__": "a", "b": "c"})]
    assert policy.decide(LabelTable.of(sets)).tolist() == [NO_RULE, NO_RULE, 0]
    assert policy.decide(LabelTable.empty(2)).tolist() == [NO_RULE, NO_RULE]


def test_it_is_written_down_and_read() -> None:
    other = MetricPolicy.from_json(POLICY.to_json())
    assert (other.version, other.rules) == (POLICY.version, POLICY.rules)
    for content in (b"", b"{}", b'{"version": 1, "rules": [{"pattern": 5}]}', b"\xff"):
        with pytest.raises(Malformed, match="no policy of metrics"):
            MetricPolicy.from_json(content)


def test_what_is_switched_off_is_not_kept() -> None:
    assert not POLICY.keeps(series("debug_x"))
    assert POLICY.keeps(series("up"))


def test_without_rules_all_is_kept() -> None:
    assert MetricPolicy().rule_of(series("up")) is None
    assert MetricPolicy().keeps(series("up"))


def test_a_pattern_is_no_regular_expression() -> None:
    assert MetricPolicy([MetricRule("a.b")]).rule_of(series("axb")) is None


def test_many_stars_cost_nothing() -> None:
    policy = MetricPolicy([MetricRule("a" + "*" * 250 + "b")])
    assert policy.rule_of(series("a" * 10_000)) is None


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
