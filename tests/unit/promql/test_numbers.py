from __future__ import annotations

import pytest

from agent.promql.numbers import half_away


@pytest.mark.parametrize(
    ("number", "expected"), [(0.5, 1), (1.5, 2), (-0.5, -1), (-2.5, -3), (0.49, 0), (2.0, 2), (-1.2, -1)]
)
def test_halves_go_away_from_zero(number: float, expected: float) -> None:
    assert half_away(number) == expected
