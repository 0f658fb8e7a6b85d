"""Rows of operators, flat in the tree, have the values that they have nested; thousands of them have one."""

from __future__ import annotations

from itertools import starmap
from time import perf_counter

import pytest
from hypothesis import assume, given

from agent.promql.engine import Engine, Query, Result
from agent.promql.errors import ParseError, QueryError
from agent.promql.options import EngineOptions
from agent.promql.parse import EVERYTHING
from agent.promql.preprocess import preprocess
from agent.promql.pushdown import StreamsEvaluation, travels
from agent.promql.tree import Chain, Expr, StepInvariant, VectorSelector, walk
from agent.promql.values import Grid, Matrix
from tests.promql.compare import series_of as samples_of
from tests.promql.divided import DividedStorage
from tests.promql.expressions import nested, queries, read_apart
from tests.promql.series import series_of
from tests.promql.storage import MemoryStorage

OPTIONS = EngineOptions(delayed_name_removal=True, dialect=EVERYTHING)
LINES = (
    'x{i="1",k="a"} 1+2x4',
    'x{i="2",k="b"} -3 4 _ 0 7',
    'y{i="1",k="a"} 2 0 5 stale 1',
    'y{i="3"} 1x4',
    "on 2x4",
)
GRID = Grid(60_000, 180_000, 60_000)


def filled(storage: MemoryStorage) -> MemoryStorage:
    for line in LINES:
        storage.load(*series_of(line), 60_000)
    return storage


ENGINES = {
    "one": (Engine(OPTIONS), filled(MemoryStorage())),
    "divided": (Engine(OPTIONS, StreamsEvaluation), filled(DividedStorage(OPTIONS))),
}


def found(where: str, query: str, root: Expr) -> object:
    """Series with their values, and what was noted; or why there is none."""
    engine, storage = ENGINES[where]
    try:
        result = engine.range(Query(query, root), GRID.start_ms, GRID.end_ms, GRID.step_ms, storage)
    except QueryError as error:
        return str(error)
    return sorted(starmap(_row, _series(result))), sorted(result.warnings), sorted(result.infos)


def _series(result: Result) -> list[tuple[tuple[tuple[str, str], ...], dict[int, object]]]:
    assert isinstance(result.value, Matrix)
    return [(labels, dict(samples)) for labels, samples in samples_of(result.value, result.grid)]


def _row(labels: tuple[tuple[str, str], ...], samples: dict[int, object]) -> tuple[str, str]:
    return repr(labels), repr(samples)


@pytest.mark.parametrize("where", list(ENGINES))
@given(query=queries())
def test_a_chain_has_the_value_of_nested_operators(where: str, query: str) -> None:
    try:
        root = read_apart(query)
    except ParseError:
        assume(False)
    assume(any(isinstance(node, Chain) for node in walk(root)))
    assert found(where, query, root) == found(where, query, nested(root))


@pytest.mark.parametrize(
    ("query", "steady"),
    [
        ("x @ 60 + 1 + y @ 60 - x", "x @ 60 + 1 + y @ 60"),
        ("x + x @ 60 + y @ 60", "x @ 60"),
        ("x @ 60 - y", "x @ 60"),
        ("x @ 60 - y @ 60", "x @ 60 - y @ 60"),
    ],
)
def test_the_beginning_that_is_the_same_at_every_step_is_computed_once(query: str, steady: str) -> None:
    tree = preprocess(read_apart(query), GRID)
    first = next(node for node in walk(tree) if isinstance(node, StepInvariant))
    assert nested(first.expr) == nested(read_apart(steady))


@pytest.mark.parametrize(
    ("query", "whole"),
    [
        ("1 + 2 * x - 3", True),
        ("x + y", False),
        ("1 + scalar(x) + x", False),
        ("sum(x) + 1", False),
        ("1 + 2", False),
    ],
)
def test_a_chain_about_one_series_travels(query: str, whole: bool) -> None:
    assert travels(read_apart(query)) is travels(nested(read_apart(query))) is whole


@pytest.mark.parametrize(("query", "totals"), [("h + h - 1", True), ("h + 1 >/ 2", False)])
def test_selectors_of_totals(query: str, totals: bool) -> None:
    tree = preprocess(read_apart(f"histogram_count({query})"), GRID)
    assert {node.totals for node in walk(tree) if isinstance(node, VectorSelector)} == {totals}


@pytest.mark.parametrize("where", list(ENGINES))
def test_five_thousand_operators(where: str) -> None:
    engine, storage = ENGINES[where]
    begun = perf_counter()
    value = engine.instant('x{i="1"}' + " + 1" * 5_000, 0, storage).value
    assert isinstance(value, Matrix)
    assert value.value.tolist() == [[5_001.0]]
    assert engine.instant("1" + " - 1" * 5_000, 0, storage).value == -4_999.0
    assert perf_counter() - begun < 10
