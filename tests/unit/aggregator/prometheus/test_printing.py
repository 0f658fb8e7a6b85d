from __future__ import annotations

import pytest

from actors.aggregator.prometheus.printing import MAX_LEVEL, go_float, one_line, pretty, quoted
from agent.promql.parse import parse
from agent.promql.tree import Chain
from tests.promql.expressions import nested

LONG = "a_rather_long_name_of_a_metric_that_takes_its_room"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("foo", "foo"),
        ('foo{b="c",a!~"d"}', 'foo{a!~"d",b="c"}'),
        ('{__name__="foo"}', "foo"),
        ('{"a.b",x="1"}', '{__name__="a.b",x="1"}'),
        ('{"a b"="c"}', '{"a b"="c"}'),
        ("foo[ 90s ] offset -1m @ start()", "foo[1m30s] @ start() offset -1m"),
        ("foo[1d3h:]", "foo[1d3h:]"),
        ("foo[1h:30s] @ 1.5 offset 2s", "foo[1h:30s] @ 1.500 offset 2s"),
        ("sum(a) by (b)", "sum by (b) (a)"),
        ("sum(a) without ()", "sum without () (a)"),
        ("topk(3,a)", "topk(3, a)"),
        ("a+on(b)group_left(c)d", "a + on (b) group_left (c) d"),
        ("a > bool ignoring(x) b", "a > bool ignoring (x) b"),
        ("-(a)", "-(a)"),
        ("1e-7", "0.0000001"),
        ("a[8w1d]", "a[57d]"),
        ("a[2w]", "a[2w]"),
        ("'x\\ny'", '"x\\ny"'),
        ("time()", "time()"),
    ],
)
def test_one_line(query: str, text: str) -> None:
    assert one_line(parse(query)) == text
    assert one_line(parse(text)) == text


def test_long_ones_are_laid_out() -> None:
    query = f'sum by (job) (rate({LONG}{{job="cart"}}[5m])) / on (job) sum by (job) (rate({LONG}[5m])) > 0.5'
    assert pretty(parse(query)) == "\n".join(
        [
            f'    sum by (job) (rate({LONG}{{job="cart"}}[5m]))',
            "  / on (job)",
            f"    sum by (job) (rate({LONG}[5m]))",
            ">",
            "  0.5",
        ]
    )


def test_calls_and_parentheses_are_laid_out() -> None:
    query = f"-histogram_quantile(0.9, (sum by (le) (rate({LONG}[5m])) + sum by (le) (rate({LONG}[5m]))))"
    assert pretty(parse(query)) == "\n".join(
        [
            "-histogram_quantile(",
            "  0.9,",
            "  (",
            f"      sum by (le) (rate({LONG}[5m]))",
            "    +",
            f"      sum by (le) (rate({LONG}[5m]))",
            "  )",
            ")",
        ]
    )


@pytest.mark.parametrize(
    "query",
    [
        " + ".join(["1"] * 20),
        " + ".join(["1"] * 60),
        " + on (b) ".join([LONG] * 20),
        " / ignoring (c) group_right (d) ".join([LONG] * 20),
        f"sum({LONG}{{job='cart', instance='1', region='eu-north-1'}} + {LONG})" + " == bool 1" * 20,
        "a * (b" + f" - on (x) {LONG}" * 20 + ")" + " * (c + d)" * 20,
    ],
)
def test_a_long_row_is_laid_out_as_nested_operators(query: str) -> None:
    tree = parse(query)
    assert isinstance(tree, Chain)
    assert pretty(tree) == pretty(nested(tree))
    assert one_line(tree) == one_line(nested(tree))


def test_a_row_goes_so_deep_and_is_flat_where_it_would_go_deeper() -> None:
    deepest = pretty(parse("a" * 100 + " + b" * MAX_LEVEL)).split("\n")
    assert deepest[:2] == ["  " * MAX_LEVEL + "a" * 100, "  " * (MAX_LEVEL - 1) + "+"]
    flat = pretty(parse("(a" + " + b" * (MAX_LEVEL + 1) + ")")).split("\n")
    assert flat[:5] == ["(", "    a", "  +", "    b", "  +"]


def test_thousands_of_operators_stay_what_they_are() -> None:
    tree = parse("a" + " + b * c" * 2_500)
    assert parse(pretty(tree)) == tree


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e21, "1" + "0" * 21), (-1.5e-9, "-0.0000000015"), (0.25, "0.25"), (float("inf"), "+Inf")],
)
def test_numbers_have_no_exponent(value: float, text: str) -> None:
    assert go_float(value) == text


def test_quotes() -> None:
    assert quoted('a"\\\n\x00ä\u202e\udcff') == '"a\\"\\\\\\n\\x00ä\\u202e\\xff"'
