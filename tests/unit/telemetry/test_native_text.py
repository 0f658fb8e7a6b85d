from __future__ import annotations

import math

import pytest

from agent.telemetry.native import describe, parse_literal, to_json
from agent.telemetry.native_text import json_number, short


def test_description_in_ascending_order() -> None:
    h = parse_literal(
        "{{schema:1 sum:3.5 count:12 z_bucket:2 z_bucket_w:0.01 buckets:[0 10] n_buckets:[1 2]}}"
    )
    assert str(h) == (
        "{count:12, sum:3.5, [-1.414213562373095,-1):2, [-1,-0.7071067811865475):1, "
        "[-0.01,0.01]:2, (1,1.414213562373095]:10}"
    )


def test_a_negative_zero_bucket_is_shown() -> None:
    assert describe(
        parse_literal("{{z_bucket:-2 n_buckets:[-1]}}")
    ) == "{count:0, sum:0, [-1,-0.5):-1, [0,0]:-2}".replace("[0,0]", "[-0,0]")


def test_custom_buckets() -> None:
    h = parse_literal("{{schema:-53 count:6 buckets:[1 2 3] custom_values:[1 2]}}")
    assert describe(h) == "{count:6, sum:0, [-Inf,1]:1, (1,2]:2, (2,+Inf]:3}"


def test_the_form_of_the_api() -> None:
    h = parse_literal("{{sum:1e-7 count:6 z_bucket:1 z_bucket_w:0.5 buckets:[0 2] n_buckets:[0 3]}}")
    assert to_json(h) == {
        "count": "6",
        "sum": "1e-07",
        "buckets": [[1, "-2", "-1", "3"], [3, "-0.5", "0.5", "1"], [0, "1", "2", "2"]],
    }


def test_no_buckets_no_field() -> None:
    assert to_json(parse_literal("{{sum:1 count:2}}")) == {"count": "2", "sum": "1"}


@pytest.mark.parametrize(
    ("value", "general", "json"),
    [
        (0.0, "0", "0"),
        (-0.0, "-0", "-0"),
        (100000.0, "100000", "100000"),
        (1234567.0, "1.234567e+06", "1234567"),
        (0.0001, "0.0001", "0.0001"),
        (0.00001, "1e-05", "0.00001"),
        (1e-7, "1e-07", "1e-07"),
        (1e21, "1e+21", "1e+21"),
        (123456.75, "123456.75", "123456.75"),
        (-2.5e-300, "-2.5e-300", "-2.5e-300"),
        (math.inf, "+Inf", "+Inf"),
        (-math.inf, "-Inf", "-Inf"),
        (math.nan, "NaN", "NaN"),
    ],
)
def test_numbers(value: float, general: str, json: str) -> None:
    assert short(value) == general
    assert json_number(value) == json
