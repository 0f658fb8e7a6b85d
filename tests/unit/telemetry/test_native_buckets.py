from __future__ import annotations

import numpy as np
import pytest

from agent.telemetry.native_buckets import Side, bounds, bucket_index, custom_bounds, lost, merged


def side(**counts: float) -> Side:
    index = sorted(int(name[1:]) for name in counts)
    return Side(np.array(index, np.int32), np.array([counts[f"i{i}"] for i in index], np.float64))


@pytest.mark.parametrize(
    ("schema", "index", "expected"),
    [
        (-4, 1, 65536.0),
        (-1, 2, 16.0),
        (0, -1, 0.5),
        (1, 1, 1.414213562373095),
        (2, 3, 1.6817928305074288),
        (8, 255, 1.9945921121709396),
        (0, 1024, 1.7976931348623157e308),
        (0, 1025, np.inf),
        (-4, 64, 1.7976931348623157e308),
        (-4, 65, np.inf),
        (8, 262144, 1.7976931348623157e308),
    ],
)
def test_upper_bounds(schema: int, index: int, expected: float) -> None:
    assert bounds(np.array([index]), schema)[0] == expected


@pytest.mark.parametrize("schema", range(-4, 9))
def test_a_bound_belongs_to_the_bucket_that_it_ends(schema: int) -> None:
    for index in range(-40, 40):
        end = float(bounds(np.array([index]), schema)[0])
        assert bucket_index(end, schema) == index
        assert bucket_index(np.nextafter(end, np.inf), schema) == index + 1


def test_infinity_is_behind_the_last_bucket() -> None:
    assert bucket_index(float("inf"), 0) == 1025


def test_custom_bounds_are_open_at_both_ends() -> None:
    lower, upper = custom_bounds(np.array([0, 1, 2], np.int32), np.array([1.0, 5.0]))
    assert lower.tolist() == [-np.inf, 1.0, 5.0]
    assert upper.tolist() == [1.0, 5.0, np.inf]


def test_sides_are_added_by_index() -> None:
    total = merged(side(i1=1, i3=2), side(i2=5, i3=1))
    assert (total.index.tolist(), total.count.tolist()) == ([1, 2, 3], [1, 5, 3])
    rest = merged(side(i1=1, i3=2), side(i2=5, i3=1), -1.0)
    assert rest.count.tolist() == [1, -5, 1]


def test_a_coarser_schema_merges_neighbours() -> None:
    coarse = side(i0=1, i1=2, i2=3, i3=4).reduced(1, 0)
    assert (coarse.index.tolist(), coarse.count.tolist()) == ([0, 1, 2], [1, 5, 4])


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (side(i1=1), side(i1=1), False),
        (side(i1=2), side(i1=1), True),
        (side(i1=1), side(i1=1, i2=4), False),
        (side(i1=1, i2=1), side(i1=1), True),
        (side(i1=1, i2=0), side(i1=1), False),
        (side(i1=1), Side.at(0, np.empty(0)), True),
        (Side.at(0, np.empty(0)), side(i1=1), False),
    ],
)
def test_what_was_lost(before: Side, after: Side, expected: bool) -> None:
    assert lost(before, after) is expected
