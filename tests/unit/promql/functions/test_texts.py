from __future__ import annotations

import math

import pytest

from agent.promql.functions.texts import general, quoted


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "-0"),
        (2.0, "2"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (100000.0, "100000"),
        (1000000.0, "1e+06"),
        (123456.789, "123456.789"),
        (123456789.0, "1.23456789e+08"),
        (1e100, "1e+100"),
        (math.nan, "NaN"),
        (math.inf, "+Inf"),
        (-math.inf, "-Inf"),
    ],
)
def test_numbers_are_printed_as_go_does(number: float, text: str) -> None:
    assert general(number) == text


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("up", '"up"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("größe\n", '"größe\\n"'),
        ("\x00\udcff", '"\\x00\\xff"'),
        ("\u200b", '"\\u200b"'),
    ],
)
def test_strings_are_quoted_as_go_does(text: str, literal: str) -> None:
    assert quoted(text) == literal
