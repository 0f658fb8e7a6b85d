"""The gateway's table of series."""

from __future__ import annotations

import numpy as np
import pytest

from agent.telemetry.frames import I64, U64
from agent.telemetry.remote_write_labels import Fault
from agent.windows.seriestable import IDLE_TICKS, STREAM_MASK, TICK_S, SeriesTable, owner_of, source_of

GENERATIONS: I64 = np.zeros(4, np.int64)
START_S = 1_700_000_000


def keys(n: int, seed: int = 0) -> U64:
    return np.random.default_rng(seed).integers(1, 1 << 63, n).astype(np.uint64)


def enter(table: SeriesTable, hashes: U64, place: U64 | None = None, now_s: int = START_S) -> list[int]:
    unknown = np.arange(len(hashes))
    faults = np.zeros(len(hashes), np.uint8)
    table.register(hashes, hashes, hashes if place is None else place, unknown, faults, now_s)
    return faults.tolist()


def found(table: SeriesTable, hashes: U64) -> int:
    return len(hashes) - len(table.locate(hashes, GENERATIONS, np.empty(len(hashes), np.int64)))


def table(max_series: int = 1 << 20, max_per_source: int = 1 << 20, *, rated: bool = False) -> SeriesTable:
    return SeriesTable("t", 4, max_series, max_per_source, rated=rated)


def bucket(table: SeriesTable, place: np.uint64) -> I64:
    found: I64 = table.buckets[source_of(table.sources, place)]
    return found


def test_what_was_entered_is_found_whatever_the_table_grew_to() -> None:
    made, hashes = table(), keys(200_000)
    for begin in range(0, len(hashes), 7_000):
        enter(made, hashes[begin : begin + 7_000])
    assert (len(made), found(made, hashes), found(made, keys(1000, seed=1))) == (200_000, 200_000, 0)
    enter(made, hashes[:1000])
    assert len(made) == 200_000


def test_a_place_has_one_stream_and_places_use_all_evenly() -> None:
    made, hashes = table(), keys(4000)
    enter(made, hashes)
    slots = np.empty(len(hashes), np.int64)
    made.locate(hashes, GENERATIONS, slots)
    streams = made.rows[slots, 3] & np.uint64(STREAM_MASK)
    assert np.bincount(streams.astype(np.int64), minlength=4).min() > 800
    assert streams.tolist() == [owner_of(key, 4) for key in hashes]


@pytest.mark.parametrize("streams", [2, 5])
def test_one_stream_more_moves_its_share_only(streams: int) -> None:
    before = [owner_of(key, streams) for key in keys(3000)]
    after = [owner_of(key, streams + 1) for key in keys(3000)]
    moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert all(b == streams for _, b in moved)
    assert len(moved) == pytest.approx(3000 / (streams + 1), rel=0.25)


def test_limits_hold_for_series_and_for_a_source() -> None:
    made = table(max_series=10, max_per_source=4)
    assert enter(made, keys(6), np.full(6, 7, np.uint64)) == [0] * 4 + [Fault.TOO_MANY_SERIES_OF_SOURCE] * 2
    assert enter(made, keys(8, seed=1)) == [0] * 6 + [Fault.TOO_MANY_SERIES] * 2


def test_idle_series_make_room_for_new_ones_and_others_stay() -> None:
    made = table(max_series=100, max_per_source=100)
    old, young, new = keys(60, seed=1), keys(40, seed=2), keys(50, seed=3)
    enter(made, old, np.full(60, 7, np.uint64))
    later_s = START_S + (IDLE_TICKS + 1) * TICK_S
    enter(made, young, np.full(40, 7, np.uint64), later_s)
    assert enter(made, new, np.full(50, 7, np.uint64), later_s) == [0] * 50
    assert (found(made, old), found(made, young), found(made, new), len(made)) == (0, 40, 50, 90)


def test_buckets_go_with_their_sources_when_the_table_grows() -> None:
    made, hashes = table(rated=True), keys(1000)
    enter(made, hashes)
    for k, place in enumerate(hashes):
        bucket(made, place)[:] = k + 1
    enter(made, keys(50_000, seed=1))
    assert [bucket(made, place)[0] for place in hashes] == list(range(1, 1001))


def test_a_source_that_was_idle_begins_with_a_bucket_of_its_own() -> None:
    made, (old, new) = table(max_series=1, rated=True), keys(2)
    enter(made, np.asarray([old]))
    bucket(made, old)[:] = 7
    enter(made, np.asarray([new]), now_s=START_S + (IDLE_TICKS + 1) * TICK_S)
    assert bucket(made, new).tolist() == [0, 0, 0]


def test_without_a_limit_there_are_no_buckets() -> None:
    assert table().buckets.nbytes == 0
    assert table(rated=True).nbytes > table().nbytes
