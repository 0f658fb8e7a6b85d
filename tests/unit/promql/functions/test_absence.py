from __future__ import annotations

import numpy as np
import pytest

from agent.promql.functions.kinds import Windows
from agent.promql.tree import Call, Expr, MatrixSelector, Paren, VectorSelector
from agent.promql.values import Grid, Matcher
from tests.unit.promql.functions.series import call, cells, every, selection, vector


def selector(*matchers: tuple[str, str, str]) -> VectorSelector:
    return VectorSelector(tuple(Matcher(*matcher) for matcher in matchers))


def absent_of(argument: Expr) -> Call:
    return Call("absent", (argument,), "vector")


@pytest.mark.parametrize(
    ("matchers", "expected"),
    [
        ([("__name__", "=", "x")], ()),
        ([("job", "=", "a"), ("instance", "=", "b"), ("m", "=~", ".x")], (("instance", "b"), ("job", "a"))),
        ([("job", "=", "a"), ("job", "=", "b"), ("foo", "=", "bar")], (("foo", "bar"),)),
        ([("job", "=", "a"), ("job", "=", "b"), ("job", "=", "c")], ()),
        ([("job", "=", "a"), ("job", "=~", "b")], ()),
        ([("job", "!=", "a")], ()),
    ],
)
def test_labels_are_those_asked_for(
    matchers: list[tuple[str, str, str]], expected: tuple[tuple[str, str], ...]
) -> None:
    empty = vector(1.0)
    empty.present[:] = False
    result = call("absent", empty, node=absent_of(Paren(selector(*matchers))))
    assert result.labels.rows() == [expected]
    assert cells(result) == [[1.0]]


def test_one_sample_is_enough() -> None:
    assert cells(call("absent", vector(1.0), node=absent_of(selector()))) == [[None]]


def test_absent_over_time_looks_at_every_window() -> None:
    windows = Windows(selection(every(10, 1.0), every(10, None, 1.0)), np.array([5, 15, 30]), 10)
    node = absent_of(MatrixSelector(selector(("job", "=", "a")), 10))
    result = call("absent_over_time", windows, grid=Grid(0, 2, 1), node=node)
    assert cells(result) == [[None, None, 1.0]]
    assert result.labels.rows() == [(("job", "a"),)]
