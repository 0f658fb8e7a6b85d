"""Codes of hashes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agent.windows.hashindex import HashIndex, SeenSet

KEYS = st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 5), max_size=200)


def u64(values: list[int]) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    return np.asarray(values, np.uint64)


@given(KEYS, KEYS)
def test_codes_are_those_of_a_dictionary(first: list[int], second: list[int]) -> None:
    index, expected = HashIndex(10_000, capacity=4), dict[int, int]()
    for batch in (first, second):
        codes, new_rows = index.codes(u64(batch))
        known = len(expected)
        assert codes.tolist() == [expected.setdefault(key, len(expected)) for key in batch]
        assert [batch[i] for i in new_rows] == list(expected)[known:]


def test_past_the_limit_new_keys_have_no_code_and_old_ones_keep_theirs() -> None:
    index = HashIndex(2)
    assert index.codes(u64([7, 8, 9, 7]))[0].tolist() == [0, 1, -1, 0]
    assert len(index) == 2


@given(KEYS)
def test_holds_tells_what_has_a_code(keys: list[int]) -> None:
    index = HashIndex(10_000)
    index.codes(u64(keys[::2]))
    assert index.holds(u64(keys)).tolist() == [key in set(keys[::2]) for key in keys]


def test_seen_keys_are_not_fresh_again_also_within_a_batch() -> None:
    seen = SeenSet(100)
    assert seen.fresh(u64([1, 2, 1])).tolist() == [True, True, False]
    assert seen.fresh(u64([2, 3])).tolist() == [False, True]


def test_a_generation_later_a_key_is_still_known_and_memory_is_bounded() -> None:
    seen = SeenSet(1000)
    for start in range(0, 20_000, 500):
        batch = u64(list(range(start, start + 500)))
        assert seen.fresh(batch).all()
        assert not seen.fresh(batch).any()
    assert seen.nbytes < 200_000
