from __future__ import annotations

import pytest

from actors.aggregator.prometheus.faults import MAX_WORDS, located
from agent.promql.errors import ParseError
from agent.promql.parse import parse


def told(query: str) -> str:
    with pytest.raises(ParseError) as refused:
        parse(query)
    return str(located(refused.value))


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("foo bar", '1:5: parse error: unexpected identifier "bar"'),
        ("1 +", "1:4: parse error: unexpected end of input"),
        ("1 + * 2", '1:5: parse error: unexpected "*"'),
        ('foo{a="b"} 3', '1:12: parse error: unexpected number "3"'),
        ("sum(foo) bye (x)", '1:10: parse error: unexpected identifier "bye"'),
        ("sum by (job) (rate(foo[5m])) // 2", '1:31: parse error: unexpected "/"'),
        ("a +\n  b c", '2:5: parse error: unexpected identifier "c"'),
        ('sum("x" "y")', '1:9: parse error: unexpected "y"'),
        ("foo{a=b}", '1:7: parse error: unexpected identifier "b"'),
        ("ü", "1:1: parse error: unexpected character"),
        ("sum(nosuch(foo))", '1:5: parse error: unknown function with name "nosuch"'),
        (
            "sum(rate(foo))",
            '1:10: parse error: expected type range vector in call to function "rate", got instant vector',
        ),
        (
            "abs(foo) + clamp(foo, bar, 1)",
            '1:23: parse error: expected type scalar in call to function "clamp", got instant vector',
        ),
        ('a + foo{x="y", b=~"["}', "1:19: parse error: illegal regex for ["),
        ("1 + topk(foo)", "1:5: parse error: wrong number of arguments"),
        ("1 + " * 20 + "* 2", '1:81: parse error: unexpected "*"'),
        ("1 + " * 20 + "(2 +)", '1:85: parse error: unexpected ")"'),
        ("1 + " * 20, "1:81: parse error: unexpected end of input"),
    ],
)
def test_places(query: str, text: str) -> None:
    assert told(query).startswith(text)


def test_an_endless_query_is_not_searched() -> None:
    query = "foo bar " * MAX_WORDS
    error = ParseError("unexpected token: invalid promql query", query)
    assert located(error) is error


def test_what_has_a_place_keeps_it() -> None:
    error = ParseError("x", "foo", 2)
    assert located(error) is error
