"""The fleet of the memory benchmark: whoever makes it again makes the same, and counters only grow."""

from __future__ import annotations

import numpy as np

from tests.benchmarks.fleet import BLOCK_SERIES, INSTANCE_SERIES, NAMES, FleetBlock


def test_every_series_is_another_one() -> None:
    both = [*FleetBlock.series(0), *FleetBlock.series(1)]
    assert len({tuple(sorted(one.items())) for one in both}) == 2 * BLOCK_SERIES
    assert len(NAMES) == INSTANCE_SERIES


def test_values_follow_from_the_number_of_the_block() -> None:
    one, same, other = (FleetBlock(number, 15_000).values(4) for number in (3, 3, 4))
    assert one.shape == (BLOCK_SERIES, 4)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_counters_grow_over_the_calls_and_buckets_with_their_bounds() -> None:
    block = FleetBlock(0, 15_000)
    values = np.concatenate([block.values(5), block.values(3)], axis=1)
    suffixes = ("_total", "_bucket", "_count")
    counters = [one["__name__"].endswith(suffixes) for one in FleetBlock.series(0)]
    assert (np.diff(values[counters], axis=1) >= 0).all()
    assert (np.diff(values[:12], axis=0) >= 0).all()


def test_an_instance_has_one_offset_in_the_step() -> None:
    times = FleetBlock(0, 15_000).times(1_700_000_000_000, 3)
    assert (np.diff(times, axis=1) == 15_000).all()
    first = times[:, 0].reshape(-1, INSTANCE_SERIES) - 1_700_000_000_000
    assert (first == first[:, :1]).all()
    assert ((first >= 0) & (first < 15_000)).all()
