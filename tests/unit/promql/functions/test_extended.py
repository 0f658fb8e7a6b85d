from __future__ import annotations

import numpy as np
import pytest

from agent.promql.functions.kinds import Windows
from tests.unit.promql.functions.series import call, cells, every, selection

QUARTER, MINUTE = 15_000, 60_000
RESET = every(QUARTER, *[1.0, 2, 3, 4, 5], *[9.0, 10, 11, 12, 13])
GAP = every(QUARTER, 1.0, 2.0, 3.0, None, None, 9.0, 10.0, 11.0, 12.0, 13.0)


def extended(
    name: str, samples: list[tuple[int, float]], kind: str, range_ms: int, *ends_ms: int
) -> list[float | None]:
    windows = Windows(selection(samples), np.array(ends_ms), range_ms, kind, 5 * MINUTE)
    return cells(call(name, windows))[0]


@pytest.mark.parametrize(
    ("samples", "kind", "expected"),
    [
        (RESET, "anchored", [0, 1, 2, 3, 4, 7, 7, 7, 7]),
        (RESET, "smoothed", [1 / 3, 4 / 3, 7 / 3, 10 / 3, 5, 7, 7, 7, 6]),
        (GAP, "anchored", [0, 1, 2, 2, 2, 7, 7, 8, 9]),
        (GAP, "smoothed", [1 / 3, 4 / 3, 8 / 3, 14 / 3, 19 / 3, 7, 20 / 3, 17 / 3, 14 / 3]),
    ],
)
def test_increase(samples: list[tuple[int, float]], kind: str, expected: list[float]) -> None:
    ends = [5000 + i * QUARTER for i in range(9)]
    assert extended("increase", samples, kind, MINUTE, *ends) == pytest.approx(expected)


def test_the_range_is_open_on_the_left() -> None:
    samples = every(MINUTE, 1.0, 2.0, None, 4.0, 5.0)
    assert extended("increase", samples, "anchored", MINUTE, 2 * MINUTE) == [None]
    assert extended("increase", samples, "smoothed", MINUTE, 2 * MINUTE) == [1.0]


def test_between_the_samples_around_a_reset_the_line_begins_at_zero() -> None:
    samples = every(MINUTE, 9.0, 8.0, 5.0, 4.0)
    assert extended("increase", samples, "smoothed", 2 * MINUTE, 135_000) == [12.0]


@pytest.mark.parametrize(
    ("name", "end_min", "range_ms", "expected"),
    [
        ("changes", 2, MINUTE, 1),
        ("changes", 3, MINUTE, None),
        ("changes", 8, MINUTE, 0),
        ("changes", 8, MINUTE + 1, 1),
        ("resets", 2, MINUTE, 1),
        ("resets", 8, MINUTE + 1, 1),
    ],
)
def test_changes_from_the_anchor_on(name: str, end_min: int, range_ms: int, expected: float | None) -> None:
    samples = every(MINUTE, 2.0, None, 1.0, None, None, None, None, None, 0.0)
    assert extended(name, samples, "anchored", range_ms, end_min * MINUTE) == [expected]
