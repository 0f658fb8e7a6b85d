"""The engine's door: types of results, limits, tokens, the way to hand subtrees to somebody else."""

from __future__ import annotations

import numpy as np
import pytest

from agent.promql.engine import Engine
from agent.promql.errors import ExecutionError, QueryCanceled, QueryError, QueryLimit, QueryTimeout
from agent.promql.evaluate import Evaluation, Value
from agent.promql.options import Deadline, EngineOptions
from agent.promql.tree import Aggregation, Expr
from agent.promql.values import Grid, Matrix, Selection
from tests.promql.series import series_of
from tests.promql.storage import MemoryStorage


def storage_of(*lines: str, gap_ms: int = 60_000) -> MemoryStorage:
    storage = MemoryStorage()
    for line in lines:
        storage.load(*series_of(line), gap_ms)
    return storage


STORAGE = storage_of('x{i="2"} 1+1x10', 'x{i="1"} 2+2x10', "y 1 stale 3")


def test_types_of_instant_results() -> None:
    engine = Engine()
    assert engine.instant("1 + 1", 0, STORAGE).value == 2.0
    assert engine.instant('"a"', 0, STORAGE).value == "a"
    vector, window = (
        engine.instant("x", 60_000, STORAGE).value,
        engine.instant("x[2m]", 60_000, STORAGE).value,
    )
    assert isinstance(vector, Matrix)
    assert sorted(vector.value[:, 0].tolist()) == [2.0, 4.0]
    assert isinstance(window, Selection)
    assert window.offsets.tolist() == [0, 2, 4]


def test_a_range_is_sorted_by_labels() -> None:
    result = Engine().range("x", 0, 120_000, 60_000, STORAGE)
    assert isinstance(result.value, Matrix)
    assert result.value.labels.column("i") == ["1", "2"]
    assert result.value.value.tolist() == [[2, 4, 6], [1, 2, 3]]
    assert result.samples == 6


def test_a_scalar_becomes_one_series() -> None:
    result = Engine().range("time()", 0, 120_000, 60_000, STORAGE)
    assert isinstance(result.value, Matrix)
    assert result.value.value.tolist() == [[0, 60, 120]]


@pytest.mark.parametrize(
    ("query", "start", "end", "step", "message"),
    [
        ("x[5m]", 0, 60_000, 1000, "invalid expression type"),
        ("x", 0, 60_000, 0, "query resolution step"),
        ("x", 60_000, 0, 1000, "end timestamp must not be before start time"),
        ("x", 0, 100 * 365 * 86_400_000, 1, "exceeded maximum resolution of 11,000 points"),
        ("max_over_time(x[100y:1ms])", 0, 60_000, 60_000, "too many samples"),
        ("x @ 1 and on () {y=~'['}", 0, 60_000, 60_000, "regex"),
    ],
)
def test_refused(query: str, start: int, end: int, step: int, message: str) -> None:
    with pytest.raises(QueryError, match=message):
        Engine().range(query, start, end, step, STORAGE)


def test_limits() -> None:
    with pytest.raises(QueryLimit, match="too many samples"):
        Engine(EngineOptions(max_samples=5)).range("x", 0, 600_000, 60_000, STORAGE)
    with pytest.raises(QueryLimit, match="at most 1 are read"):
        Engine(EngineOptions(max_series=1)).instant("x", 0, STORAGE)


def test_a_query_stops_when_it_is_told_to() -> None:
    clock = [0.0]
    token = Deadline(lambda: clock[0], 1.0)
    assert Engine().instant("x", 0, STORAGE, token).value
    clock[0] = 2.0
    with pytest.raises(QueryTimeout, match="timed out"):
        Engine().instant("x", 0, STORAGE, token)
    token.cancel()
    with pytest.raises(QueryCanceled):
        Engine().instant("x", 0, STORAGE, token)


def test_names_go_at_once_unless_delayed() -> None:
    both = storage_of("x 1", "y 1")
    query = 'label_replace(-{__name__=~"x|y"}, "was", "$1", "__name__", "(.*)")'
    result = Engine(EngineOptions(delayed_name_removal=True)).instant(query, 0, both)
    assert isinstance(result.value, Matrix)
    assert result.value.labels.rows() == [(("was", "x"),), (("was", "y"),)]
    with pytest.raises(ExecutionError, match="same labelset"):
        Engine().instant(query, 0, both)


def test_a_subtree_may_be_answered_elsewhere() -> None:
    asked: list[tuple[str, int]] = []

    class Elsewhere(Evaluation):
        def evaluate(self, node: Expr, grid: Grid) -> Value:
            if isinstance(node, Aggregation):
                asked.append((node.op, len(grid)))
            return super().evaluate(node, grid)

    Engine(evaluation=Elsewhere).range("sum(x) + sum(x @ 60)", 0, 120_000, 60_000, STORAGE)
    assert asked == [("sum", 3), ("sum", 1)]


def test_evaluation_leaves_its_input_alone() -> None:
    fixed = STORAGE.select((), 0, 10_000_000)
    before = fixed.value.copy()

    class Fixed:
        def select(self, matchers: object, start_ms: int, end_ms: int) -> Selection:
            return fixed

    Engine().range("-(x * 2) or x > 3", 0, 600_000, 60_000, Fixed())
    assert np.array_equal(fixed.value, before, equal_nan=True)
