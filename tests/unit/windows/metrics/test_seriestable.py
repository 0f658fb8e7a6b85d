"""Ids of series by hash."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.windows.metrics.seriestable import SeriesTable

KEYS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5), max_size=60, unique=True)


@given(KEYS, st.integers(0, 60))
def test_ids_are_in_the_order_of_adding(keys: list[int], split: int) -> None:
    table, hashes = SeriesTable(), np.asarray(keys, np.uint64)
    table.add(hashes[:split])
    table.add(hashes[split:])
    assert table.find(hashes).tolist() == list(range(len(keys)))
    assert table.keys().tolist() == keys


def test_growing_keeps_what_is_there() -> None:
    table, keys = SeriesTable(), np.random.default_rng(1).integers(0, 2**63, 50_000).astype(np.uint64)
    for part in np.array_split(keys, 13):
        table.add(part)
    assert (table.find(keys) == np.arange(len(keys))).all()
    assert (table.find(keys + np.uint64(1)) == -1).all()
