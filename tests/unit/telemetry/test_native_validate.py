from __future__ import annotations

import struct

import pytest

from agent.telemetry.batch import STALE_NAN_BITS
from agent.telemetry.native import FloatHistogram, InvalidHistogram, parse_literal, validate_histogram


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{count:-1}}", "observation count is negative"),
        ("{{count:1 buckets:[2 -1]}}", "positive side: bucket number 2"),
        ("{{count:1 n_buckets:[-1]}}", "negative side: bucket number 1"),
        ("{{count:1 z_bucket:-1}}", "zero bucket"),
        ("{{count:1 custom_values:[1]}}", "must not have custom bounds"),
        ("{{schema:-53 custom_values:[1 1]}}", "strictly increasing"),
        ("{{schema:-53 custom_values:[1 NaN]}}", "must not be NaN"),
        ("{{schema:-53 custom_values:[1 Inf]}}", "must be finite"),
        ("{{schema:-53 buckets:[1 2 3] custom_values:[1]}}", "too few"),
        ("{{schema:-53 buckets:[1] offset:-1 custom_values:[1]}}", "too few"),
        ("{{schema:-53 z_bucket:1}}", "zero count of 0"),
        ("{{schema:-53 z_bucket_w:1}}", "zero threshold of 0"),
        ("{{schema:-53 n_buckets:[1]}}", "negative buckets"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidHistogram, match=message):
        validate_histogram(parse_literal(text), integral=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{{count:4 buckets:[1 2]}}", "should equal"), ("{{count:2 sum:NaN buckets:[1 2]}}", "at least")],
)
def test_integer_counts_must_add_up(text: str, message: str) -> None:
    with pytest.raises(InvalidHistogram, match=message):
        validate_histogram(parse_literal(text), integral=True)
    validate_histogram(parse_literal(text), integral=False)


@pytest.mark.parametrize(
    "text", ["{{count:3 z_bucket:1 buckets:[1 1]}}", "{{count:9 sum:NaN buckets:[1 1]}}"]
)
def test_what_is_right(text: str) -> None:
    validate_histogram(parse_literal(text), integral=True)


def test_a_stale_marker_is_right() -> None:
    stale = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]
    validate_histogram(FloatHistogram(sum=stale, count=-1), integral=True)
