"""Look-back over series that share their times is that of each alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.promql.kernels import alike
from agent.promql.selectors import at_steps
from agent.promql.values import Selection
from tests.promql.series import STALE
from tests.unit.promql.functions.series import shared

VALUES = st.sampled_from([STALE, np.nan, -0.0, 1.0, 2.0])


@given(
    shared(VALUES), st.lists(st.integers(-5, 410), min_size=1, max_size=12).map(sorted), st.integers(1, 90)
)
def test_look_back_is_that_of_every_series_alone(made: Selection, ends: list[int], lookback: int) -> None:
    alone = Selection(made.labels, made.offsets, made.time_ms, made.value)
    got, expected = (at_steps(one, np.array(ends), lookback) for one in (made, alone))
    assert got.labels.rows() == expected.labels.rows()
    assert got.value.tobytes() == expected.value.tobytes()
    assert got.present.tobytes() == expected.present.tobytes()


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ([], [], True),
        ([1, 2], [1, 2], True),
        ([1, 2], [1, 3], False),
        ([1, 2], [1], False),
        ([1], [2], False),
    ],
)
def test_columns_are_alike_where_all_is_the_same(a: list[int], b: list[int], same: bool) -> None:
    assert alike(np.array(a, np.int64), np.array(b, np.int64)) == same
