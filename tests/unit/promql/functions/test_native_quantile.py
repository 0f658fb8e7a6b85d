from __future__ import annotations

import math

import pytest

from agent.promql.functions.native_quantile import Doubt, fraction, quantile, variance
from agent.telemetry.native import parse_literal

POSITIVE = "{{schema:0 count:12 sum:100 z_bucket:2 z_bucket_w:0.5 buckets:[4 6] offset:1}}"  # (1,2]:4 (2,4]:6
BOTH = "{{schema:0 count:12 sum:1 z_bucket:4 z_bucket_w:0.5 buckets:[4] n_buckets:[4] offset:1 n_offset:1}}"
CUSTOM = "{{schema:-53 count:12 sum:9 buckets:[3 6 3] custom_values:[5 10]}}"


@pytest.mark.parametrize(
    ("text", "q", "expected"),
    [
        (POSITIVE, -1, -math.inf),
        (POSITIVE, 2, math.inf),
        (POSITIVE, math.nan, math.nan),
        (POSITIVE, 0, 0.0),
        (POSITIVE, 1 / 12, 0.25),
        (POSITIVE, 4 / 12, 2**0.5),
        (POSITIVE, 9 / 12, 2 * 2**0.5),
        (POSITIVE, 1, 4.0),
        (BOTH, 0, -2.0),
        (BOTH, 2 / 12, -(2**0.5)),
        (BOTH, 0.5, 0.0),
        (BOTH, 10 / 12, 2**0.5),
        (CUSTOM, 1 / 12, 5 / 3),
        (CUSTOM, 0.5, 7.5),
        (CUSTOM, 0.99, 10.0),
        ("{{schema:-53 count:3 buckets:[3] custom_values:[-1]}}", 0.5, -1.0),
        ("{{count:0}}", 0.5, math.nan),
        ("{{schema:1 count:3 sum:2}}", 0.3, 0.0),
        ("{{count:5 buckets:[2]}}", 0.1, 0.5 * 2**0.25),
        ("{{count:3 sum:1 buckets:[0 3 0]}}", 1, 2.0),
    ],
)
def test_quantiles(text: str, q: float, expected: float) -> None:
    assert quantile(q, parse_literal(text))[0] == pytest.approx(expected, nan_ok=True, rel=1e-12)


@pytest.mark.parametrize(
    ("q", "expected", "doubt"),
    [(0.25, 2**0.5, Doubt.SKEWED), (0.9, math.nan, Doubt.NAN_RESULT)],
)
def test_observations_of_nan(q: float, expected: float, doubt: Doubt) -> None:
    found, told = quantile(q, parse_literal("{{count:8 sum:NaN buckets:[0 4]}}"))
    assert found == pytest.approx(expected, nan_ok=True)
    assert told is doubt


def test_infinite_observations_are_no_nan() -> None:
    assert quantile(0.25, parse_literal("{{count:4 sum:NaN buckets:[0 4]}}"))[1] is Doubt.NONE


@pytest.mark.parametrize(
    ("text", "lower", "upper", "expected"),
    [
        (POSITIVE, -math.inf, math.inf, 1.0),
        (POSITIVE, 0, 0.25, 1 / 12),
        (POSITIVE, 2**0.5, 4, 8 / 12),
        (POSITIVE, 5, 9, 0.0),
        (BOTH, -(2**0.5), 0, 4 / 12),
        (CUSTOM, 5, 7.5, 3 / 12),
        (CUSTOM, -math.inf, 5, 3 / 12),
        (CUSTOM, 10, math.inf, 3 / 12),
        (CUSTOM, 0, 2.5, 1.5 / 12),
        (CUSTOM, 2, 1, 0.0),
        (CUSTOM, math.nan, 1, math.nan),
        ("{{count:0}}", 0, 1, math.nan),
    ],
)
def test_fractions(text: str, lower: float, upper: float, expected: float) -> None:
    found, has_nan = fraction(lower, upper, parse_literal(text))
    assert found == pytest.approx(expected, nan_ok=True, rel=1e-12)
    assert not has_nan


def test_a_fraction_leaves_nan_out() -> None:
    assert fraction(0, math.inf, parse_literal("{{count:8 sum:NaN buckets:[0 4]}}")) == (0.5, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "{{count:4 sum:4 z_bucket:2 z_bucket_w:0.1 buckets:[2] offset:2}}",
            (2 * 1 + 2 * (8**0.5 - 1) ** 2) / 4,
        ),
        ("{{count:2 sum:-2 n_buckets:[2] n_offset:2}}", (8**0.5 - 1) ** 2),
        ("{{schema:-53 count:2 sum:4 buckets:[0 2] custom_values:[1 2]}}", 0.25),
        ("{{count:0}}", math.nan),
    ],
)
def test_variance(text: str, expected: float) -> None:
    assert variance(parse_literal(text)) == pytest.approx(expected, nan_ok=True)
