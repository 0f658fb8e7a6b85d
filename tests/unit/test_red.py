"""RED series of spans and of a mesh as one."""

from __future__ import annotations

import math

import pytest

from actors.ports import RedSeries
from actors.red import RedAsked, red_of_store, with_mesh
from agent.detection.meshwatch import TRACED_NS
from agent.detection.red import NO_BINS, RedBins
from agent.detection.redstore import RedStore
from tests.unit.detection.test_meshwatch import T0, S, bins

STEP_S = 10
ASKED = RedAsked("t", None, T0, T0 + 1000 * S, STEP_S, by_operation=False)


def spans(*rows: tuple[str, int]) -> list[RedSeries]:
    store = RedStore()
    store.add(bins(*rows))
    return red_of_store(store, ASKED)


def requests(series: list[RedSeries]) -> dict[str, dict[int, int]]:
    return {
        one.service: {i * STEP_S: round(rate * STEP_S) for i, rate in enumerate(one.rate_per_s) if rate}
        for one in series
    }


@pytest.mark.parametrize(
    ("mesh", "expected"),
    [
        ([NO_BINS], {"cart": {0: 1}}),
        ([bins(("cart", 0), ("cart", 100)), bins(("cart", 5))], {"cart": {0: 1}}),
        ([bins(("pay", 0)), bins(("pay", 5)), NO_BINS], {"cart": {0: 1}, "pay": {0: 2}}),
        ([bins(("cart", 500))], {"cart": {0: 1, 500: 1}}),
    ],
)
def test_spans_win_and_streams_add_up(mesh: list[RedBins], expected: dict[str, dict[int, int]]) -> None:
    assert TRACED_NS == 300 * S
    assert requests(with_mesh(spans(("cart", 0)), mesh, ASKED)) == expected


def test_one_series_has_the_figures_of_both() -> None:
    [one] = with_mesh(spans(("cart", 0)), [bins(("cart", 500))], ASKED)
    assert [i for i, ratio in enumerate(one.error_ratio) if not math.isnan(ratio)] == [0, 50]
