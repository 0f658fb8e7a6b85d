from __future__ import annotations

import math
import struct
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.aggregator.prometheus.digits import float_text, time_text


def plain(value: float) -> str:
    """The same by Python's own digits."""
    digits = Decimal(repr(value))
    if value and not 1e-6 <= abs(value) < 1e21:
        sign, figures, exponent = digits.normalize().as_tuple()
        text = "".join(map(str, figures))
        power = int(exponent) + len(text) - 1
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        return f"{'-' if sign else ''}{text[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"
    text = format(digits, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (-12.5, "-12.5"), (0.1, "0.1"), (1 / 3, "0.3333333333333333"),
        (1e-6, "0.000001"), (9.5e-7, "9.5e-07"), (1e20, "100000000000000000000"), (1e21, "1e+21"),
        (2.0**60, "1152921504606847000"), (123456.789, "123456.789"), (5e-324, "5e-324"),
        (-2.2250738585072014e-308, "-2.2250738585072014e-308"), (1.7976931348623157e308, "1.7976931348623157e+308"),
        (math.inf, "+Inf"), (-math.inf, "-Inf"), (math.nan, "NaN"), (9007199254740993.0, "9007199254740992"),
    ],
)  # fmt: skip
def test_floats(value: float, text: str) -> None:
    assert float_text(value) == text


@given(st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]))
def test_every_bit_pattern(value: float) -> None:
    if math.isfinite(value):
        assert float_text(value) == plain(value)


@given(st.decimals(-(10**9), 10**9, places=4).map(float))
def test_short_decimals(value: float) -> None:
    assert float_text(value) == plain(value)


@pytest.mark.parametrize("exponent", range(-1074, 1024, 7))
def test_powers_of_two(exponent: int) -> None:
    assert float_text(math.ldexp(1.0, exponent)) == plain(math.ldexp(1.0, exponent))


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [
        (0, "0"),
        (1000, "1"),
        (1_435_781_430_781, "1435781430.781"),
        (1_050, "1.050"),
        (-1, "-0.001"),
        (-1500, "-1.500"),
    ],
)
def test_times(time_ms: int, text: str) -> None:
    assert time_text(time_ms) == text
