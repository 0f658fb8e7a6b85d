"""Times that series share, and the column that they stand for."""

from __future__ import annotations

import numpy as np

from agent.promql.pushdown import joined
from agent.promql.selectors import without_stale
from agent.promql.values import Selection, Times
from tests.promql.series import STALE
from tests.unit.promql.functions.series import named


def sharing(*values: float) -> Selection:
    """Two series of the same two times, one of one time, one without samples."""
    times = Times(np.array([0, 0, 2, 3]), np.array([10, 20, 15]))
    return Selection(named(4), np.array([0, 2, 4, 5, 5]), times, np.array(values))


def test_shared_times_are_written_out_a_value_each() -> None:
    assert sharing(1, 2, 3, 4, 5).time_ms.tolist() == [10, 20, 10, 20, 15]


def test_a_column_of_times_stays_as_it_is() -> None:
    column = np.array([1, 2, 1])
    made = Selection(named(2), np.array([0, 2, 3]), column, np.ones(3))
    assert made.time_ms is column
    assert made.times.start.tolist() == [0, 2]


def test_selections_are_joined_with_their_times() -> None:
    both = joined([sharing(1, 2, 3, 4, 5), sharing(6, 7, 8, 9, 0)])
    assert both.time_ms.tolist() == 2 * [10, 20, 10, 20, 15]
    assert len(both.times.ms) == 6


def test_each_series_loses_its_own_stale_markers() -> None:
    fresh = without_stale(sharing(1, STALE, 3, 4, STALE))
    assert fresh.offsets.tolist() == [0, 1, 3, 3, 3]
    assert fresh.time_ms.tolist() == [10, 10, 20]
    assert not fresh.stale
