from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.promql.values import Grid
from tests.unit.promql.functions.series import call, vector

PARTS = {
    "minute": lambda day: day.minute,
    "hour": lambda day: day.hour,
    "day_of_week": lambda day: day.isoweekday() % 7,
    "day_of_month": lambda day: day.day,
    "day_of_year": lambda day: day.timetuple().tm_yday,
    "month": lambda day: day.month,
    "year": lambda day: day.year,
}
FIRST, LAST = -62_135_596_800, 253_402_300_799  # years 1 to 9999


@pytest.mark.parametrize("name", PARTS)
@given(seconds=st.lists(st.integers(FIRST, LAST), min_size=1, max_size=20))
def test_parts_of_a_date(name: str, seconds: list[int]) -> None:
    days = [dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=second) for second in seconds]
    got = call(name, vector(*map(float, seconds))).value[:, 0].tolist()
    assert got == [float(PARTS[name](day)) for day in days]


@pytest.mark.parametrize(
    ("seconds", "days"), [(1454284800, 29), (1485907200, 28), (951782400, 29), (4105123200, 28), (0, 31)]
)
def test_days_in_month(seconds: float, days: float) -> None:
    assert call("days_in_month", vector(seconds)).value.tolist() == [[days]]


def test_what_is_no_date_has_the_farthest_one() -> None:
    for value in (math.nan, -math.inf, math.inf, 1e300):
        assert call("year", vector(value)).value.tolist() == [[292277026596.0]]


def test_fractions_of_a_second_are_cut_off() -> None:
    assert call("minute", vector(-0.9)).value.tolist() == [[0.0]]


def test_without_an_argument_the_time_of_the_step_counts() -> None:
    result = call("hour", grid=Grid(0, 7_200_000, 3_600_000))
    assert result.value.tolist() == [[0.0, 1.0, 2.0]]
    assert result.labels.rows() == [()]


def test_timestamp_of_what_is_computed_is_the_step() -> None:
    assert np.array_equal(call("timestamp", vector(5.0), grid=Grid(1500, 1500, 0)).value, [[1.5]])
