"""Every action, and the corners that Prometheus documents."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from agent.telemetry.relabel import Action, Rule, relabel
from agent.telemetry.relabel_regex import BadRegex, anchored, expand, match

LABELS = {"a": "foo", "b": "bar", "c": "baz"}


def after(labels: dict[str, str] = LABELS, **rule: Any) -> dict[str, str] | None:
    return relabel(labels, [Rule(**rule)])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"source_labels": ("a",), "regex": "f(.*)", "target_label": "d", "replacement": "ch${1}-ch${1}"}, {**LABELS, "d": "choo-choo"}),
        ({"source_labels": ("a", "b"), "regex": "f(.*);(.*)r", "target_label": "a", "replacement": "b${1}${2}m"}, {**LABELS, "a": "boobam"}),
        ({"source_labels": ("a",), "regex": "o", "target_label": "d"}, LABELS),
        ({"source_labels": ("a",), "target_label": "d"}, {**LABELS, "d": "foo"}),
        ({"source_labels": ("none",), "target_label": "a"}, {"b": "bar", "c": "baz"}),
        ({"source_labels": ("none",), "regex": "x(.*)", "target_label": "a"}, LABELS),
        ({"target_label": "d", "replacement": "static"}, {**LABELS, "d": "static"}),
        ({"source_labels": ("a",), "regex": "(f).*", "target_label": "${1}_x", "replacement": "v"}, {**LABELS, "f_x": "v"}),
        ({"source_labels": ("a",), "regex": "(f)", "target_label": "0${1}"}, LABELS),
        ({"action": Action.KEEP, "source_labels": ("a",), "regex": "f.*"}, LABELS),
        ({"action": Action.KEEP, "source_labels": ("a",), "regex": "o"}, None),
        ({"action": Action.DROP, "source_labels": ("a", "b"), "regex": "foo;bar"}, None),
        ({"action": Action.DROP, "source_labels": ("a",), "regex": "fo"}, LABELS),
        ({"action": Action.KEEPEQUAL, "source_labels": ("a",), "target_label": "b"}, None),
        ({"action": Action.DROPEQUAL, "source_labels": ("none",), "target_label": "other"}, None),
        ({"action": Action.LABELMAP, "regex": "(a|b)", "replacement": "new_$1"}, {**LABELS, "new_a": "foo", "new_b": "bar"}),
        ({"action": Action.LABELDROP, "regex": "a|b"}, {"c": "baz"}),
        ({"action": Action.LABELKEEP, "regex": "a|b"}, {"a": "foo", "b": "bar"}),
        ({"action": Action.UPPERCASE, "source_labels": ("a",), "target_label": "a"}, {**LABELS, "a": "FOO"}),
    ],
)  # fmt: skip
def test_actions(rule: dict[str, Any], expected: dict[str, str] | None) -> None:
    assert after(**rule) == expected


def test_hashmod_is_the_low_half_of_md5() -> None:
    expected = int(hashlib.md5(b"foo;bar").hexdigest()[16:], 16) % 1000
    rule = Rule(Action.HASHMOD, ("a", "b"), target_label="d", modulus=1000)
    assert relabel(LABELS, [rule]) == {**LABELS, "d": str(expected)}


def test_rules_follow_one_another_and_the_input_stays() -> None:
    rules = [Rule(source_labels=("a",), target_label="d"), Rule(Action.LABELDROP, regex="a")]
    labels = dict(LABELS)
    assert relabel(labels, rules) == {"b": "bar", "c": "baz", "d": "foo"}
    assert labels == LABELS


def test_case_is_changed_a_character_at_a_time() -> None:
    rule = Rule(Action.LOWERCASE, ("a",), target_label="a")
    assert relabel({"a": "\u0391\u03a3 \u0130"}, [rule]) == {"a": "\u03b1\u03c3 i"}
    rule = Rule(Action.UPPERCASE, ("a",), target_label="a")
    assert relabel({"a": "straße"}, [rule]) == {"a": "STRAßE"}


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"action": Action.HASHMOD, "target_label": "a"}, "modulus"),
        ({"action": Action.REPLACE}, "target_label"),
        ({"action": Action.LABELDROP, "source_labels": ("a",)}, "source_labels"),
        ({"action": Action.KEEPEQUAL, "target_label": "a", "regex": "b"}, "regex"),
        ({"action": Action.LOWERCASE, "target_label": "$1"}, "label name"),
        ({"target_label": "a", "regex": "("}, "regex"),
    ],
)
def test_rules_that_prometheus_refuses(rule: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Rule(**rule)


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("a|b", "ab", False),
        ("a.b", "a\nb", True),
        ("(?i)abc", "aBC", True),
        ("(?i:a)b", "Ab", True),
        (r"\d+", "٣", False),
        ("[[:alpha:]_]+", "ab_", True),
        ("[]a]+", "]a", True),
        ("(?<x>a)", "a", True),
        (r"a\z", "a", True),
        ("a$", "a\n", False),
        ("(a+)+b", "a" * 5000, False),
        ("\u00e4.", "\u00e4\u00f6", True),
        ("a.*", "a\udc80", True),
    ],
)
def test_regular_expressions(pattern: str, text: str, fits: bool) -> None:
    assert (match(pattern, text) is not None) is fits


@pytest.mark.parametrize("pattern", ["(?=a)", "(?<!a)b", r"(a)\1", "a++", "(?>a)", "[[:no:]]", "a\\", "("])
def test_what_re2_does_not_have_is_refused(pattern: str) -> None:
    with pytest.raises(BadRegex):
        anchored(pattern)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$1", "a"),
        ("${1}x", "ax"),
        ("$1x", ""),
        ("$$1", "$1"),
        ("$n", "b"),
        ("$9", ""),
        ("$", "$"),
        ("$0", "ab"),
    ],
)
def test_templates(template: str, expected: str) -> None:
    found = match("(a)(?P<n>b)", "ab")
    assert found is not None
    assert expand(template, found) == expected
