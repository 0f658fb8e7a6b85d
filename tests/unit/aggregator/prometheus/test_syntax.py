from __future__ import annotations

from typing import Any

import orjson
import pytest

from actors.aggregator.prometheus.syntax import tree_json
from agent.promql.parse import parse
from agent.promql.tree import Chain
from tests.promql.expressions import nested

NO_TIME = {"timestamp": None, "startOrEnd": None}
PLAIN = {"offset": 0, "offsetExpr": None, **NO_TIME, "anchored": False, "smoothed": False}


def tree(query: str) -> Any:
    return tree_json(parse(query))


def selector(name: str, *matchers: tuple[str, str, str]) -> dict[str, Any]:
    own = [*matchers, ("__name__", "=", name)]
    return {"name": name, "matchers": [{"name": n, "type": op, "value": v} for n, op, v in own], **PLAIN}


def test_a_selector() -> None:
    assert tree('foo{a=~"b"}') == {"type": "vectorSelector", **selector("foo", ("a", "=~", "b"))}


def test_modifiers() -> None:
    shown = tree("foo[5m] offset -1m @ end()")
    assert shown["type"] == "matrixSelector"
    assert (shown["range"], shown["offset"], shown["startOrEnd"]) == (300_000, -60_000, "end")
    assert tree("foo @ 1.5")["timestamp"] == 1500


def test_a_call() -> None:
    shown = tree("round(foo, 5)")
    assert shown["func"] == {
        "name": "round",
        "argTypes": ["vector", "scalar"],
        "variadic": 1,
        "returnType": "vector",
    }
    assert shown["args"][1] == {"type": "numberLiteral", "val": "5"}


def test_an_aggregation() -> None:
    shown = tree("topk without (a) (3, foo)")
    assert shown["op"] == "topk"
    assert (shown["grouping"], shown["without"], shown["param"]["val"]) == (["a"], True, "3")
    assert shown["expr"] == {"type": "vectorSelector", **selector("foo")}


@pytest.mark.parametrize(
    ("query", "card"),
    [
        ("a + b", "one-to-one"),
        ("a * on (x) group_left (y) b", "many-to-one"),
        ("a * on (x) group_right b", "one-to-many"),
        ("a and b", "many-to-many"),
    ],
)
def test_matching(query: str, card: str) -> None:
    assert tree(query)["matching"]["card"] == card


def test_numbers_match_nothing() -> None:
    assert tree("a > bool 1")["matching"] is None
    assert tree("a > bool 1")["bool"] is True


def test_a_subquery() -> None:
    shown = tree("(-foo)[1h:1m]")
    assert (shown["type"], shown["range"], shown["step"]) == ("subquery", 3_600_000, 60_000)
    assert shown["expr"]["expr"]["op"] == "-"


def test_a_computed_range() -> None:
    shown = tree("foo[5m+1m]")
    assert shown["range"] == 0
    assert shown["rangeExpr"]["op"] == "+"


@pytest.mark.parametrize(
    "query",
    [
        "1" + " + 1" * 60,
        "1" + " + 1" * 20 + " - a",
        "a" + " == bool on (b) group_left (c) d" * 20,
        "a" + " or (b" + " + fill (2) c" * 20 + ")" + " or d" * 20,
    ],
)
def test_a_long_row_is_nested(query: str) -> None:
    root = parse(query)
    assert isinstance(root, Chain)
    assert orjson.loads(orjson.dumps(tree_json(root))) == tree_json(nested(root))


def test_thousands_of_operators() -> None:
    text = orjson.dumps(tree_json(parse("a" + " + b" * 5_000)))
    assert text.startswith(b'{"type":"binaryExpr","op":"+","lhs":{"type":"binaryExpr"')
    assert (text.count(b'"lhs":{"type":"binaryExpr"'), text.count(b"{")) == (4_999, text.count(b"}"))
