from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.rootcause.digest import Stretch, prepare
from agent.rootcause.hashing import hash_texts
from agent.rootcause.sequences import CALL_HERE, CALL_OTHER, END, END_ERROR, LOG, START
from agent.telemetry.frames import KIND_CLIENT, KIND_SERVER, NO_METRICS, STATUS_ERROR, Telemetry
from tests.unit.rootcause.frames import L, S, logs, spans

ROWS = [
    S(1, 0, "a", "in", 0, 100, KIND_SERVER),
    S(2, 1, "a", "out", 10, 40, KIND_CLIENT),
    S(3, 2, "b", "in b", 15, 35, KIND_SERVER),
    S(4, 1, "a", "work", 50, 60),
]
LINES = [L(45, 1, "a", "half way"), L(7, 99, "a", "of no span")]


def stretch(rows: Sequence[S], lines: Sequence[L] = ()) -> Stretch:
    frame = logs(lines)
    telemetry = Telemetry(0, 1000, spans(rows), frame, NO_METRICS)
    return prepare(telemetry, hash_texts(frame.templates), {})


def steps(found: Stretch, operation: str, *, logs: bool = True) -> list[tuple[int, int]]:
    moved = found.transitions(np.full(len(found.trees), not logs))
    name = found.telemetry.spans.names.index(operation)
    rows = np.flatnonzero(found.trees.name[moved.span] == name)
    return list(zip(moved.before_kind[rows].tolist(), moved.after_kind[rows].tolist(), strict=True))


def test_a_span_is_its_start_its_lines_and_calls_in_time_and_its_end() -> None:
    found = steps(stretch(ROWS, LINES), "in")
    assert found == [(START, CALL_OTHER), (CALL_OTHER, LOG), (LOG, CALL_HERE), (CALL_HERE, END)]


def test_lines_can_be_left_out() -> None:
    assert steps(stretch(ROWS, LINES), "in", logs=False) == [
        (START, CALL_OTHER),
        (CALL_OTHER, CALL_HERE),
        (CALL_HERE, END),
    ]


def test_an_end_in_error_is_another_end() -> None:
    assert steps(stretch([S(1, 0, "a", "x", 0, 9, status=STATUS_ERROR)]), "x") == [(START, END_ERROR)]


def test_a_span_that_is_not_over_has_no_sequence_yet() -> None:
    assert steps(stretch([S(1, 0, "a", "x", 0, 5000)]), "x") == []


def test_keys_name_the_service_and_not_the_instance() -> None:
    one = stretch([S(1, 0, "a/1", "x", 0, 9)]).transitions(np.zeros(1, np.bool_))
    two = stretch([S(1, 0, "a/2", "x", 0, 9)]).transitions(np.zeros(1, np.bool_))
    assert one.key.tolist() == two.key.tolist()
