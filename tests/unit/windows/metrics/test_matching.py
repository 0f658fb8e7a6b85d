"""What matchers take."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import Malformed
from agent.promql.values import Matcher
from agent.windows.metrics.matching import check, fitting, predicate, takes, words

VALUES = ["", "a", "b", "ab", "abc", "a.b", "axb", "foo", "foobar", "barfoo", "a\nb", "é", "10.0.0.1", "a|b"]
PATTERNS = [
    "", "a", "a|b", "(a|b)", "(?:a|b)", "a|", "|", ".*", ".+", "foo.*", "foo.+", ".*foo", ".*foo.*", "a.b",
    r"a\.b", r"a\|b", r"10\.0\.0\..+", r"\.*", "[ab]+", "(a)(b)", "(a)b|(c)", "(a|b)|(c)", "^a$", "a?", ".",
    ".*.*", ".*.+", "(?i)A", ".*?o", "é",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_expressions_are_anchored_and_a_dot_takes_a_line_feed(pattern: str) -> None:
    expected = [re.fullmatch(pattern, value, re.DOTALL) is not None for value in VALUES]
    assert [predicate(pattern)(value) for value in VALUES] == expected
    place = {value: k for k, value in enumerate(VALUES)}
    assert fitting(Matcher("n", "=~", pattern), VALUES, place).tolist() == expected
    assert fitting(Matcher("n", "!~", pattern), VALUES, place, 3).tolist() == [not e for e in expected[3:]]


@given(st.text("ab.*+|()\\", max_size=8), st.text("ab.*|", max_size=5))
def test_short_cuts_say_the_same_as_the_engine(pattern: str, value: str) -> None:
    try:
        expected = re.fullmatch(pattern, value, re.DOTALL) is not None
        fits = predicate(pattern)(value)
    except (re.error, Malformed):
        return
    assert fits == expected


@pytest.mark.parametrize(
    ("op", "value", "expected"),
    [("=", "", True), ("=", "a", False), ("!=", "a", True), ("!=", "", False), ("=~", ".*", True), ("!~", "", False)],
)  # fmt: skip
def test_an_absent_label_is_empty(op: str, value: str, expected: bool) -> None:
    assert takes(Matcher("n", op, value), "") is expected


def test_alternations_of_words_are_looked_up() -> None:
    assert words(r"a\.b|(c)") is None
    assert words(r"a\.b|c") == ("a.b", "c")
    assert words("(x|y)") == ("x", "y")


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "a**", "(?<=a)b", r"(a)\1", "((a{1000}){1000}){1000}", "[a-z]" * 20_000]
)
def test_what_re2_does_not_take_is_refused(pattern: str) -> None:
    with pytest.raises(Malformed) as refused:
        check(Matcher("n", "=~", pattern))
    assert len(refused.value.message) < 500


def test_an_expression_that_explodes_elsewhere_is_quick() -> None:
    start = time.process_time()
    assert not predicate("(a+)+$b")("a" * 5000)
    assert not predicate("(x|xx)+y.{1,20}")("x" * 5000)
    assert time.process_time() - start < 0.5


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(Malformed, match="operator"):
        check(Matcher("n", "~", "a"))
