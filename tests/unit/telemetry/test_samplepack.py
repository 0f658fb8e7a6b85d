"""Columns of samples come back to the bit, and those of scraped counters are small."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agent.telemetry.samplepack import pack, unpack

times = st.sampled_from([0, 1, -5, 1_700_000_000_000, (1 << 63) - 1])
rows = st.lists(
    st.lists(st.tuples(times, st.floats(width=64) | st.integers(0, 1000).map(float)), max_size=4), max_size=8
)


def columns(made: Any) -> tuple[Any, ...]:
    points = [point for row in made for point in row]
    return (
        np.asarray([len(row) for row in made], np.int32),
        np.asarray([i % 2 for i in range(len(made))], np.int32),
        np.asarray([time_ms for time_ms, _ in points], np.int64),
        np.asarray([value for _, value in points], np.float64),
    )


def same(packed: Any, given_columns: tuple[Any, ...], count: int) -> None:
    found = unpack(count, packed)
    names = ("sample_count", "histogram_count", "time_ms", "value")
    for name, column in zip(names, given_columns, strict=True):
        assert found[name].dtype == column.dtype
        assert found[name].tobytes() == column.tobytes()


@given(rows)
def test_what_was_packed_comes_back_to_the_bit(made: Any) -> None:
    given_columns = columns(made)
    same(pack(len(made), *given_columns), given_columns, len(made))


@given(arrays.arrays(np.uint64, st.integers(0, 50)))
def test_so_do_values_of_any_bits(bits: Any) -> None:
    given_columns = (
        np.full(len(bits), 1, np.int32), np.zeros(len(bits), np.int32), np.arange(len(bits)), bits.view(np.float64)
    )  # fmt: skip
    same(pack(len(bits), *given_columns), given_columns, len(bits))


def test_counters_that_were_scraped_together_take_few_bytes_and_noise_no_more_than_before() -> None:
    series, samples = 1000, 4
    count = np.full(series, samples, np.int32)
    time_ms = np.tile(1_700_000_000_000 + 15_000 * np.arange(samples), series)
    rng = np.random.default_rng(1)
    counters = (rng.integers(0, 10**6, (series, 1)) + 3 * np.arange(samples)).astype(np.float64).ravel()
    for values, most_bytes in ((counters, 4.0), (rng.normal(size=series * samples), 8.1)):
        packed = pack(series, count, np.zeros(series, np.int32), time_ms, values)
        assert sum(column.nbytes for column in packed.values()) / len(values) < most_bytes
