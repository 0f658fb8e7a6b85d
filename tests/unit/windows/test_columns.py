"""The column window: ranges, ageing."""

import numpy as np

from agent.windows.columns import ColumnWindow

S = 10**9


def window(rows: int = 0, chunk_rows: int = 4) -> ColumnWindow:
    made = ColumnWindow({"time_ns": np.int64, "value": np.int32}, "time_ns", 8 * S, chunk_rows)
    if rows:
        made.append({"time_ns": np.arange(rows), "value": np.arange(rows) * 10}, position=5, now_ns=rows)
    return made


def test_rows_spread_over_chunks_and_come_back_by_time() -> None:
    assert window(10).between(3, 7)["value"].tolist() == [30, 40, 50, 60]


def test_the_end_of_a_range_is_exclusive_and_nothing_outside_is_fine() -> None:
    assert len(window(10).between(100, 200)["value"]) == 0
    assert window(10).between(9, 10)["value"].tolist() == [90]


def test_eviction_drops_whole_old_chunks_only() -> None:
    made = window(10)
    assert made.evict_before(5) == 4
    assert len(made) == 6


def test_the_low_position_moves_with_eviction() -> None:
    made = window(4)
    made.append({"time_ns": np.asarray([50]), "value": np.asarray([1])}, position=99, now_ns=50)
    assert made.low_position == 5
    made.evict_before(20)
    assert made.low_position == 99


def test_an_empty_window_has_no_position() -> None:
    assert window().low_position is None


def test_where_finds_equal_rows() -> None:
    assert window(10).where(value=np.int32(70))["time_ns"].tolist() == [7]


def test_handed_out_rows_are_copies() -> None:
    made = window(4)
    made.between(0, 10)["value"][:] = -1
    assert made.between(0, 10)["value"].tolist() == [0, 10, 20, 30]


def test_a_slow_signal_does_not_hold_the_log() -> None:
    made = ColumnWindow({"time_ns": np.int64, "value": np.int32}, "time_ns", 112 * S)
    for at_s in range(30, 16 * 3600, 30):
        made.append({"time_ns": np.asarray([at_s * S]), "value": np.asarray([1])}, at_s, at_s * S)
        made.evict_before((at_s - 900) * S)
    assert made.low_position is not None
    assert made.low_position >= at_s - 900 - 112 - 30
    assert made.nbytes < 20_000


def test_rows_that_come_late_open_no_chunks_of_their_own() -> None:
    made = ColumnWindow({"time_ns": np.int64, "value": np.int32}, "time_ns", 112 * S)
    for i in range(1000):
        time_ns = (10_000 - 600 * (i % 2)) * S
        made.append({"time_ns": np.asarray([time_ns]), "value": np.asarray([i])}, i, 10_000 * S)
    assert made.nbytes < 20_000
    assert made.between(0, 20_000 * S)["value"].tolist() == list(range(1000))


def test_a_clock_far_ahead_holds_its_chunk_for_a_while_only() -> None:
    made = ColumnWindow({"time_ns": np.int64, "value": np.int32}, "time_ns", 100 * S)
    for at_s, time_s in ((1000, 10**8), (2000, 2000), (3000, 3000)):
        made.append({"time_ns": np.asarray([time_s * S]), "value": np.asarray([1])}, at_s, at_s * S)
    made.evict_before(2500 * S)
    assert made.low_position == 3000
