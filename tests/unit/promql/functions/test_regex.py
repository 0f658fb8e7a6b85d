from __future__ import annotations

import pytest

from agent.promql.functions.regex import WholeMatch, template_parts


@pytest.mark.parametrize(
    ("expression", "text", "fits"),
    [
        ("a|b", "a", True),
        ("a|b", "ab", False),
        ("value-(.*)", "source-value-1", False),
        (".*", "two\nlines", True),
        ("", "", True),
        ("(?i)abc", "ABC", True),
        (r"\pL+", "Größe", True),
        (r"\d+", "٣", False),
    ],
)
def test_an_expression_fits_the_whole_text(expression: str, text: str, fits: bool) -> None:
    assert (text in WholeMatch(expression).expand("", [text])) == fits


@pytest.mark.parametrize("expression", ["(.*", "a**", "(?=x)", r"(a)\1", "[b-a]"])
def test_what_is_no_expression_of_go_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="is no regular expression"):
        WholeMatch(expression)


def test_no_expression_explodes() -> None:
    assert WholeMatch("(a+)+b").expand("", ["a" * 5000]) == {}


def test_an_expression_that_would_take_too_much_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="too large"):
        WholeMatch(r"\pL{1000}")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$1-$2", "left-right"),
        ("${1}x", "leftx"),
        ("$1x", ""),
        ("$0", "left:right"),
        ("${name}", "right"),
        ("$name!", "right!"),
        ("$3", ""),
        ("$$1", "$1"),
        ("$", "$"),
        ("${1", "${1"),
        ("$-", "$-"),
        ("$01", ""),
        ("plain", "plain"),
    ],
)
def test_templates_are_expanded_as_go_does(template: str, expected: str) -> None:
    assert WholeMatch("([a-z]+):(?P<name>.*)").expand(template, ["left:right"]) == {"left:right": expected}


def test_groups_past_the_ninth() -> None:
    expression = "".join(f"({letter})" for letter in "abcdefghijkl")
    assert WholeMatch(expression).expand("$12$10$1", ["abcdefghijkl"]) == {"abcdefghijkl": "lja"}


def test_a_group_that_took_no_part_is_empty() -> None:
    assert WholeMatch("a(x)?b").expand("<$1>", ["ab"]) == {"ab": "<>"}


def test_template_parts() -> None:
    assert template_parts("a$b${c}$$") == ["a", ("b",), "", ("c",), "", "$"]
