from __future__ import annotations

import math

import numpy as np

from agent.promql.values import Grid
from tests.unit.promql.functions.series import call, scalar, steps, vector

MINUTE = Grid(60_000, 120_000, 30_000)


def test_scalar_is_the_only_value_of_a_step() -> None:
    rows = steps([1.0, 2.0], [3.0, 4.0])
    rows.present[1, 0] = False
    got = call("scalar", rows)
    assert got[0] == 1.0
    assert math.isnan(got[1])


def test_vector_has_no_labels() -> None:
    result = call("vector", scalar(1.0, 2.0))
    assert result.labels.rows() == [()]
    assert result.value.tolist() == [[1.0, 2.0]]


def test_times_of_the_query() -> None:
    expected = {
        "time": [60.0, 90.0, 120.0],
        "start": [60.0] * 3,
        "end": [120.0] * 3,
        "step": [30.0] * 3,
        "range": [60.0] * 3,
        "pi": [math.pi] * 3,
    }
    assert {name: call(name, grid=MINUTE).tolist() for name in expected} == expected


def test_min_of_and_max_of_pass_nan_on() -> None:
    assert call("min_of", scalar(3.0, -2.0), scalar(5.0, -5.0)).tolist() == [3.0, -5.0]
    assert np.isnan(call("max_of", scalar(3.0), scalar(math.nan))).all()


def test_an_empty_vector_is_no_number() -> None:
    empty = vector(1.0)
    empty.present[:] = False
    assert np.isnan(call("scalar", empty)).all()
