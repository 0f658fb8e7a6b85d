from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.telemetry.batch import STALE_NAN_BITS
from agent.telemetry.native import (
    CounterReset,
    FloatHistogram,
    IncompatibleSchemas,
    combined_hint,
    parse_literal,
)
from tests.unit.telemetry.native_samples import observed

VALUES = st.lists(
    st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6).map(lambda x: round(x, 3)), max_size=30
)
LAYOUT = st.tuples(st.integers(-4, 8), st.sampled_from([0.0, 0.01, 0.5, 3.0]))


def close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def same(a: FloatHistogram, text: str) -> bool:
    return a.equals(parse_literal(text))


@given(VALUES, VALUES, st.integers(-4, 8), st.integers(-4, 8))
def test_a_sum_is_the_histogram_of_all_observations(a: list[float], b: list[float], s: int, t: int) -> None:
    total = observed(a, s).add(observed(b, t)).histogram
    assert total.almost_equals(observed(a + b, min(s, t)), close)


@given(VALUES, VALUES, LAYOUT)
def test_a_difference_takes_back_what_was_added(
    a: list[float], b: list[float], layout: tuple[int, float]
) -> None:
    total = observed(a + b, *layout)
    assert total.sub(observed(b, *layout)).histogram.almost_equals(observed(a, *layout), close)


@given(VALUES, VALUES, LAYOUT, LAYOUT)
def test_zero_buckets_of_different_width_keep_every_observation(
    a: list[float], b: list[float], one: tuple[int, float], two: tuple[int, float]
) -> None:
    total = observed(a, *one).add(observed(b, *two)).histogram
    inside = total.zero_count + total.positive.count.sum() + total.negative.count.sum()
    assert inside == len(a) + len(b) == total.count
    assert total.zero_threshold >= max(one[1], two[1])


def test_a_bucket_inside_the_wider_zero_bucket_is_counted_once() -> None:
    coarse, fine = observed([], -1, 3.0), observed([2.0], 0, 0.0)
    assert same(coarse.add(fine).histogram, "{{schema:-1 count:1 sum:2 z_bucket:1 z_bucket_w:3}}")


@given(VALUES, VALUES, LAYOUT)
def test_more_observations_are_no_reset(a: list[float], b: list[float], layout: tuple[int, float]) -> None:
    before, after = observed(a, *layout), observed(a + b, *layout)
    assert not after.detect_reset(before)
    assert before.detect_reset(after) is bool(b)


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        ("{{count:2 buckets:[1 1]}}", "{{count:2 buckets:[2]}}", True),
        ("{{schema:1 count:2}}", "{{schema:0 count:2}}", True),
        ("{{schema:0 count:2 buckets:[2]}}", "{{schema:1 count:2 buckets:[2]}}", False),
        ("{{count:3 z_bucket:1}}", "{{count:3 z_bucket:2}}", True),
        ("{{count:3 z_bucket:3 z_bucket_w:1}}", "{{count:3 z_bucket:1 buckets:[2]}}", False),
        ("{{count:3 z_bucket:3 z_bucket_w:0.75}}", "{{count:3 z_bucket:1 buckets:[2]}}", True),
        ("{{count:3 z_bucket_w:0.1}}", "{{count:3 z_bucket_w:0.2}}", True),
        ("{{count:9 counter_reset_hint:reset}}", "{{count:3}}", True),
        ("{{count:1 counter_reset_hint:not_reset}}", "{{count:3}}", False),
        ("{{schema:-53 count:3}}", "{{count:3}}", True),
        ("{{schema:-53 count:3 buckets:[3] custom_values:[1 2]}}", "{{schema:-53 count:3 buckets:[2 1] custom_values:[0.5 1]}}", False),
        ("{{schema:-53 count:3 buckets:[2 1] custom_values:[1 2]}}", "{{schema:-53 count:3 buckets:[2 1] custom_values:[0.5 1]}}", True),
    ],
)  # fmt: skip
def test_resets(now: str, before: str, expected: bool) -> None:
    assert parse_literal(now).detect_reset(parse_literal(before)) is expected


