"""The head alone: what it says of a stretch of time without looking at every sample."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.windows.metrics.head import Head

SERIES = 4
TIMES = st.lists(st.integers(0, 300), max_size=90)


def filled(lists: list[list[int]]) -> Head:
    head = Head(SERIES)
    ids = head.add(np.arange(1, SERIES + 1, dtype=np.uint64), 0).astype(np.int32)
    counts = np.asarray([len(one) for one in lists], np.int32)
    time_ms = np.asarray([t for one in lists for t in one], np.int64)
    head.append(ids, counts, time_ms, np.ones(len(time_ms)))
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
