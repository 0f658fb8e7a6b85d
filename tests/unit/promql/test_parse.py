"""Text to tree: what the layer round the grammar package adds, bounds and places."""

from __future__ import annotations

import math
from time import perf_counter

import pytest

from agent.promql.errors import ParseError
from agent.promql.parse import Dialect, parse
from agent.promql.preprocess import preprocess
from agent.promql.tree import (
    Aggregation,
    At,
    Binary,
    Call,
    Chain,
    DurationExpr,
    MatrixSelector,
    Negation,
    NumberLiteral,
    StringLiteral,
    Subquery,
    VectorSelector,
    walk,
)
from agent.promql.values import Grid, Matcher

A = VectorSelector((Matcher("__name__", "=", "a"),))


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("1_000", NumberLiteral(1000.0)),
        ("0x1F", NumberLiteral(31.0)),
        ("- -5", NumberLiteral(5.0)),
        ("-1h30m", NumberLiteral(-5400.0)),
        ("-Inf", NumberLiteral(-math.inf)),
        ('"a\\xc5z"', StringLiteral("a\udcc5z")),
        ("`a\\n`", StringLiteral("a\\n")),
        ("+a", A),
        ("--a", Negation(Negation(A))),
        ("a @ -1.5", VectorSelector(A.matchers, at=At(-1500))),
        ("a @ end() offset -5m", VectorSelector(A.matchers, -300_000, At(edge="end"))),
        ("a offset step()", VectorSelector(A.matchers, DurationExpr("step", ()))),
        ("a smoothed", VectorSelector(A.matchers, extension="smoothed")),
        ("a[5m] anchored offset 1s", MatrixSelector(VectorSelector(A.matchers, 1000, None, "anchored"), 300_000)),
        ("a[1m+1]", MatrixSelector(A, DurationExpr("+", (60.0, 1.0)))),
        ("a[1h:2m] @ start()", Subquery(A, 3_600_000, 120_000, at=At(edge="start"))),
        ("a </ 5", Binary("</", A, NumberLiteral(5.0))),
        ('{"a", b=~"c"}', VectorSelector((*A.matchers, Matcher("b", "=~", "c")))),
        ("SUM(a) BY (b)", Aggregation("sum", A, labels=("b",))),
        ("offset + 1", Binary("+", VectorSelector((Matcher("__name__", "=", "offset"),)), NumberLiteral(1.0))),
    ],
)  # fmt: skip
def test_tree(text: str, tree: object) -> None:
    assert parse(text) == tree


def test_matching() -> None:
    node = parse("a == bool on (x) group_right (y) fill_left (-1) b")
    assert isinstance(node, Binary)
    matching = node.matching
    assert node.bool_modifier
    assert (matching.on, matching.labels, matching.group, matching.include) == (True, ("x",), "right", ("y",))
    assert (matching.fill_left, matching.fill_right) == (-1.0, None)


def test_positions_are_those_of_the_words() -> None:
    text = 'sum by (x) (rate(a{b="c"}[5m] offset 1m))\n  / -(b + topk(3, c))'
    for node in walk(parse(text)):
        if isinstance(node, Call | Aggregation):
            name = node.name if isinstance(node, Call) else node.op
            assert text.startswith(name, node.pos)
        if isinstance(node, VectorSelector):
            assert text.startswith(node.matchers[0].value, node.pos)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no expression found"),
        ("a b", "1:1: parse error: unexpected"),
        ("sum(a", "1:6: parse error: unclosed left parenthesis"),
        ("a)", "1:2: parse error: unexpected right parenthesis"),
        ('a{b="c', "1:5: parse error: unterminated quoted string"),
        ("a $ b", "1:3: parse error: unexpected character: '$'"),
        ('{a=""}', "at least one non-empty matcher"),
        ('{"a", "b"}', "metric name must not be set twice"),
        ("rate(a)", "expected type matrix"),
        ("nope(a)", 'unknown function with name "nope"'),
        ("a[10000000000y]", "duration out of range"),
        ("1 </ 2", "not allowed for Scalar operations"),
        ("(" * 10_000 + "1" + ")" * 10_000, "nesting is too deep"),
        ("-" * 10_000 + "a", "nesting is too deep: at most 200"),
        ("-" * 10_000 + "1", "nesting is too deep: at most 200"),
        ("^".join(["1"] * 10_000), "nesting is too deep: at most 200"),
        ("^".join(["1"] * 300), "nesting is too deep: at most 200"),
        ("a[" + "-" * 10_000 + "1m]", "nesting is too deep: at most 200"),
        ("+".join(["1"] * 20_002), "too many operators: 20001, at most 20000"),
        ("a" * 300_000, "query is too long"),
    ],
    ids=lambda text: text[:30],
)
def test_error(text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message.replace("(", r"\(").replace("$", r"\$")):
        parse(text)


def test_thousands_of_operators() -> None:
    begun = perf_counter()
    tree = parse(" - ".join(["a"] * 5_001))
    assert isinstance(tree, Chain)
    assert (len(tree.links), tree.type, tree.pos) == (5_000, "vector", 0)
    assert perf_counter() - begun < 5


@pytest.mark.parametrize("text", ["(" * 10_000 + "1" + ")" * 10_000, "-" * 10_000 + "1", "1^" * 10_000 + "1"])
def test_what_is_too_deep_is_refused_at_once(text: str) -> None:
    begun = perf_counter()
    with pytest.raises(ParseError):
        parse(text)
    assert perf_counter() - begun < 5


def test_trees_of_short_queries_are_remembered() -> None:
    assert parse("a + 1 == 2") is parse("a + 1 == 2")


@pytest.mark.parametrize(
    "text",
    [
        "limitk(1, a)",
        "info(a)",
        "rate(a[1m] anchored)",
        "a + fill(0) b",
        "sort_by_label(a)",
        "a + 1" + " * 1 + fill(0) b" * 20,
    ],
)
def test_features_are_off_by_default(text: str) -> None:
    parse(text)
    with pytest.raises(ParseError, match="enable"):
        parse(text, Dialect())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 + fill(0) a", "only allowed between instant vectors"),
        ("a or fill(0) b", "not allowed for set operators"),
    ],
)
@pytest.mark.parametrize("behind", ["", " + a" * 20, " or a" * 20])
def test_fill_needs_two_vectors(text: str, message: str, behind: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse(text + behind)


@pytest.mark.parametrize(
    "text", ["first_over_time(a[1m])", "a[1m + step()]", "a[1h:2 * 1m]", "a offset (range() / 2)"]
)
def test_what_is_stable_needs_no_switch(text: str) -> None:
    assert parse(text, Dialect()) == parse(text)


@pytest.mark.parametrize(
    ("text", "totals"),
    [
        ("h", False),
        ("histogram_count(rate(h[5m]))", True),
        ("histogram_avg(sum(h))", True),
        ("histogram_quantile(0.5, h)", False),
        ("histogram_count(rate(h[5m:1m]))", False),
        ("histogram_sum(h >/ 1)", False),
        ("histogram_count(h) + histogram_sum(h)", True),
    ],
)
def test_selectors_of_totals(text: str, totals: bool) -> None:
    tree = preprocess(parse(text), Grid(0, 60_000, 15_000))
    assert {node.totals for node in walk(tree) if isinstance(node, VectorSelector)} == {totals}
