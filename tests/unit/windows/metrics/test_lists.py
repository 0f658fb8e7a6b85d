"""Timed bytes by series."""

import numpy as np

from agent.windows.metrics.lists import TimedLists


def filled(most: int | None = None) -> TimedLists:
    lists = TimedLists(most)
    for time, content in ((30, b"c"), (10, b"a"), (20, b"b"), (10, b"again")):
        lists.add(7, time, content)
    return lists


def test_items_are_in_the_order_of_time_and_the_first_of_two_stays() -> None:
    assert filled().between(7, 10, 20) == [(10, b"a"), (20, b"b")]
    assert filled().among(np.asarray([3, 7], np.int32), 30, 99) == {1: [(30, b"c")]}


def test_the_oldest_go_when_a_series_has_too_many() -> None:
    lists = filled(2)
    assert [time for time, _ in lists.between(7, 0, 99)] == [20, 30]
    assert lists.count == 2


def test_what_is_older_goes() -> None:
    lists = filled()
    lists.drop_before(25)
    assert (lists.count, lists.series()) == (1, [7])
    lists.drop_before(99)
    assert (lists.count, lists.series(), lists.nbytes) == (0, [], 0)


def test_series_get_other_ids() -> None:
    lists = filled()
    lists.add(8, 10, b"z")
    lists.move([(7, 0)])
    assert lists.series() == [0]
    assert lists.count == 3


def test_each_series_may_have_its_own_time() -> None:
    lists = filled()
    lists.add(2, 10, b"z")
    lists.drop_before(np.asarray([0, 0, 5, 0, 0, 0, 0, 25], np.int64))
    assert (lists.between(2, 0, 99), lists.between(7, 0, 99)) == ([(10, b"z")], [(30, b"c")])
