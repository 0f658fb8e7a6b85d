"""The head alone: what it says of a stretch of time without looking at every sample."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.promql.kernels import written_out
from agent.windows.metrics.answers import offsets_of
from agent.windows.metrics.head import ROOM_SAMPLES, Head, Room

SERIES = 4
TIMES = st.lists(st.integers(0, 300), max_size=90)


def filled(lists: list[list[int]]) -> Head:
    head = Head(SERIES)
    ids = head.add(np.arange(1, SERIES + 1, dtype=np.uint64), 0).astype(np.int32)
    counts = np.asarray([len(one) for one in lists], np.int32)
    time_ms = np.asarray([t for one in lists for t in one], np.int64)
    head.append(ids, counts, time_ms, 0.5 * time_ms.astype(np.float64))
    return head


@given(
    st.lists(TIMES, min_size=SERIES, max_size=SERIES),
    st.integers(0, 300),
    st.integers(-5, 305),
    st.integers(-5, 60),
)
def test_a_series_has_samples_where_there_are_any_to_count(
    lists: list[list[int]], freed: int, start: int, length: int
) -> None:
    """In order and out of order, over several chunks, and after the older ones were given back."""
    head, ids = filled(lists), np.arange(SERIES, dtype=np.int32)
    for _ in range(2):
        counts = head.counts(ids, start, start + length)
        assert head.has_between(ids, start, start + length).tolist() == (counts > 0).tolist()
        head.free_before(freed, 0, SERIES)


@given(
    st.lists(st.one_of(TIMES, st.just([10, 20, 30])), min_size=SERIES, max_size=SERIES),
    st.permutations(range(SERIES)),
    st.integers(-5, 305),
    st.integers(-5, 400),
)
def test_what_is_taken_is_what_is_counted_and_copied(
    lists: list[list[int]], order: list[int], start: int, length: int
) -> None:
    head, ids, span = filled(lists), np.asarray(order, np.int32), (start, start + length)
    counts = head.counts(ids, *span)
    offsets = offsets_of(counts)
    value = np.empty(offsets[-1])
    times, _ = head.copy(ids, span, counts, offsets[1:], value)
    taken = head.take(ids, span, Room())
    assert taken is not None
    assert taken[0].tolist() == counts.tolist()
    found = written_out(offsets, taken[1].start, taken[1].ms)
    assert found.tolist() == written_out(offsets, times.start, times.ms).tolist()
    assert taken[2].tolist() == value.tolist() == (found * 0.5).tolist()


def test_times_of_series_scraped_together_are_taken_once() -> None:
    taken = filled([[1, 2], [1, 2], [5], [5]]).take(np.arange(4, dtype=np.int32), (0, 9), Room())
    assert taken is not None
    assert (taken[1].start.tolist(), taken[1].ms.tolist()) == ([0, 0, 2, 2], [1, 2, 5])


def test_a_room_that_is_too_small_is_told_and_made_larger() -> None:
    head, ids, span = (
        filled([list(range(ROOM_SAMPLES)), [7], [], []]),
        np.arange(4, dtype=np.int32),
        (0, 10**6),
    )
    room = Room()
    assert head.take(ids, span, room) is None
    room.double()
    taken = head.take(ids, span, room)
    assert taken is not None
    assert taken[0].tolist() == [ROOM_SAMPLES, 1, 0, 0]
    exact = head.take(ids[:1], span, Room())
    assert exact is not None
    assert len(exact[2]) == ROOM_SAMPLES
