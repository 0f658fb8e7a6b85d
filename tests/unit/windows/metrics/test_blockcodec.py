"""Groups of samples as bytes: lossless, and small where there is little in them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pcodec import ChunkConfig, standalone

from agent.promql.values import STALE_NAN_BITS, Times
from agent.telemetry.frames import F64
from agent.windows.metrics.blockcodec import (
    decode_group,
    decode_values,
    encode_times,
    encode_values,
    pack,
    unpack,
)

Samples = list[tuple[int, int]]  # time, bits of the value

DECIMALS = st.integers(-(10**7), 10**7).map(lambda n: n / 100)
VALUES = st.one_of(
    st.floats(width=64),
    DECIMALS,
    st.integers(-(2**53), 2**53).map(float),
    st.sampled_from([0.0, -0.0, 5e-324]),
)
BITS = st.one_of(VALUES.map(lambda v: int(np.float64(v).view(np.uint64))), st.just(STALE_NAN_BITS))
SERIES = st.lists(st.tuples(st.integers(-(2**40), 2**40), BITS), max_size=20, unique_by=lambda s: s[0])


def round_trip(series: list[Samples]) -> list[Samples]:
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in series])]).astype(np.int64)
    time_ms = np.asarray([t for one in series for t, _ in one], np.int64)
    value = np.asarray([v for one in series for _, v in one], np.uint64).view(np.float64)
    group = decode_group(
        encode_times(np.diff(offsets), Times(offsets[:-1], time_ms)), encode_values(offsets, value)
    )
    bits = group.value.view(np.uint64).tolist()
    times = group.time_ms.tolist()
    return [
        [
            (times[group.time_start[i] + k], bits[group.offsets[i] + k])
            for k in range(group.offsets[i + 1] - group.offsets[i])
        ]
        for i in range(len(series))
    ]


@given(st.lists(SERIES, max_size=6))
def test_every_bit_comes_back(series: list[Samples]) -> None:
    ordered = [sorted(one) for one in series]
    assert round_trip(ordered) == ordered


@given(st.lists(st.lists(DECIMALS, min_size=1, max_size=30), min_size=1, max_size=4))
def test_decimals_come_back(series: list[list[float]]) -> None:
    written = [
        [(15_000 * i, int(np.float64(v).view(np.uint64))) for i, v in enumerate(one)] for one in series
    ]
    assert round_trip(written) == written


@pytest.mark.parametrize(
    ("kind", "most_bytes"), [("counter", 0.75), ("constant", 0.02), ("cents", 1.1), ("integers", 0.9)]
)
def test_usual_series_are_small(kind: str, most_bytes: float) -> None:
    random = np.random.default_rng(1)
    shape = (256, 120)
    value: F64 = {
        "counter": np.cumsum(random.poisson(10, shape), axis=1).astype(float),
        "constant": np.ones(shape),
        "cents": np.round(50 + np.cumsum(random.normal(0, 0.5, shape), axis=1), 2),
        "integers": random.integers(0, 100, shape).astype(float),
    }[kind]
    offsets = np.arange(257) * 120
    times = np.tile(np.arange(120) * 15_000 + 1_700_000_000_000, 256)
    size = len(encode_times(np.diff(offsets), Times(offsets[:-1], times))) + len(
        encode_values(offsets, value.reshape(-1))
    )
    assert size / value.size < most_bytes


@pytest.mark.parametrize("begin", [0.0, 2.0**49, -(2.0**49)])
def test_a_counter_is_small_wherever_it_stands(begin: float) -> None:
    """Its integers are kept by their steps, however large they are themselves."""
    steps = np.random.default_rng(1).poisson(3, (64, 300))
    value: F64 = begin + np.cumsum(steps, axis=1).astype(float)
    size = len(encode_values(np.arange(65) * 300, value.reshape(-1)))
    assert size / value.size < 0.45


def test_packed_parts() -> None:
    assert unpack(pack([b"", b"abc", b"\0"])) == [b"", b"abc", b"\0"]


INF, NAN, OWN_NAN_BITS = float("inf"), float("nan"), 0x7FF8000000000123


@pytest.mark.parametrize(
    "values",
    [
        pytest.param([], id="nothing"),
        pytest.param([-0.0], id="minus zero alone"),
        pytest.param([1.0, -0.0, 2.0], id="minus zero among whole numbers"),
        pytest.param([0.25, -0.0, 0.5], id="minus zero among decimals"),
        pytest.param([NAN] * 5, id="nothing but NaN"),
        pytest.param([NAN, 1.0, INF, 2.0, -INF], id="odd ones at both ends"),
        pytest.param([1.0, 2.0, 3.0, 4.125], id="more digits at the end"),
        pytest.param([1.0, 2.125, 3.0, 4.0, 5.0], id="more digits where nobody looks first"),
        pytest.param([1.0, 2.0**50, 3.0], id="too large in the middle"),
        pytest.param([2.0**49, 1.5, 3.0, 4.0, 5.0], id="too large with digits"),
        pytest.param([1.0, 1e300, 2.0, 3.0, 5e-324], id="huge and tiny"),
        pytest.param([1.0, 0.1 + 0.2, 2.0, 3.0, 4.0], id="all digits of a double"),
        pytest.param([-(2.0**50) + 1, 2.0**50 - 1, 0.0], id="as far apart as they may be"),
    ],
)
def test_unusual_values_come_back_between_usual_ones(values: list[float]) -> None:
    """To the last bit, and the series beside are as they were."""
    lists = [[1.0, 2.0, 4.0], values, [0.5, 0.25], [], [*values, 7.0]]
    written = [[(t, int(np.float64(v).view(np.uint64))) for t, v in enumerate(one)] for one in lists]
    assert round_trip(written) == written


def test_the_bits_of_a_nan_come_back() -> None:
    written = [[(1, OWN_NAN_BITS), (2, STALE_NAN_BITS), (3, OWN_NAN_BITS | 1 << 63)]]
    assert round_trip(written) == written


def test_numbers_are_kept_in_the_smallest_type_that_holds_them() -> None:
    """Of the first and the other integers of a series; any type there is read."""
    for last, code in ((9.0, b"h"), (2.0**20, b"i"), (2.0**40, b"q")):
        value = np.asarray([1.0, 2.0, last, 4.0])
        assert unpack(encode_values(np.asarray([0, 4]), value))[3][:1] == code
        written = [[(t, int(v)) for t, v in enumerate(value.view(np.uint64))]]
        assert round_trip(written) == written


def test_wide_integers_are_read_as_narrow_ones() -> None:
    """Blocks were written so."""
    offsets, value = np.asarray([0, 3, 6]), np.asarray([1.0, 2.0, 4.0, 0.25, 0.5, 0.75])
    parts = unpack(encode_values(offsets, value))
    for place in (2, 3):
        numbers = np.asarray(standalone.simple_decompress(parts[place][1:])).astype(np.int64)
        parts[place] = b"q" + standalone.simple_compress(numbers, ChunkConfig())
    assert decode_values(offsets, pack(parts)).tolist() == value.tolist()


@pytest.mark.parametrize(
    "lists",
    [
        pytest.param([[1, 2, 3], [1, 2, 3], [9], [1, 2, 3]], id="the same again, and behind another"),
        pytest.param([[], [5], [], [], [5, 6]], id="series without samples"),
        pytest.param([[1, 2, 5, 8, 9], [1, 3, 5, 7, 9], [1, 2, 5, 8, 9]], id="alike where they are hashed"),
        pytest.param([[1, 2], [1, 2, 3], [1]], id="one begins as another"),
        pytest.param([[-(2**40), 2**40], [2**40, 2**40 + 2**33]], id="far apart"),
    ],
)
def test_lists_of_times_come_back(lists: list[list[int]]) -> None:
    written = [[(t, 0) for t in one] for one in lists]
    assert round_trip(written) == written


def test_lists_of_times_that_come_shared_are_written_as_those_that_do_not() -> None:
    counts, ms = np.asarray([3, 3, 0, 2, 3]), np.asarray([10, 20, 30, 10, 20])
    shared = encode_times(counts, Times(np.asarray([0, 0, 3, 3, 0]), ms))
    alone = ms[[0, 1, 2, 0, 1, 2, 3, 4, 0, 1, 2]]
    assert shared == encode_times(counts, Times(np.asarray([0, 3, 6, 6, 8]), alone))
