"""Look-back, stale markers, and matrices as selections, against their definitions."""

from __future__ import annotations

import numpy as np

from agent.promql.functions.kinds import Windows
from agent.promql.selectors import at_steps, cut, selection_of, subquery_grid, without_stale
from agent.promql.values import Grid, Selection
from agent.telemetry.labels import LabelTable
from agent.telemetry.native import FloatHistogram
from tests.promql.series import STALE
from tests.promql.storage import MemoryStorage


def random_storage(series: int = 12, seed: int = 3) -> MemoryStorage:
    rng = np.random.default_rng(seed)
    storage = MemoryStorage()
    for i in range(series):
        for time in np.unique(rng.integers(0, 100_000, 60)).tolist():
            value = STALE if rng.random() < 0.1 else float(time)
            if i % 3 == 0 and rng.random() < 0.3:
                storage.append((("i", str(i)),), time, FloatHistogram(count=float(time), sum=float(time)))
            else:
                storage.append((("i", str(i)),), time, value)
    return storage


def test_the_last_sample_counts_unless_it_is_stale_or_too_old() -> None:
    storage = random_storage()
    selection = storage.select((), 0, 100_000)
    ends, lookback = np.arange(0, 100_000, 700), 2000
    result = at_steps(selection, ends, lookback)
    times = at_steps(selection, ends, lookback, stamps=True)
    rows = {labels: i for i, labels in enumerate(result.labels.rows())}
    for labels, (at, values) in storage._series.items():
        for j, end in enumerate(ends.tolist()):
            seen = [(t, v) for t, v in zip(at, values, strict=True) if end - lookback < t <= end]
            time, value = seen[-1] if seen else (0, STALE)
            i = rows[labels]
            cell = None if result.histogram is None else result.histogram[i, j]
            if isinstance(value, FloatHistogram):
                assert cell is not None
                assert cell.count == value.count
                assert not result.present[i, j]
            else:
                assert cell is None
                assert result.present[i, j] == (value == value)
            if isinstance(value, FloatHistogram) or value == value:
                assert times.value[i, j] == time / 1000


def test_a_matrix_and_back() -> None:
    selection = random_storage().select((), 0, 100_000)
    grid = Grid(0, 99_000, 1000)
    matrix = at_steps(selection, grid.times, 5000)
    again = at_steps(selection_of(matrix, grid.times), grid.times, 1)
    assert again.labels.rows() == matrix.labels.rows()
    assert np.array_equal(again.present, matrix.present)
    assert np.array_equal(again.value, matrix.value)


def test_stale_markers_go() -> None:
    selection = Selection(
        LabelTable.of([(("i", "1"),), (("i", "2"),)]),
        np.array([0, 3, 5]),
        np.array([1, 2, 3, 1, 2]),
        np.array([1.0, STALE, np.nan, STALE, 5.0]),
    )
    fresh = without_stale(selection)
    assert fresh.offsets.tolist() == [0, 2, 3]
    assert fresh.time_ms.tolist() == [1, 3, 2]


def test_a_range_is_open_on_the_left() -> None:
    selection = Selection(
        LabelTable.of([(), ()]), np.array([0, 3, 4]), np.array([0, 5, 10, 0]), np.arange(4.0)
    )
    window = cut(Windows(selection, np.array([10]), 10))
    assert window.offsets.tolist() == [0, 2]
    assert window.time_ms.tolist() == [5, 10]


def test_subqueries_step_on_multiples_of_their_step() -> None:
    assert subquery_grid(Grid(95, 95, 0), 50, 20, 0) == Grid(60, 95, 20)
    assert subquery_grid(Grid(100, 120, 10), 40, 20, 0) == Grid(80, 120, 20)
    assert subquery_grid(Grid(10, 10, 0), 30, 20, 5) == Grid(-20, 5, 20)
