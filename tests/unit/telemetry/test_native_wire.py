from __future__ import annotations

import random
import struct

import pytest

from agent.telemetry import native_wire
from agent.telemetry.batch import STALE_NAN_BITS
from agent.telemetry.native import (
    CounterReset,
    FloatHistogram,
    InvalidHistogram,
    check_histogram,
    decode_histogram,
    encode_histogram,
    parse_literal,
    spans_of,
)

LITERALS = [
    "{{}}",
    "{{schema:1 sum:3 count:27 buckets:[5 10 0 7] offset:-3 z_bucket:2 z_bucket_w:0.01 n_buckets:[1 2] n_offset:4}}",
    "{{schema:-53 sum:3 count:22 buckets:[5 10 7] custom_values:[1 2] counter_reset_hint:gauge}}",
    "{{schema:8 count:1.5 sum:NaN buckets:[1.5] offset:-100000 counter_reset_hint:reset}}",
]


@pytest.mark.parametrize("text", LITERALS)
def test_float_histograms_round_trip(text: str) -> None:
    h = parse_literal(text)
    back = decode_histogram(encode_histogram(h, 1_700_000_000_000))
    assert back.positive.index.tolist() == h.positive.index.tolist()
    assert back.equals(h)
    assert back.hint is h.hint


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def zigzag(value: int) -> int:
    return (value << 1) ^ (value >> 63)


def part(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def span(field: int, gap: int, length: int) -> bytes:
    return part(field, number(1, zigzag(gap)) + number(2, length))


def integer(*deltas: int, spans: tuple[tuple[int, int], ...], schema: int = 0) -> bytes:
    packed = b"".join(varint(zigzag(delta)) for delta in deltas)
    return (
        number(1, 9) + number(4, zigzag(schema)) + number(6, 2)
        + b"".join(span(11, gap, length) for gap, length in spans)
        + part(12, packed)
    )  # fmt: skip


def test_integer_histograms_carry_differences() -> None:
    h = decode_histogram(integer(5, -2, 7, spans=((-1, 2), (3, 1))) + number(14, 2))
    assert (h.count, h.zero_count, h.hint) == (9, 2, CounterReset.NOT_RESET)
    assert h.positive.index.tolist() == [-1, 0, 4]
    assert h.positive.count.tolist() == [5, 3, 10]


def test_numbers_that_are_not_packed() -> None:
    message = span(11, 0, 2) + number(12, zigzag(1)) + number(12, zigzag(3))
    assert decode_histogram(message).positive.count.tolist() == [1, 4]


def test_finer_schemas_are_merged_down() -> None:
    h = decode_histogram(integer(1, 0, 0, 0, spans=((1, 4),), schema=10))
    assert (h.schema, h.positive.index.tolist(), h.positive.count.tolist()) == (8, [1], [4])


def test_unknown_fields_are_passed_over() -> None:
    message = number(17, 99) + part(18, b"abc") + varint(19 << 3 | 5) + b"1234" + number(1, 3)
    assert decode_histogram(message).count == 3


def test_the_stale_marker() -> None:
    assert decode_histogram(b"\x19" + struct.pack("<Q", STALE_NAN_BITS)).stale
    stale = FloatHistogram(sum=struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0])
    assert decode_histogram(encode_histogram(stale)).stale


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (integer(1, spans=((0, 2),)), "different number of buckets"),
        (integer(1, 1, spans=((0, 1),)), "different number of buckets"),
        (integer(1, 1, spans=((0, 1), (-1, 1))), "offset is negative"),
        (integer(1, -2, spans=((0, 2),)), "count is negative"),
        (integer(1, spans=((2**31 - 1, 1),)), "beyond 32 bits"),
        (integer(1, spans=((0, 4_000_000_000),)), "different number of buckets"),
        (number(4, zigzag(53)), "invalid schema"),
        (number(4, zigzag(-5)), "invalid schema"),
        (b"\x08", "no Histogram message"),
        (b"\x08" + b"\xff" * 11, "no Histogram message"),
        (b"\x19\x00", "no Histogram message"),
        (b"\x18\x01", "no Histogram message"),
        (b"\x5a\x05\x08", "no Histogram message"),
        (b"\x0b", "no Histogram message"),
        (part(13, b"1234567"), "no Histogram message"),
        (part(3, b"12345678"), "no Histogram message"),
    ],
)
def test_what_is_refused(message: bytes, text: str) -> None:
    with pytest.raises(InvalidHistogram, match=text):
        decode_histogram(message)


def test_a_message_of_megabytes_is_refused_at_once() -> None:
    with pytest.raises(InvalidHistogram, match="at most 1048576 are taken"):
        decode_histogram(bytes(2 << 20))


def test_the_way_in_refuses_counts_that_do_not_add_up() -> None:
    check_histogram(integer(5, -3, spans=((0, 2),)))
    with pytest.raises(InvalidHistogram, match="should equal"):
        check_histogram(integer(5, -2, spans=((0, 2),)))
    check_histogram(encode_histogram(parse_literal("{{count:3 buckets:[5]}}")))


def test_damaged_messages_are_refused_or_read() -> None:
    rng, whole = (
        random.Random(3),
        integer(5, -2, 7, spans=((-1, 2), (3, 1))) + encode_histogram(parse_literal(LITERALS[1])),
    )
    for _ in range(3000):
        message = bytearray(whole[: rng.randint(1, len(whole))])
        message[rng.randrange(len(message))] = rng.randrange(256)
        try:
            decode_histogram(bytes(message))
        except InvalidHistogram:
            continue


def test_spans() -> None:
    h = parse_literal("{{buckets:[1 2 0 0 3] offset:-1}}").compact()
    assert spans_of(h.positive) == [(-1, 2), (2, 1)]
    assert spans_of(h.negative) == []


def test_after_warming_up_the_kernels_are_there() -> None:
    native_wire.warm_up()
    assert native_wire._decode.signatures
