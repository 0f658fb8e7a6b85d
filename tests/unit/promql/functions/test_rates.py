from __future__ import annotations

import math

import pytest

from tests.unit.promql.functions.series import MINUTE_MS, Heard, every, over, selection

FIVE = 5 * MINUTE_MS


@pytest.mark.parametrize(
    ("range_min", "values", "expected"),
    [
        pytest.param(50, [0.0 + 10 * i for i in range(11)], 100, id="whole range"),
        pytest.param(100, [0.0 + 10 * i for i in range(11)], 100, id="begins at zero: not below it"),
        pytest.param(100, [10.0 + 10 * i for i in range(11)], 105, id="half an interval to the left"),
        pytest.param(100, [1.0 + 10 * i for i in range(11)], 101, id="zero is nearer than half an interval"),
        pytest.param(
            50, [18.0 * i for i in range(6)] + [18.0 * i for i in range(6)], 160, id="a reset in the middle"
        ),
    ],
)
def test_increase_reaches_the_borders_of_its_range(
    range_min: int, values: list[float], expected: float
) -> None:
    got = over("increase", selection(every(FIVE, *values)), range_min * MINUTE_MS, 50 * MINUTE_MS)
    assert got[0][0] == pytest.approx(expected, rel=1e-12)


def test_a_range_is_open_on_the_left() -> None:
    chosen = selection(every(FIVE, 0.0, 10.0, 20.0))
    assert over("increase", chosen, FIVE, 2 * FIVE) == [[None]]
    assert over("increase", chosen, FIVE + 1, 2 * FIVE)[0][0] == pytest.approx(10 * (FIVE + 1) / FIVE)


def test_steps_may_stand_still_or_go_back() -> None:
    chosen = selection(every(FIVE, 0.0, 10.0, 5.0, 20.0, 40.0))
    forward = over("increase", chosen, 2 * FIVE + 1, 2 * FIVE, 3 * FIVE, 4 * FIVE)[0]
    assert over("increase", chosen, 2 * FIVE + 1, 4 * FIVE, 2 * FIVE, 2 * FIVE, 3 * FIVE)[0] == [
        forward[2], forward[0], forward[0], forward[1],
    ]  # fmt: skip


def test_nan_in_a_counter_is_no_reset() -> None:
    got = over("irate", selection(every(FIVE, 1.0, math.nan, 5.0, 11.0)), 20 * MINUTE_MS, FIVE, 3 * FIVE)
    assert math.isnan(got[0][0] or 0)
    assert got[0][1] == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("name", "metric", "noted"),
    [
        ("rate", "requests", True),
        ("increase", "requests", True),
        ("delta", "requests", False),
        ("rate", "requests_total", False),
        ("rate", "latency_bucket", False),
    ],
)
def test_a_rate_of_what_may_be_no_counter_is_noted(name: str, metric: str, noted: bool) -> None:
    heard = Heard()
    over(name, selection(every(FIVE, 0.0, 1.0), name=metric), 2 * FIVE, FIVE, heard=heard)
    text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
    assert heard.infos == ([(f'{text}"{metric}"', 0)] if noted else [])


def test_without_a_result_nothing_is_noted() -> None:
    heard = Heard()
    over("rate", selection(every(FIVE, 0.0), name="requests"), 2 * FIVE, FIVE, heard=heard)
    assert heard.infos == []
