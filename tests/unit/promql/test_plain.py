"""What the grammar package is given for the words of a query."""

from __future__ import annotations

import pytest

from agent.promql.errors import ParseError
from agent.promql.lex import tokens_of
from agent.promql.plain import Plain, plain
from agent.promql.tree import DurationExpr


def plain_of(query: str) -> Plain:
    return plain(query, tokens_of(query))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("sum by (a) (b{c='d'})", "sum by (a) (b{c='d'})"),
        ("a  +  # one\n b", "a  +  # one\n b"),
        ("a </ 1 >/ 2", "a >= 1 >= 2"),
        ("1_000 + 0x1_0", "1000 + 0x10"),
        ("a smoothed + b[5m] anchored", "a   + b[5m]  "),
        ("smoothed + anchored", "smoothed + anchored"),
        ("a + fill(-1m) b", "a + fill(-1) b"),
        ("a[5m]", "a[5m]"),
        ("a[5m * 2] + 1", "a[ 1s ] + 1"),
        ("a[5m + 1m : 1m * 2]", "a[ 1s  : 1s ]"),
        ("a offset (1m + step()) + b", "a offset 1s  + b"),
        ("a offset - 1m", "a offset - 1m"),
        ("{a='b'} + info(c, {d='e'})", "{a='b'} + info(c, {x!=\"\",d='e'})"),
        ("{a='b', offset='c'}", "{a='b', offset='c'}"),
    ],
)
def test_text(query: str, text: str) -> None:
    assert "".join(plain_of(query).pieces) == text


def test_there_is_a_piece_for_every_word() -> None:
    query = "rate(a[5m * (1 + 2)]) / b"
    pieces = plain_of(query).pieces
    assert len(pieces) == len(tokens_of(query))
    assert pieces[4:12] == [" 1s ", "", "", "", "", "", "", "]"]


def test_duration_expressions_are_told_with_the_word_behind_them() -> None:
    known = plain_of("a[5m * 2] offset -step() + b")
    assert known.durations == {
        2: (DurationExpr("*", (300.0, 2.0)), 5),
        7: (DurationExpr("-", (DurationExpr("step", ()),)), 11),
    }


@pytest.mark.parametrize("query", ["a[5m *]", "a[5m / 0]", "a[(5m]"])
def test_refused(query: str) -> None:
    with pytest.raises(ParseError):
        plain_of(query)
