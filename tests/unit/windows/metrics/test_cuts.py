"""Where blocks end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.windows.metrics.cuts import ENOUGH_SAMPLES, LEAST_SAMPLES, MOST_PARTS, cut_before, parts_of_block

PARTS, MANY = (1, 2, 4, 8), 10**6


@pytest.mark.parametrize(
    ("step_s", "parts"), [(15.0, 1), (5.0, 1), (2.0, 1), (1.0, 2), (0.5, 4), (0.25, 8), (0.01, 8)]
)
def test_a_block_of_fifteen_minutes_is_divided_by_how_often_its_series_are_scraped(
    step_s: float, parts: int
) -> None:
    assert parts_of_block(900 / step_s, MANY) == parts


def test_no_part_is_shorter_than_it_must_be() -> None:
    assert parts_of_block(2 * ENOUGH_SAMPLES, MANY) == 2
    assert parts_of_block(2 * ENOUGH_SAMPLES - 1, MANY) == parts_of_block(0.0, MANY) == 1
    assert parts_of_block(1e12, MANY) == MOST_PARTS


def test_few_series_make_no_more_files_however_often_they_are_scraped() -> None:
    assert parts_of_block(LEAST_SAMPLES / 8, 15) == 1
    assert parts_of_block(LEAST_SAMPLES / 8, 16) == 2


@pytest.mark.parametrize(
    ("time_ms", "parts", "cut_ms"),
    [(1599, 1, 800), (1599, 2, 1200), (1200, 2, 1200), (1199, 2, 800), (1599, 4, 1400), (-1, 4, -200)],
)
def test_cuts_are_multiples_of_the_part(time_ms: int, parts: int, cut_ms: int) -> None:
    assert cut_before(time_ms, 800, parts) == cut_ms


def test_what_eight_parts_leave_over_is_of_the_last_one() -> None:
    assert [cut_before(time_ms, 21, 8) for time_ms in (13, 14, 20, 21, 22, 23)] == [12, 14, 14, 21, 21, 23]


@given(st.integers(-(10**6), 10**6), st.integers(8, 5000), st.sampled_from(PARTS), st.sampled_from(PARTS))
def test_two_cuts_are_never_closer_than_an_eighth(time_ms: int, block_ms: int, one: int, other: int) -> None:
    cuts = cut_before(time_ms, block_ms, one), cut_before(time_ms + block_ms // 3, block_ms, other)
    assert cuts[0] <= time_ms
    assert cuts[0] == cuts[1] or abs(cuts[0] - cuts[1]) >= block_ms // MOST_PARTS