def test_bounds_that_only_one_has_are_merged_away() -> None:
    a = parse_literal("{{schema:-53 sum:3 count:22 buckets:[5 10 7] custom_values:[1 2]}}")
    b = parse_literal("{{schema:-53 sum:3 count:15 buckets:[5 10] custom_values:[2 3]}}")
    total = a.add(b)
    assert total.reconciled
    assert same(total.histogram, "{{schema:-53 sum:6 count:37 buckets:[20 17] custom_values:[2]}}")
    assert same(a.sub(b).histogram, "{{schema:-53 count:7 buckets:[10 -3] custom_values:[2]}}")


def test_bounds_in_common_are_told_from_others() -> None:
    a = parse_literal("{{schema:-53 count:2 buckets:[1 1] custom_values:[1]}}")
    assert not a.add(a).reconciled


def test_exponential_and_custom_buckets_do_not_mix() -> None:
    with pytest.raises(IncompatibleSchemas):
        parse_literal("{{count:1}}").add(parse_literal("{{schema:-53 count:1}}"))


@pytest.mark.parametrize(
    ("a", "b", "hint", "collision"),
    [
        ("unknown", "unknown", "unknown", False),
        ("gauge", "reset", "gauge", False),
        ("not_reset", "gauge", "gauge", False),
        ("unknown", "reset", "unknown", False),
        ("reset", "reset", "reset", False),
        ("reset", "not_reset", "unknown", True),
    ],
)
def test_hints_of_a_sum(a: str, b: str, hint: str, collision: bool) -> None:
    assert combined_hint(CounterReset(a), CounterReset(b)) == (CounterReset(hint), collision)


def test_scaling() -> None:
    h = parse_literal("{{count:4 sum:6 z_bucket:1 buckets:[1 2]}}")
    assert same(h.mul(3), "{{count:12 sum:18 z_bucket:3 buckets:[3 6]}}")
    assert same(h.div(2), "{{count:2 sum:3 z_bucket:0.5 buckets:[0.5 1]}}")
    assert same(h.neg(), "{{count:-4 sum:-6 z_bucket:-1 buckets:[-1 -2]}}")
    assert h.neg().hint is CounterReset.GAUGE
    assert h.mul(2).hint is CounterReset.UNKNOWN


def test_division_by_zero_leaves_no_buckets() -> None:
    h = parse_literal("{{count:4 sum:0 buckets:[1 2]}}").div(0)
    assert h.count == math.inf
    assert math.isnan(h.sum)
    assert not len(h.positive)


def test_empty_buckets_and_the_hint_do_not_count_in_a_comparison() -> None:
    a = parse_literal("{{count:3 buckets:[1 0 2 0] counter_reset_hint:gauge}}")
    assert a.equals(a.compact())
    assert len(a.compact().positive) == 2


def test_only_the_stale_marker_is_stale() -> None:
    stale = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]
    assert FloatHistogram(sum=stale).stale
    assert not FloatHistogram(sum=math.nan).stale


def test_a_finer_schema_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="from schema 0 to 1"):
        parse_literal("{{count:1}}").copy_to_schema(1)


def test_rows_ascend_and_begin_at_the_edge_of_the_zero_bucket() -> None:
    rows = parse_literal("{{count:9 z_bucket:1 z_bucket_w:0.75 buckets:[1 2] n_buckets:[3 4]}}").rows()
    assert rows.lower.tolist() == [-2.0, -1.0, -0.75, 0.75, 1.0]
    assert rows.upper.tolist() == [-1.0, -0.75, 0.75, 1.0, 2.0]
    assert rows.counts.tolist() == [4, 3, 1, 1, 2]
    assert rows.lower_inclusive.tolist() == [True, True, True, False, False]
    assert rows.upper_inclusive.tolist() == [False, False, True, True, True]
