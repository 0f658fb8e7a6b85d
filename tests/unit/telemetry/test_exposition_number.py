"""Compiled conversions against Python's, which are right."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.telemetry.exposition_number import POWERS, parse_floats, parse_integers

NORMAL_NAN = 0x7FF8000000000001


def columns(texts: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    raw = np.frombuffer(b"|".join(texts) + b"|", np.uint8)
    length = np.asarray([len(text) for text in texts], np.int64)
    return raw, np.concatenate([[0], np.cumsum(length + 1)[:-1]]).astype(np.int64), length


def converted(texts: list[bytes]) -> list[int | None]:
    """Bits, None where the slow way is to be taken."""
    raw, off, length = columns(texts)
    bits, slow = np.empty(len(texts), np.uint64), np.empty(len(texts), np.int64)
    left = parse_floats(raw, off, length, bits, slow, POWERS)
    undecided = set(slow[:left].tolist())
    return [None if i in undecided else int(one) for i, one in enumerate(bits)]


def bits_of(text: str) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", float(text)))[0])


decimals = st.builds(
    lambda sign, digits, point, power: f"{sign}{digits[:point]}.{digits[point:]}{power}",
    st.sampled_from(["", "-", "+"]),
    st.text("0123456789", min_size=1, max_size=19),
    st.integers(1, 19),
    st.one_of(st.just(""), st.builds("e{}".format, st.integers(-360, 330))),
)


@given(st.one_of(decimals, st.floats(allow_nan=False, allow_infinity=False).map(repr)))
@example("9007199254740993")
@example("4503599627370496.5")
@example("4503599627370497.5")
@example("1e23")
@example("1.7976931348623157e308")
@example("2.2250738585072014e-308")
@example("-0")
def test_what_is_decided_is_right(text: str) -> None:
    found = converted([text.encode()])[0]
    assert found is None or found == bits_of(text)


def test_usual_numbers_are_decided() -> None:
    texts = ["0", "1", "17.0", "0.013300656000000001", "1.345758e+06", "1700000000.123", "123456789012345678"]
    assert converted([text.encode() for text in texts]) == [bits_of(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        (b"NaN", NORMAL_NAN), (b"nan", NORMAL_NAN), (b"+Inf", 0x7FF << 52), (b"-inf", 0xFFF << 52),
        (b"Infinity", 0x7FF << 52),
    ],
)  # fmt: skip
def test_special_numbers(text: bytes, bits: int) -> None:
    assert converted([text]) == [bits]


@pytest.mark.parametrize(
    "text", [b"", b"-", b".", b"1e", b"1e+", b"0x1", b"1_0", b"+nan", b"1.1.1", b"e5", b"1 "]
)
def test_what_is_no_number_is_left(text: bytes) -> None:
    assert converted([text]) == [None]


@pytest.mark.parametrize(("text", "row"), [(b"1.5", 1), (b"", 1), (b"-", 1), (b"1" * 19, 1), (b"-17", -1)])
def test_integers(text: bytes, row: int) -> None:
    raw, off, length = columns([b"+5", text])
    out = np.empty(2, np.int64)
    assert parse_integers(raw, off, length, out) == row
    assert out[0] == 5
    assert row >= 0 or out[1] == -17
