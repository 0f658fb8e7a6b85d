"""Random queries, and their trees in two shapes: with rows of operators flat, or nested."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import strategies as st

from agent.promql import reader
from agent.promql.lex import tokens_of
from agent.promql.tree import Binary, Chain, Expr, Link, with_children

_LEAVES = (
    "1", "-2", "1_000", "5m", "x", "y", 'x{i="1"}', "x offset 1m", "x offset -1m", "x offset (1m + 1m)", "x @ 60",
    "x @ end()", "y smoothed", "on", "-x", "+ x", "- -y", "time()", "x # one\n", "sum(x)", "rate(x[2m + 1m])",
)  # fmt: skip
_ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")
_COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")
_MODIFIERS = ("", "", "on (i) ", "ignoring (i) ", "on (i) group_left (k) ", "group_right ", "fill (0) ",
              "on (i) fill_left (-1) ")  # fmt: skip
_OPERATORS = st.one_of(
    st.tuples(st.sampled_from(_ARITHMETIC), st.sampled_from(_MODIFIERS)),
    st.tuples(st.sampled_from(_COMPARISONS), st.sampled_from(("", "bool ", "bool on (i) "))),
    st.tuples(st.sampled_from(("and", "OR", "unless")), st.sampled_from(("", "on (i) "))),
    st.tuples(st.sampled_from(("</", ">/")), st.just("")),
)
_AROUND = ("({})", "-({})", "sum by (i) ({})", "sum({}) without (or, i)", "abs({})", "clamp({}, 1, 2 + 3 * 4)",
           "max_over_time(({})[2m:1m])", "topk(1 + 1, {})")  # fmt: skip


def queries() -> st.SearchStrategy[str]:
    """Most are such as the grammar takes, if their types fit."""
    return st.recursive(st.sampled_from(_LEAVES), _longer, max_leaves=12)


def _longer(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    row = st.tuples(inner, st.lists(st.tuples(_OPERATORS, inner), min_size=1, max_size=5)).map(
        lambda parts: reduce(
            lambda begun, one: f"{begun} {one[0][0]} {one[0][1]}{one[1]}", parts[1], parts[0]
        )
    )
    return row | st.tuples(st.sampled_from(_AROUND), row).map(lambda pair: pair[0].format(pair[1]))


def read_apart(query: str) -> Expr:
    """The tree where even the shortest row is a long one. Raises ParseError."""
    return _read(query, short=0)


def read_whole(query: str) -> Expr:
    """The tree where the grammar package sees every row. Raises ParseError."""
    return _read(query, short=len(query))


def nested(node: Expr) -> Expr:
    """The tree with Binary in the place of every Chain."""
    node = with_children(node, nested)
    return reduce(_around, node.links, node.first) if isinstance(node, Chain) else node


def _around(lhs: Expr, link: Link) -> Expr:
    return Binary(link.op, lhs, link.rhs, link.bool_modifier, link.matching)


def _read(query: str, short: int) -> Expr:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "SHORT", short)
        return reader.read(query, tokens_of(query))
