"""A query whose rows are taken apart is the one that the grammar package reads as a whole."""

from __future__ import annotations

import pytest
from hypothesis import given

from agent.promql.errors import ParseError
from agent.promql.lex import tokens_of
from agent.promql.reader import SHORT, read
from agent.promql.tree import Binary, Chain, Expr, Paren, walk
from tests.promql.expressions import nested, queries, read_apart, read_whole

ROW = " + 1" * SHORT


def tree_of(query: str) -> Expr:
    return read(query, tokens_of(query))


def read_or_refused(query: str, *, apart: bool) -> Expr | None:
    try:
        return nested(read_apart(query)) if apart else read_whole(query)
    except ParseError:
        return None


@given(queries())
def test_a_row_taken_apart_is_what_it_was(query: str) -> None:
    whole, apart = read_or_refused(query, apart=False), read_or_refused(query, apart=True)
    assert apart == whole
    if whole is not None and apart is not None:
        assert [(node.pos, node.type) for node in walk(apart)] == [(n.pos, n.type) for n in walk(whole)]


@pytest.mark.parametrize(
    "query",
    [
        "a + b - c * d / e % f ^ g atan2 h",
        "a or b unless c and d > e + f * g ^ h",
        "1 == bool 2 != bool 3 >= bool 4",
        "a </ 1 >/ b < c",
        "-a ^ b * -c - -d + +e",
        "a ^ -b ^ c * 2",
        "a ^ on (x) -b + c",
        "a / on (x) group_left (y) b * ignoring (z) c + fill (0) d",
        "sum(a + b) by (or) / (c - d) / max((e * f)[5m:1m] offset -1m)",
        "info(a + b, {x='y'}) + 1",
        "label_replace(a + b, 'x + y', '$1', 'z', '(.*)') * c",
        "a # one + two\n + # three\n b # four",
        "a offset (1m + step()) + b[5m]",
        "'x' + 1",
        "a + sum by (b + c) (d)",
        "a + on (b + c) d",
        "1 and 2 + 3",
        "a + bool b",
        "a + on (x) 1",
    ],
)
def test_the_same_as_a_whole(query: str) -> None:
    assert read_or_refused(query, apart=True) == read_or_refused(query, apart=False)


def test_a_short_row_is_nested_and_a_long_one_flat() -> None:
    assert isinstance(tree_of("1" + ROW), Binary)
    long = tree_of("1" + ROW + " - x")
    assert isinstance(long, Chain)
    assert ([link.op for link in long.links], long.type) == (["+"] * SHORT + ["-"], "vector")


def test_tighter_operators_stand_below_looser_ones() -> None:
    tree = tree_of("(a" + " * b + c" * (SHORT + 1) + ")")
    assert isinstance(tree, Paren)
    assert isinstance(tree.expr, Chain)
    below = [tree.expr.first, *(link.rhs for link in tree.expr.links[:-1])]
    assert {node.op for node in below if isinstance(node, Binary)} == {"*"}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("1" + ROW + " +", "1:68: parse error: unexpected end of input"),
        ("(1" + ROW + " +)", '1:69: parse error: unexpected "\\)"'),
        ("f(1" + ROW + " +, 2)", '1:70: parse error: unexpected ","'),
        ("1" + ROW + " + * 2", "invalid promql query"),
        ("1" + ROW + " + a b", "invalid promql query"),
        ("1" + ROW + " and 2", "set operator 'and' not allowed in binary scalar expression"),
        ("1" + ROW + " > 2", "comparisons between scalars must use BOOL modifier"),
        ("1" + ROW + " </ 2", "1:67: parse error: operator '</' not allowed for Scalar operations"),
        ("a" + ROW + " >/ bool 2", "1:67: parse error: bool modifier can only be used on comparison"),
        ("a" + ROW + " + a[5m]", "must contain only scalar and instant vector types"),
        ("a" + ROW + " + on (b) 1", "vector matching only allowed between vectors"),
        ("rate(a" + ROW + " + 1)", "expected type matrix in call to function 'rate', got vector"),
        ("abs(1" + ROW + " + 1)", "expected type vector in call to function 'abs', got scalar"),
        ("sum by (a" + ROW + " + 1) (b)", "invalid promql query"),
        ("1" + ROW + " + nope(a)", 'unknown function with name "nope"'),
        ("a" + ROW + " + on (b) group_left (b) c", "must not occur in ON and GROUP clause at once"),
    ],
    ids=lambda text: text.replace(ROW, " ..."),
)
def test_refused(query: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        tree_of(query)


@pytest.mark.parametrize(
    "query",
    [
        "1" + " + 1" * 20_000,
        " or ".join(["a + b * on (c) d"] * 5_000),
        "a" + " + (b - c)" * 9_000,
        "a" + " > -b" * 9_000,
        "f" + "(f" * 150 + " + f" * 9_000 + ")" * 150,
        "(" * 90 + "a" + (" + a" * 17 + ")") * 90,
        ("(" + "a + " * 17) * 90 + "a" + ")" * 90,
    ],
    ids=["numbers", "joins", "parentheses", "signs", "inside", "to the left", "to the right"],
)  # fmt: skip
def test_long_queries_are_read(query: str) -> None:
    if query.startswith("f"):
        query = query.replace("f(", "abs(")
    tree = tree_of(query)
    assert max(len(node.links) for node in walk(tree) if isinstance(node, Chain)) >= SHORT


@pytest.mark.parametrize(
    "query",
    ["(" * 150 + "a" + (" + a" * 17 + ")") * 150, ("(" + "a + " * 17) * 150 + "a" + ")" * 150, "1 ^ " * 199 + "1 ^ 1"],
    ids=["to the left", "to the right", "powers"],
)  # fmt: skip
def test_deep_queries_are_refused(query: str) -> None:
    with pytest.raises(ParseError, match="nesting is too deep: at most 200 levels are accepted"):
        tree_of(query)
