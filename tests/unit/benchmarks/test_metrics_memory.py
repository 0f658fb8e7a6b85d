"""What the memory benchmark decides by itself: how much is sent, which settings it needs, which blocks are due."""

from __future__ import annotations

import pytest

from tests.benchmarks.measure import Memory, memory_in
from tests.benchmarks.metrics_memory import Disk, Found, Load, cut_due_ms, figures, limits_for

ROLLUP = """55c1fed0d000-7ffc8e9ab000 ---p 00000000 00:00 0                          [rollup]
Rss:                1768 kB
Pss:                 203 kB
Pss_Dirty:           120 kB
Pss_Anon:            120 kB
Pss_File:             83 kB
"""


def test_a_million_series_over_two_hours_end_now() -> None:
    what = Load.ending(1_700_000_000.9, 1_000_000, 2.0, 15)
    assert what.samples == 480_000_000
    assert what.start_ms + 2 * 3600 * 1000 == 1_700_000_000_000
    assert what.reached_ms(what.rounds) == 1_700_000_000_000 - 15_000


@pytest.mark.parametrize(
    ("series", "names"),
    [(1_000_000, []), (1_500_000, ["STREAMS"]), (3_000_000, ["GATEWAY", "STREAMS"])],
    ids=["the defaults hold", "more than a stream takes", "more than the gateway takes"],
)
def test_limits_are_set_where_the_defaults_are_too_low(series: int, names: list[str]) -> None:
    assert limits_for(series) == {f"KUBECHAT_OBS_{name}_MAX_SERIES": str(series) for name in names}


@pytest.mark.parametrize(("minute", "cut"), [(40, 30), (39, 0), (70, 60)])
def test_a_block_is_due_ten_minutes_after_its_end(minute: int, cut: int) -> None:
    assert cut_due_ms(minute * 60_000, 30 * 60_000) == cut * 60_000


def test_memory_is_read_as_the_kernel_prints_it() -> None:
    assert memory_in(ROLLUP) == Memory(203 * 1024, 120 * 1024)


def test_the_ratio_is_theirs_over_ours() -> None:
    def found(gigabytes: int) -> Found:
        memory = Memory(gigabytes * 10**9, gigabytes * 10**9)
        return Found(memory, memory, memory.anon_bytes, memory, Disk(3, 2, 5), 0)

    told = figures({"layer": found(2), "prometheus": found(5)})
    assert (told["memory_ratio_prometheus"], told["bytes_a_sample"]) == (2.5, 1.5)
