from __future__ import annotations

import math

import pytest

from agent.promql.errors import ExecutionError
from tests.unit.promql.functions.series import MINUTE_MS, every, over, scalar, selection

FIVE = 5 * MINUTE_MS
SAW = every(FIVE, *[0.0, 10, 20, 30, 40, 0, 10, 20, 30, 40, 50])


def test_the_slope_is_a_second() -> None:
    assert over("deriv", selection(SAW), 100 * MINUTE_MS, 50 * MINUTE_MS)[0][0] == pytest.approx(
        0.010606060606060607, rel=1e-13
    )


def test_the_line_is_followed_from_the_step_on() -> None:
    got = over("predict_linear", selection(SAW), 55 * MINUTE_MS, 50 * MINUTE_MS, more=[scalar(3600.0)])
    assert got[0][0] == pytest.approx(76.81818181818181, rel=1e-13)


@pytest.mark.parametrize(("value", "expected"), [(3.0, 0.0), (math.inf, math.nan)])
def test_a_constant_has_no_slope(value: float, expected: float) -> None:
    got = over("deriv", selection(every(10, value, value, value)), 100, 20)
    assert got[0][0] == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("name", ["deriv", "predict_linear", "double_exponential_smoothing"])
def test_one_sample_makes_no_line(name: str) -> None:
    more = {"deriv": [], "predict_linear": [scalar(1.0)]}.get(name, [scalar(0.5), scalar(0.5)])
    assert over(name, selection(every(10, 1.0)), 100, 20, more=more) == [[None]]


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ((0.0, 0.5), "invalid smoothing factor. Expected: 0 < sf < 1, got: 0.000000"),
        ((0.5, 1.0), "invalid trend factor. Expected: 0 < tf < 1, got: 1.000000"),
    ],
)
def test_factors_lie_between_0_and_1(factors: tuple[float, float], message: str) -> None:
    with pytest.raises(ExecutionError, match=message):
        over(
            "double_exponential_smoothing",
            selection(every(10, 1.0, 2.0)),
            100,
            20,
            more=[scalar(factor) for factor in factors],
        )
