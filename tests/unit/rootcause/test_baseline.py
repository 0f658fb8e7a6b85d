from __future__ import annotations

import numpy as np
import pytest

from agent.errors import Malformed
from agent.rootcause.baseline import NS, Baseline
from agent.rootcause.engine import analyse
from agent.rootcause.question import Scope
from agent.rootcause.settings import RootCauseSettings
from tests.unit.rootcause.shop import T0, Trouble, telemetry

SETTINGS = RootCauseSettings()


def learned(*starts_s: int, settings: RootCauseSettings = SETTINGS) -> Baseline:
    found = Baseline(settings)
    for start_s in starts_s:
        found.learn(telemetry(start_s, start_s + 60))
    return found


def normal_s(baseline: Baseline, from_s: float) -> list[float]:
    found = baseline.history(T0 + int(from_s * NS))
    return [(s.start_ns - T0) / NS for s in found.normal]


def test_cuts_what_it_learns_on_the_grid_of_event_time() -> None:
    assert [(s.end_ns - s.start_ns) / NS for s in learned(0).segments] == [20.0, 20.0, 20.0]


def test_learns_each_stretch_once_in_any_order() -> None:
    late = learned(60, 0, 60)
    assert [(s.start_ns - T0) // NS for s in late.segments] == [0, 20, 40, 60, 80, 100]


def test_leaves_out_what_is_asked_about_and_what_comes_after() -> None:
    assert normal_s(learned(0, 60, 120), 90) == [0, 20, 40, 60]


def test_leaves_out_what_was_marked_until_it_has_settled() -> None:
    found = learned(0, 60, 120, 180, 240, 300)
    found.exclude(T0 + 50 * NS, T0 + 70 * NS)
    assert normal_s(found, 400) == [0, 20, 260, 280, 300, 320, 340]


def test_hands_out_the_rest_as_suspect_and_says_where_normal_time_is_scarce() -> None:
    found = learned(*range(0, 360, 60))
    assert not found.history(T0 + 400 * NS).scarce
    found.exclude(T0, T0 + 60 * NS)
    history = found.history(T0 + 400 * NS)
    assert (len(history.normal), len(history.suspect), history.scarce) == (6, 12, True)


def test_a_mark_may_come_before_the_stretch_is_learned() -> None:
    found = Baseline(SETTINGS)
    found.exclude(T0, T0 + 60 * NS)
    found.learn(telemetry(0, 60))
    assert normal_s(found, 400) == []


@pytest.mark.parametrize(
    ("marks", "kept"),
    [
        ([(0, 10), (5, 20)], [(0, 20)]),
        ([(0, 10), (10, 20)], [(0, 20)]),
        ([(30, 40), (0, 10)], [(0, 10), (30, 40)]),
        ([(0, 10), (30, 40), (5, 35)], [(0, 40)]),
        ([(0, 40), (10, 20)], [(0, 40)]),
        ([(5, 5), (9, 1)], []),
    ],
    ids=["overlap", "touch", "apart", "bridge", "inside", "empty"],
)
def test_marks_that_meet_are_one(marks: list[tuple[int, int]], kept: list[tuple[int, int]]) -> None:
    found = Baseline(SETTINGS)
    for start, end in marks:
        found.exclude(start, end)
    assert found.excluded == kept


def test_forgets_marks_with_the_segments_they_concern() -> None:
    settings = RootCauseSettings(keep_s=300.0)
    found = learned(0, settings=settings)
    found.exclude(T0 + 10 * NS, T0 + 20 * NS)
    found.exclude(T0 + 2000 * NS, T0 + 2010 * NS)
    found.learn(telemetry(1990, 2050))
    assert found.excluded == [(T0 + 2000 * NS, T0 + 2010 * NS)]


def test_forgets_what_is_too_old_or_too_much() -> None:
    short = learned(0, 60, 120, settings=RootCauseSettings(keep_s=100.0))
    assert (short.segments[0].start_ns - T0) // NS == 80
    few = learned(0, 60, 120, settings=RootCauseSettings(max_segments=4))
    assert len(few.segments) == 4


def test_bounds_the_keys_of_a_segment() -> None:
    found = learned(0, settings=RootCauseSettings(max_keys=5))
    assert max(len(s.transition.key) for s in found.segments) == 5


def test_comes_back_from_its_bytes_with_the_same_answers() -> None:
    found = learned(0, 60, 120, 180)
    found.exclude(T0 + 5 * NS, T0 + 6 * NS)
    back = Baseline.from_bytes(found.to_bytes(), SETTINGS)
    window = telemetry(400, 520, Trouble(query_ms=150))
    assert back.excluded == found.excluded
    assert analyse(Scope("why?"), window, back, SETTINGS) == analyse(Scope("why?"), window, found, SETTINGS)
    assert back.learn(telemetry(240, 300)) == 3


def test_is_compact() -> None:
    assert len(learned(*range(0, 600, 60)).to_bytes()) < 30 * 16_000


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"\x81\xa6format\x63"])
def test_refuses_bytes_that_are_no_baseline(data: bytes) -> None:
    with pytest.raises(Malformed, match="baseline"):
        Baseline.from_bytes(data)


def test_keeps_few_order_statistics_that_stand_for_all() -> None:
    for segment in learned(0).segments:
        sizes = np.diff(segment.self_time.offsets)
        assert sizes.max() <= 16
        assert (sizes <= segment.self_time.count).all()
