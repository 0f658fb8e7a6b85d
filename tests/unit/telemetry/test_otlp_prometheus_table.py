from __future__ import annotations

import numpy as np

from agent.telemetry.otlp_prometheus_table import KeyTable


def test_codes_follow_the_first_appearance() -> None:
    table = KeyTable(10)
    codes, fresh = table.codes(np.asarray([7, 9, 7, 3], np.uint64))
    assert codes.tolist() == [0, 1, 0, 2]
    assert fresh.tolist() == [0, 1, 3]
    assert table.keys.tolist() == [7, 9, 3]


def test_past_the_limit_there_is_no_code() -> None:
    assert KeyTable(1).codes(np.asarray([7, 9, 7], np.uint64))[0].tolist() == [0, -1, 0]


def test_codes_stay_when_the_table_grows() -> None:
    table = KeyTable(100_000)
    keys = np.arange(50_000, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    table.codes(keys[:10])
    assert table.codes(keys)[0].tolist() == list(range(50_000))


def test_a_table_can_begin_with_keys() -> None:
    table = KeyTable(10, np.asarray([5, 6], np.uint64))
    assert table.codes(np.asarray([6], np.uint64))[0].tolist() == [1]
