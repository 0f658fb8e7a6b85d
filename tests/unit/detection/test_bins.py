import numpy as np

from agent.detection.bins import OpenBins
from agent.detection.units import UnitTable
from tests.unit.detection.builders import T0, S, bin_of, key


def opened(max_units: int = 100) -> OpenBins:
    return OpenBins(UnitTable(max_units), 5 * S, 2 * S, 15 * S)


def test_a_bin_closes_after_its_end_and_the_lateness() -> None:
    bins = opened()
    bins.add(bin_of(0, (key("a"), [0.1], 0)))
    assert list(bins.close(T0 + 6 * S)) == []
    assert [block.start_ns for block in bins.close(T0 + 7 * S)] == [T0]


def test_increments_of_a_bin_are_added() -> None:
    bins = opened()
    for failed in (0, 1):
        bins.add(bin_of(0, (key("a", "x"), [0.1] * 3, failed), (key("a", "y"), [0.1], 0)))
    (block,) = bins.close(T0 + 7 * S)
    assert block.operations == 2
    assert block.count.tolist() == [6, 2, 8]
    assert block.errors.tolist() == [1, 0, 1]
    assert block.buckets.sum(axis=1).tolist() == [6, 2]


def test_bins_close_in_order() -> None:
    bins = opened()
    for at in (10, 0, 5):
        bins.add(bin_of(at, (key("a"), [0.1], 0)))
    assert [block.start_ns - T0 for block in bins.close(T0 + 60 * S)] == [0, 5 * S, 10 * S]


def test_what_comes_after_closing_is_counted() -> None:
    bins = opened()
    list(bins.close(T0 + 60 * S))
    bins.add(bin_of(0, (key("a"), [0.1] * 4, 0)))
    assert list(bins.close(T0 + 61 * S)) == []
    assert bins.requests_late == 4


def test_slow_exporters_teach_it_to_wait() -> None:
    bins = opened()
    for at in range(0, 120, 5):
        list(bins.close(T0 + (at + 9) * S))
        bins.add(bin_of(at, (key("a"), [0.1] * 10, 0)))
    assert bins.requests_late == 10
    assert bins.lateness_ns > 4 * S


def test_a_clock_far_behind_teaches_nothing() -> None:
    bins = opened()
    list(bins.close(T0 + 600 * S))
    bins.add(bin_of(0, (key("a"), [0.1] * 10, 0)))
    assert bins.lateness_ns == 2 * S


def test_a_clock_far_ahead_holds_no_memory() -> None:
    bins = opened()
    bins.add(bin_of(7200, (key("a"), [0.1], 0)))
    list(bins.close(T0))
    assert bins.requests_ahead == 1
    assert list(bins.close(T0 + 9000 * S)) == []


def test_a_full_table_is_counted() -> None:
    bins = opened(max_units=2)
    bins.add(bin_of(0, (key("a", "x"), [0.1], 0), (key("a", "y"), [0.1] * 3, 0)))
    (block,) = bins.close(T0 + 7 * S)
    assert bins.requests_crowded == 3
    np.testing.assert_array_equal(block.count, [1, 4])
