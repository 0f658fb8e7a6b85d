from __future__ import annotations

import math

import pytest

from agent.telemetry.native import FloatHistogram, parse_literal, trimmed

EXPONENTIAL = (
    "{{schema:0 sum:123.75 count:34 z_bucket:1 z_bucket_w:0.001 buckets:[2 4 8 16] n_buckets:[1 2]}}"
)
CUSTOM = "{{schema:-53 sum:30 count:10 buckets:[1 2 3 3 1] custom_values:[1 2 5 10]}}"


def close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-12)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("text", [EXPONENTIAL, CUSTOM])
def test_a_value_beyond_all_buckets_removes_nothing(text: str, upper: bool) -> None:
    h = parse_literal(text)
    assert trimmed(h, math.inf if upper else -math.inf, upper=upper) is h


@pytest.mark.parametrize("upper", [True, False])
def test_a_value_before_all_buckets_removes_everything(upper: bool) -> None:
    rest = trimmed(parse_literal(EXPONENTIAL), -math.inf if upper else math.inf, upper=upper)
    assert rest.equals(parse_literal("{{z_bucket_w:0.001}}"))


@pytest.mark.parametrize(
    ("text", "value", "upper", "expected"),
    [
        # Geometric means 0.7071, 1.4142, 2.8284, 5.6569 times 2, 4, 8, 16, and half of the zero bucket.
        (EXPONENTIAL, 0.0, False, "{{sum:120.20840280171308 count:30.5 z_bucket:0.5 z_bucket_w:0.001 buckets:[2 4 8 16]}}"),
        (EXPONENTIAL, 0.0, True, "{{sum:-3.5357839059327376 count:3.5 z_bucket:0.5 z_bucket_w:0.001 n_buckets:[1 2]}}"),
        (CUSTOM, 3.5, True, "{{schema:-53 sum:7.625 count:4.5 buckets:[1 2 1.5] custom_values:[1 2 5 10]}}"),
        (CUSTOM, 5.0, False, "{{schema:-53 sum:32.5 count:4 offset:3 buckets:[3 1] custom_values:[1 2 5 10]}}"),
        (CUSTOM, 100.0, True, "{{schema:-53 sum:36.5 count:9 buckets:[1 2 3 3] custom_values:[1 2 5 10]}}"),
        (CUSTOM, 0.5, True, "{{schema:-53 sum:0.125 count:0.5 buckets:[0.5] custom_values:[1 2 5 10]}}"),
        (CUSTOM, -1.0, True, "{{schema:-53 custom_values:[1 2 5 10]}}"),
        ("{{z_bucket:4 z_bucket_w:1 count:6 buckets:[2] offset:1}}", 0.5, True, "{{z_bucket:2 z_bucket_w:1 sum:0.5 count:2}}"),
        ("{{z_bucket:4 z_bucket_w:1 count:8 buckets:[2] offset:1 n_buckets:[2] n_offset:1}}", 0.5, True,
         "{{z_bucket:3 z_bucket_w:1 sum:-3.5784271247461903 count:5 n_buckets:[2] n_offset:1}}"),
    ],
)  # fmt: skip
def test_what_is_left(text: str, value: float, upper: bool, expected: str) -> None:
    assert trimmed(parse_literal(text), value, upper=upper).almost_equals(parse_literal(expected), close)


def test_an_exponential_bucket_is_divided_on_the_logarithmic_scale() -> None:
    half = trimmed(parse_literal("{{count:3 buckets:[3] offset:2}}"), 2 * math.sqrt(2), upper=True)
    assert half.count == pytest.approx(1.5, rel=1e-12)
    assert half.sum == pytest.approx(1.5 * math.sqrt(2 * 2 * math.sqrt(2)), rel=1e-12)


@pytest.mark.parametrize("value", [-1.7, -0.3, 0.0, 0.7, 1.0, 1.5, 7.9])
def test_both_ways_part_the_observations(value: float) -> None:
    h: FloatHistogram = parse_literal(EXPONENTIAL)
    below, above = trimmed(h, value, upper=True), trimmed(h, value, upper=False)
    assert below.count + above.count == pytest.approx(h.count)
