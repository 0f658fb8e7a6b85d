from __future__ import annotations

import pickle

import pytest

from agent.promql.rules import AlertingRule, GroupDefaults, RecordingRule, RuleFileError, parse_rules

FILE = """
groups:
- name: shop
  interval: 30s
  query_offset: 5s
  limit: 10
  labels: {team: a, tier: "1"}
  rules:
  - record: job:hits:rate5m
    expr: sum by (job) (rate(hits_total[5m]))
    labels: {team: b}
  - alert: Down
    expr: up == 0
    for: 1m30s
    keep_firing_for: 5m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.instance }} is down"}
- name: plain
  rules:
  - record: one
    expr: 1
"""


def test_a_file_with_everything() -> None:
    shop, plain = parse_rules(FILE, "a.yml", GroupDefaults(15.0, 1.0))
    assert (shop.interval_s, shop.query_offset_s, shop.limit, shop.key) == (30.0, 5.0, 10, "a.yml;shop")
    assert shop.rules[0] == RecordingRule(
        "job:hits:rate5m", "sum by (job) (rate(hits_total[5m]))", {"team": "b", "tier": "1"}
    )
    alert = shop.rules[1]
    assert isinstance(alert, AlertingRule)
    assert (alert.for_s, alert.keep_firing_for_s, alert.labels["severity"]) == (90.0, 300.0, "page")
    assert (plain.interval_s, plain.query_offset_s, plain.rules[0].expr) == (15.0, 1.0, "1")


@pytest.mark.parametrize("text", ["", "groups:", "groups: []"])
def test_a_file_without_groups(text: str) -> None:
    assert parse_rules(text, "a.yml") == ()


def rule(text: str) -> str:
    return f"groups:\n- name: g\n  rules:\n  - {text}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (rule("{record: a, alert: b, expr: c}"), "only one of 'record' and 'alert' must be set"),
        (rule("{expr: c}"), "one of 'record' or 'alert' must be set"),
        (rule("{record: a}"), "field 'expr' must be set in rule"),
        (rule("{record: a, expr: 'sum('}"), 'group "g", rule 1, "a": could not parse expression:'),
        (rule("{record: a, expr: b, for: 5m}"), "invalid field 'for' in recording rule"),
        (rule("{record: a, expr: b, annotations: {x: y}}"), "invalid field 'annotations' in recording rule"),
        (rule("{record: 'a{b=\"c\"}', expr: b}"), "braces present in the recording rule name"),
        (rule("{record: a, expr: b, labels: {__name__: x}}"), "invalid label name: '__name__'"),
        (rule("{record: a, exp: b}"), "4: group \"g\", rule 1 has no field 'exp'"),
        (rule("{alert: a, expr: b, for: soon}"), "expected a duration"),
        (rule("[]"), "expected a mapping"),
        ("groups: [{rules: []}]", "Groupname must not be empty"),
        ("groups: [{name: a}, {name: a}]", 'groupname: "a" is repeated in the same file'),
        ("groups: [{name: a, limit: -1}]", "expected a whole number"),
        ("group: []", "known are groups"),
        ("groups: {a", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_told(text: str, problem: str) -> None:
    with pytest.raises(RuleFileError) as caught:
        parse_rules(text, "a.yml")
    assert problem in str(caught.value)
    assert str(caught.value).startswith("a.yml: ")


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(RuleFileError) as caught:
        parse_rules(rule("{record: a}") + "\n  - {alert: b}", "a.yml")
    assert len(caught.value.problems) == 2


def test_the_error_travels() -> None:
    error = RuleFileError("a.yml", ("1: x",))
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
