"""Where the rows of operators are, and how deeply what is no row may nest."""

from __future__ import annotations

import pytest

from agent.promql.errors import ParseError
from agent.promql.lex import tokens_of
from agent.promql.plain import plain
from agent.promql.rows import Rows


def rows_of(query: str) -> list[str]:
    """Every row as its operands, parted by bars."""
    tokens = tokens_of(query)
    found = Rows(query, tokens, plain(query, tokens).durations)
    words = [[query[tokens[a].pos : tokens[b - 1].end] for a, b in row.units()] for row in found.closed]
    return [" | ".join(units) for units in words]


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("a", []),
        ("a + b * c == d and e", ["a | b | c | d | e"]),
        ("-a - -b + +c", ["-a | -b | +c"]),
        ("a ^ -b ^ c + d", ["a ^ -b ^ c | d"]),
        ("a ^ on (x) group_left (y) -b + c", ["a ^ on (x) group_left (y) -b | c"]),
        ("(a + b) * c", ["a | b", "(a + b) | c"]),
        ("f(a + b, c, d OR e)", ["a | b", "d | e"]),
        ("sum by (and, or) (a) + b", ["sum by (and, or) (a) | b"]),
        ("sum(a) without (or) / b", ["sum(a) without (or) | b"]),
        ("a == bool on (x, y) group_left (z) fill (-1) b", ["a | b"]),
        ("a * on (x) group_left b - c", ["a | b | c"]),
        ("a + on + fill - bool", ["a | on | fill | bool"]),
        ("and and and", ["and | and"]),
        ("a{b='c', d!='e'} % {f='g'}", ["a{b='c', d!='e'} | {f='g'}"]),
        ("a[5m + 1m] offset -(1m + 2m) + b offset -5m", ["a[5m + 1m] offset -(1m + 2m) | b offset -5m"]),
        ("a @ -1.5 - b @ start()", ["a @ -1.5 | b @ start()"]),
        ("(a + b)[5m:1m] > 1", ["a | b", "(a + b)[5m:1m] | 1"]),
        ("1 + 'a + b' # + c\n + d", ["1 | 'a + b' | d"]),
        ("a </ 1 atan2 2", ["a | 1 | 2"]),
    ],
)  # fmt: skip
def test_rows(query: str, rows: list[str]) -> None:
    assert rows_of(query) == rows


def test_all_operators_are_counted() -> None:
    query = "-a + f(b ^ -c) * d"
    tokens = tokens_of(query)
    assert Rows(query, tokens, {}).operators == 5


@pytest.mark.parametrize(
    ("query", "operands"),
    [("a +", ["a", ""]), ("* b + c", ["* b", "c"]), ("a + * b", ["a", "* b"]), ("a + on ()", ["a", ""])],
)
def test_operands_may_be_missing(query: str, operands: list[str]) -> None:
    tokens = tokens_of(query)
    (row,) = Rows(query, tokens, {}).closed
    assert [" ".join(token.text for token in tokens[a:b]) for a, b in row.units()] == operands


@pytest.mark.parametrize(
    "query",
    ["-" * 150 + "a" + "+ -a" * 1000, "2 ^ " * 150 + "2" + " + 2 ^ 2" * 1000, "f(" + "-a ^ -a, " * 1000 + "a)"],
    ids=["signs", "powers", "arguments"],
)  # fmt: skip
def test_nesting_ends_with_its_operand(query: str) -> None:
    tokens = tokens_of(query)
    assert Rows(query, tokens, {}).operators > 1000


@pytest.mark.parametrize(
    ("query", "place"),
    [("-" * 10_000 + "a", "1:200"), ("1^" * 10_000 + "1", "1:400"), ("(-" * 150 + "1" + ")" * 150, "1:200")],
    ids=["signs", "powers", "signs in parentheses"],
)
def test_too_deep(query: str, place: str) -> None:
    with pytest.raises(ParseError, match=f"{place}: .* nesting is too deep: at most 200 levels"):
        Rows(query, tokens_of(query), {})
