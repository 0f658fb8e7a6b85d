from __future__ import annotations

import math

import pytest

from agent.telemetry.native_log2 import exp2, log2


@pytest.mark.parametrize(
    ("schema", "ratio"),
    [(1, 1.414213562373095), (2, 1.189207115002721), (4, 1.0442737824274138), (8, 1.0027112750502025)],
)
def test_the_ratio_of_bounds_is_the_agreed_one(schema: int, ratio: float) -> None:
    assert exp2(2.0**-schema) == ratio


@pytest.mark.parametrize("power", [-1074, -3, 0, 1, 52, 1023])
def test_powers_of_two_are_exact(power: int) -> None:
    assert exp2(float(power)) == math.ldexp(1, power)
    assert log2(math.ldexp(1, power)) == power


@pytest.mark.parametrize(
    ("value", "expected"), [(1024.0, math.inf), (-1080.0, 0.0), (math.inf, math.inf), (-math.inf, 0.0)]
)
def test_the_ends_of_the_range(value: float, expected: float) -> None:
    assert exp2(value) == expected


def test_not_a_number_and_zero() -> None:
    assert math.isnan(exp2(math.nan))
    assert log2(0.0) == -math.inf
    assert log2(math.inf) == math.inf


@pytest.mark.parametrize("value", [1e-300, 0.1, 0.3, 2.7, 1e10])
def test_near_the_true_value(value: float) -> None:
    assert log2(value) == pytest.approx(math.log2(value), rel=1e-15)
    assert exp2(log2(value)) == pytest.approx(value, rel=1e-12)
