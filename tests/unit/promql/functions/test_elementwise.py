from __future__ import annotations

import math

import numpy as np
import pytest

from agent.promql.functions.elementwise import larger, smaller
from agent.promql.values import Matrix
from tests.unit.promql.functions.series import call, cells, labelled, scalar, steps, vector

INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("abs", -2.5, 2.5),
        ("ceil", -2.5, -2.0),
        ("floor", -2.5, -3.0),
        ("round", -2.5, -2.0),
        ("round", 2.5, 3.0),
        ("sgn", -INF, -1.0),
        ("sgn", NAN, NAN),
        ("sgn", 0.0, 0.0),
        ("exp", 10.0, 22026.465794806718),
        ("ln", 0.0, -INF),
        ("ln", -1.0, NAN),
        ("log2", 8.0, 3.0),
        ("log10", 1000.0, 3.0),
        ("sqrt", -1.0, NAN),
        ("acosh", 0.5, NAN),
        ("deg", math.pi, 180.0),
        ("rad", 180.0, math.pi),
        ("atanh", 1.0, INF),
    ],
)
def test_functions_of_one_number(name: str, value: float, expected: float) -> None:
    assert call(name, vector(value)).value[0, 0] == pytest.approx(expected, nan_ok=True, rel=1e-15)


@pytest.mark.parametrize(
    ("one", "other", "least", "most"),
    [
        (1.0, 2.0, 1.0, 2.0),
        (NAN, 1.0, NAN, NAN),
        (NAN, INF, NAN, INF),
        (-INF, NAN, -INF, NAN),
        (0.0, -0.0, -0.0, 0.0),
        (-0.0, 0.0, -0.0, 0.0),
    ],
)
def test_smaller_and_larger_are_those_of_go(one: float, other: float, least: float, most: float) -> None:
    assert repr(float(smaller(scalar(one), scalar(other))[0])) == repr(least)
    assert repr(float(larger(scalar(one), scalar(other))[0])) == repr(most)


def test_bounds_are_those_of_their_step() -> None:
    clamped = call("clamp", steps([1.0, 5.0, 9.0]), scalar(2.0, 2.0, 3.0), scalar(4.0, 4.0, 1.0))
    assert cells(clamped) == [[2.0, 4.0, None]]
    assert call("clamp_min", vector(NAN), scalar(3.0)).present.all()
    assert call("clamp_max", vector(7.0), scalar(3.0)).value.tolist() == [[3.0]]


def test_round_to_a_multiple() -> None:
    assert call("round", vector(12.4), scalar(5.0)).value.tolist() == [[10.0]]


def test_histograms_are_left_out() -> None:
    rows = labelled({"a": "1"}, {"a": "2"})
    held = np.array([[None], [object()]], np.object_)
    mixed = Matrix(rows.labels, rows.value, np.array([[True], [False]]), held)
    result = call("abs", mixed)
    assert cells(result) == [[0.0], [None]]
    assert result.histogram is None
