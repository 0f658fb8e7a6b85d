from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.rootcause.trees import AMBIGUOUS, Callees, PlaceTable, Trees, build_trees, callees, merge
from agent.telemetry.frames import KIND_CLIENT, KIND_SERVER, NO_SPANS, SYSTEM_DB
from tests.unit.rootcause.frames import S, spans

CALL = [
    S(1, 0, "a", "in", 0, 100, KIND_SERVER),
    S(2, 1, "a", "out", 10, 90, KIND_CLIENT),
    S(3, 2, "b", "in b", 20, 70, KIND_SERVER),
]


def build(rows: Sequence[S], known: Callees | None = None) -> tuple[Trees, PlaceTable]:
    table = PlaceTable()
    return build_trees(spans(rows), table, 10**9, known or {}), table


def test_self_time_is_what_children_leave() -> None:
    trees, _ = build(CALL)
    assert trees.self_ns.tolist() == [20, 30, 50]


def test_children_that_overlap_are_counted_once() -> None:
    trees, _ = build([S(1, 0, "a", "x", 0, 100), S(2, 1, "a", "y", 10, 60), S(3, 1, "a", "z", 40, 80)])
    assert trees.self_ns.tolist() == [30, 50, 40]


def test_a_span_that_only_calls_is_an_edge() -> None:
    trees, table = build(CALL)
    assert trees.edge.tolist() == [-1, 2, -1]
    assert table.places().services[trees.callee[1]] == "b"


def test_the_same_span_twice_is_one() -> None:
    trees, _ = build([*CALL, CALL[1]])
    assert len(trees) == 3


def test_the_same_ids_in_two_traces_are_two() -> None:
    trees, _ = build([S(1, 0, "a", "x", 0, 1, trace=1), S(1, 0, "a", "x", 0, 1, trace=2)])
    assert (len(trees), trees.n_traces) == (2, 2)


def test_a_callee_with_another_clock_is_put_into_its_callers_middle_with_its_subtree() -> None:
    rows = [*CALL[:2], S(3, 2, "b", "in b", 520, 570, KIND_SERVER), S(4, 3, "b", "work", 530, 560)]
    trees, _ = build(rows)
    assert trees.start_ns.tolist() == [0, 10, 25, 35]


def test_a_parent_that_is_missing_makes_a_root() -> None:
    trees, _ = build([S(2, 99, "a", "x", 0, 10)])
    assert trees.parent.tolist() == [-1]


def test_cycles_are_cut() -> None:
    trees, _ = build(
        [S(1, 3, "a", "x", 0, 9), S(2, 1, "a", "y", 1, 8), S(3, 2, "a", "z", 2, 7), S(4, 4, "a", "w", 0, 1)]
    )
    assert sorted(trees.parent.tolist()).count(-1) == 2
    assert len(trees) == 4


def test_a_trace_of_fifty_thousand_spans_in_one_chain() -> None:
    trees, _ = build([S(i, i - 1, "a", "x", i, 200_000 - i) for i in range(1, 50_001)])
    assert trees.parent.tolist() == list(range(-1, 49_999))


def test_a_call_that_left_no_span_is_for_whom_such_calls_are() -> None:
    trees, table = build([*CALL, S(4, 1, "a", "out", 92, 95, KIND_CLIENT)])
    assert table.places().services[trees.callee[-1]] == "b"


def test_a_call_without_a_span_is_known_from_before() -> None:
    before, table = build(CALL)
    trees, table = build([CALL[0], CALL[1]], callees(before, table.places()))
    assert table.places().services[trees.callee[1]] == "b"


def test_a_call_to_a_database_is_its_callers_own() -> None:
    trees, _ = build([CALL[0], S(2, 1, "a", "SELECT", 10, 90, KIND_CLIENT, system=SYSTEM_DB)])
    assert trees.callee.tolist() == [-1, -1]


def test_what_is_called_from_one_spot_in_two_ways_is_not_guessed() -> None:
    assert merge({1: ("a", 1)}, {1: ("b", 1)}) == {1: AMBIGUOUS}


def test_a_span_whose_end_lies_beyond_the_stretch_is_not_whole() -> None:
    assert build_trees(spans(CALL), PlaceTable(), 80, {}).whole.tolist() == [False, False, True]


def test_no_spans() -> None:
    trees = build_trees(NO_SPANS, PlaceTable(), 1, {})
    assert (len(trees), trees.n_traces) == (0, 0)
    assert trees.self_ns.dtype == np.int64
