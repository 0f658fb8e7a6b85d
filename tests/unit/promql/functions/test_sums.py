from __future__ import annotations

import math

import pytest

from tests.unit.promql.functions.series import every, over, selection

INF = math.inf
HUGE = 9.988465674311579e307


@pytest.mark.parametrize(
    ("values", "total", "mean"),
    [
        ([1, 2, 3, 4, 5], 15, 3),
        ([1, 2, 3, 4, INF], INF, INF),
        ([1, 2, 3, 4, -INF], -INF, -INF),
        ([1, 2, 3, INF, -INF], math.nan, math.nan),
        ([INF, 0, INF], INF, INF),
        ([1, math.nan], math.nan, math.nan),
        ([HUGE, HUGE], INF, HUGE),
        ([-HUGE, -HUGE, -HUGE], -INF, -HUGE),
        ([-HUGE, HUGE], 0, 0),
        ([1, 1e100, 1, -1e100], 2, 0.5),
        ([52.0] * 13, 676, 52),
    ],
)
def test_sum_and_mean(values: list[float], total: float, mean: float) -> None:
    chosen = selection(every(10, *values))
    assert over("sum_over_time", chosen, 1000, 500)[0][0] == pytest.approx(total, nan_ok=True, rel=1e-15)
    assert over("avg_over_time", chosen, 1000, 500)[0][0] == pytest.approx(mean, nan_ok=True, rel=1e-15)


def test_a_large_value_that_left_the_window_leaves_no_trace() -> None:
    chosen = selection(every(1, *[1e17, 3.0], *[0.1] * 30))
    assert over("sum_over_time", chosen, 10, 31)[0][0] == pytest.approx(1.0, rel=1e-15)


def test_nothing_without_samples() -> None:
    assert over("sum_over_time", selection(every(10, 1.0, 2.0)), 10, 100) == [[None]]
