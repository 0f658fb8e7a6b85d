"""The compiled aggregations against their definitions, cell by cell."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.promql.aggregate import aggregate
from agent.promql.annotations import Annotations
from agent.promql.groupkernels import kahan, partial_sums
from agent.promql.tree import Aggregation, NumberLiteral, VectorSelector
from agent.promql.values import Grid, Matrix
from agent.telemetry.labels import LabelTable

STEPS = 7
GRID = Grid(0, (STEPS - 1) * 1000, 1000)


def random_matrix(rows: int = 40, seed: int = 5) -> Matrix:
    """Gaps, ties and a few NaN, in groups of ``g``."""
    rng = np.random.default_rng(seed)
    value = rng.integers(-5, 20, (rows, STEPS)).astype(np.float64)
    value[rng.random(value.shape) < 0.03] = np.nan
    sets = [(("__name__", "m"), ("g", str(i % 3)), ("i", f"{i:02}")) for i in range(rows)]
    return Matrix(LabelTable.of(sets), value, rng.random(value.shape) < 0.8)


def result_of(op: str, matrix: Matrix, param: float | None = None) -> Matrix:
    literal = None if param is None else NumberLiteral(param)
    node = Aggregation(op, VectorSelector(()), literal, ("g",))
    values = None if param is None else np.full(matrix.value.shape[1], param)
    return aggregate(node, matrix, values, GRID, Annotations("x"))


@given(st.lists(st.tuples(st.floats(), st.booleans()), min_size=1, max_size=30))
def test_partial_sums_are_those_of_one_addition_after_the_other(column: list[tuple[float, bool]]) -> None:
    value, there = (np.array(one).reshape(-1, 1) for one in zip(*column, strict=True))
    total, lost, count = np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1), np.int64)
    partial_sums(value, there, np.zeros(len(value), np.int64), total, lost, count)
    expected, rest = 0.0, 0.0
    for k, x in enumerate(value[there].tolist()):
        expected, rest = kahan(x, expected, rest) if k else (x, 0.0)
    assert np.array([expected, rest]).tobytes() == np.array([total[0, 0], lost[0, 0]]).tobytes()
    assert count[0, 0] == there.sum()


def plain_max(values: list[float]) -> float:
    numbers = [x for x in values if not math.isnan(x)]
    return max(numbers) if numbers else math.nan


def plain_quantile(values: list[float]) -> float:
    ordered = sorted(values, key=lambda x: (not math.isnan(x), x))
    rank = 0.3 * (len(ordered) - 1)
    low = math.floor(rank)
    high = min(len(ordered) - 1, low + 1)
    return ordered[low] * (1 - (rank - low)) + ordered[high] * (rank - low)


def plain_stdvar(values: list[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else statistics.pvariance(values)


@pytest.mark.parametrize(
    ("op", "param", "plain"),
    [
        ("sum", None, math.fsum),
        ("avg", None, lambda values: math.fsum(values) / len(values)),
        ("max", None, plain_max),
        ("min", None, lambda values: -plain_max([-x for x in values])),
        ("count", None, len),
        ("group", None, lambda _: 1.0),
        ("stdvar", None, plain_stdvar),
        ("stddev", None, lambda values: math.sqrt(plain_stdvar(values))),
        ("quantile", 0.3, plain_quantile),
    ],
)
def test_one_value_a_group(op: str, param: float | None, plain: Callable[[list[float]], float]) -> None:
    matrix = random_matrix()
    result = result_of(op, matrix, param)
    groups = np.array(matrix.labels.column("g"))
    for row, group in enumerate(result.labels.column("g")):
        for step in range(STEPS):
            chosen = matrix.present[:, step] & (groups == group)
            expected = plain(matrix.value[chosen, step].tolist())
            assert result.value[row, step] == pytest.approx(expected, nan_ok=True, rel=1e-12), (group, step)


@pytest.mark.parametrize(("op", "sign"), [("topk", 1), ("bottomk", -1)])
def test_the_best_of_a_group(op: str, sign: int) -> None:
    matrix = random_matrix()
    result = result_of(op, matrix, 4.0)
    groups, kept = np.array(matrix.labels.column("g")), np.array(result.labels.column("g"))
    for step in range(STEPS):
        for group in ("0", "1", "2"):
            values = matrix.value[matrix.present[:, step] & (groups == group), step]
            got = result.value[result.present[:, step] & (kept == group), step]
            order = np.lexsort([-sign * values, np.isnan(values)])
            assert np.array_equal(np.sort(got), np.sort(values[order][:4]), equal_nan=True)


def test_sums_keep_small_numbers_and_infinities() -> None:
    column = np.array([[1.0, np.inf], [1e100, 1.0], [1.0, 2.0], [-1e100, -np.inf]])
    labels = LabelTable.of([(("i", str(i)),) for i in range(4)])
    total = result_of("sum", Matrix(labels, column, np.ones(column.shape, np.bool_))).value
    assert total[0, 0] == 2.0
    assert math.isnan(total[0, 1])


def test_a_mean_does_not_overflow() -> None:
    column = np.full((3, 1), 1.5e308)
    labels = LabelTable.of([(("i", str(i)),) for i in range(3)])
    mean = result_of("avg", Matrix(labels, column, np.ones(column.shape, np.bool_))).value
    assert mean[0, 0] == pytest.approx(1.5e308)
