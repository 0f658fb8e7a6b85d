from __future__ import annotations

import math

import pytest

from agent.promql.functions.sorting import natural_rank
from agent.promql.functions.texts import SORT_IN_RANGE
from agent.promql.values import Grid
from tests.unit.promql.functions.series import Heard, call, labelled, steps, vector


@pytest.mark.parametrize(("name", "expected"), [("sort", [-1.0, 2.0, 3.0]), ("sort_desc", [3.0, 2.0, -1.0])])
def test_nan_comes_last_either_way(name: str, expected: list[float]) -> None:
    result = call(name, vector(3.0, math.nan, -1.0, 2.0)).value[:, 0].tolist()
    assert result[:3] == expected
    assert math.isnan(result[3])


@pytest.mark.parametrize(
    "ordered",
    [
        ["0", "1", "2", "10", "20", "100"],
        ["1.2.3", "1.11.3", "1.111.3"],
        ["4m5", "4m600", "4m1000"],
        ["", "a", "a1", "a1b", "a2", "b"],
        ["9a", "99999999999999999999", "999999999999999999991"],
    ],
)
def test_labels_sort_as_people_count(ordered: list[str]) -> None:
    rank = natural_rank(ordered[::-1])
    assert sorted(ordered, key=rank.__getitem__) == ordered


def test_sort_by_label_falls_back_to_the_whole_label_set() -> None:
    rows = labelled({"i": "10", "z": "a"}, {"i": "9", "z": "b"}, {"i": "9", "a": "c"})
    assert call("sort_by_label", rows, "i").value[:, 0].tolist() == [2, 1, 0]
    assert call("sort_by_label_desc", rows, "i").value[:, 0].tolist() == [0, 1, 2]


def test_a_range_query_is_not_sorted_and_says_so() -> None:
    heard = Heard()
    result = call("sort", steps([3.0, 0.0], [1.0, 2.0]), grid=Grid(0, 1, 1), heard=heard)
    assert result.value[:, 0].tolist() == [3.0, 1.0]
    assert heard.warnings == [(SORT_IN_RANGE, -1)]
