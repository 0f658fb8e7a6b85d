"""Bodies of remote write become the rows that the protobuf package reads from them, or are refused."""

from __future__ import annotations

import contextlib
from typing import Any

import cramjam
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import BadInput, Malformed, TooLarge, Unsupported
from agent.telemetry.labels import decode_labels, hash_labels, labels_of
from agent.telemetry.remote_write import (
    Packed,
    Scan,
    Version,
    content_encoding,
    message_version,
)
from agent.telemetry.remote_write_client import WriteSeries, encode_write_request_v2
from agent.telemetry.remote_write_scan import (
    FIRST_SAMPLE,
    SAMPLE_COUNT,
    TEXT_LEN,
    TEXT_OFF,
)
from tests.unit.telemetry.remote_write_messages import Request, WriteRequest

Rows = list[tuple[bytes, list[tuple[int, bytes]]]]
LIMIT = 1 << 22

names = st.text("abcXYZ_é", min_size=1, max_size=5)
values = st.text("012 ü/", min_size=1, max_size=200)
samples = st.lists(
    st.tuples(st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=True, width=64)), max_size=5
)
series = st.lists(st.tuples(st.dictionaries(names, values, max_size=6), samples), max_size=6)


def snappy(body: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(body))


def scanned(*packed: Packed, limit: int = LIMIT) -> Scan:
    scan = Scan(limit)
    for number, one in enumerate(packed):
        scan.add(one, number)
    return scan


def rows_of(scan: Scan) -> Rows:
    rows = []
    for i in range(len(scan.hashes)):
        off, size = scan.series[TEXT_OFF, i], scan.series[TEXT_LEN, i]
        first, count = scan.series[FIRST_SAMPLE, i], scan.series[SAMPLE_COUNT, i]
        text = scan.text[off : off + size].tobytes()
        assert int(scan.hashes[i]) == hash_labels(text)
        found = zip(
            scan.time_ms[first : first + count].tolist(), scan.bits[first : first + count], strict=True
        )
        rows.append((text, [(time_ms, bits.tobytes()) for time_ms, bits in found]))
    return rows


def expected(message: Any) -> Rows:
    """Of a WriteRequest, by the protobuf package."""
    return [
        (
            b"".join(b"\x0a" + _length(one) + one for one in (x.SerializeToString() for x in row.labels)),
            [(x.timestamp, np.float64(x.value).tobytes()) for x in row.samples],
        )
        for row in message.timeseries
    ]


def _length(content: bytes) -> bytes:
    return (
        bytes([len(content)]) if len(content) < 128 else bytes([len(content) & 127 | 128, len(content) >> 7])
    )


def write_request(made: Any) -> Any:
    message = WriteRequest()
    for labels, points in made:
        row = message.timeseries.add()
        for name, value in sorted(labels.items()):
            row.labels.add(name=name.encode(), value=value.encode())
        for time_ms, value in points:
            row.samples.add(timestamp=time_ms, value=value)
    return message


@given(series, series)
def test_version_1_gives_the_rows_that_protobuf_reads(first: Any, second: Any) -> None:
    messages = [write_request(first), write_request(second)]
    scan = scanned(*(Packed(snappy(one.SerializeToString())) for one in messages))
    assert rows_of(scan) == [row for one in messages for row in expected(one)]


@given(series)
def test_version_2_gives_the_same_rows_as_version_1(made: Any) -> None:
    second = [WriteSeries(labels_of(labels), tuple(points)) for labels, points in made]
    scan = scanned(Packed(encode_write_request_v2(second), Version.V2))
    first = expected(write_request((dict(one.labels), one.samples) for one in second))
    assert [decode_labels(text) for text, _ in rows_of(scan)] == [decode_labels(text) for text, _ in first]
    assert [points for _, points in rows_of(scan)] == [points for _, points in first]


@given(series, st.data())
def test_a_damaged_body_is_refused_or_read_and_never_read_outside(made: Any, data: st.DataObject) -> None:
    version = data.draw(st.sampled_from(Version))
    if version is Version.V1:
        body = bytearray(write_request(made).SerializeToString())
    else:
        packed = encode_write_request_v2(WriteSeries(labels_of(a), tuple(b)) for a, b in made)
        body = bytearray(cramjam.snappy.decompress_raw(packed))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(Malformed):
        rows_of(scanned(Packed(snappy(bytes(body)), version)))


@given(st.binary(max_size=300), st.sampled_from(Version), st.sampled_from(["snappy", "zstd"]))
def test_any_bytes_are_refused_or_read(body: bytes, version: Version, encoding: str) -> None:
    for packed in (Packed(body, version, encoding), Packed(snappy(body), version)):
        scan = Scan(LIMIT)
        try:
            scan.add(packed, 0)
        except BadInput:
            assert not scan.cursor.any()


@pytest.mark.parametrize(
    ("body", "version", "words"),
    [
        (b"\x0a\x05\x0a\x09", 1, "a length leads beyond"),
        (b"\x0a\x02\x12\x80", 1, "a varint ends too early"),
        (b"\x0a\x05\x12\x03\x09\x00\x00", 1, "cut off"),
        (b"\x08\x01", 1, "another wire type than in remote write"),
        (b"\x0a\x02\x10\x01", 1, "another wire type than in remote write"),
        (b"\x0b", 1, "another wire type"),
        (b"\x0a\x03\x8a\x00\x00", 1, "field number"),
        (b"\x22\x00\x2a\x04\x0a\x02\x00\x07", 2, "outside of the symbols table"),
        (b"\x22\x00\x2a\x03\x0a\x01\x00", 2, "an odd number of references"),
        (b"\x22\x00\x2a\x87\x20\x0a\x84\x20" + b"\0" * 4100, 2, "more than 1024 labels"),
    ],
)
def test_what_is_malformed_is_refused_with_the_reason(body: bytes, version: int, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        scanned(Packed(snappy(body), Version(version)))


def test_labels_that_do_not_lie_side_by_side_are_put_together() -> None:
    label, other, sample = b"\x0a\x06\x0a\x01a\x12\x01b", b"\x0a\x06\x0a\x01c\x12\x01d", b"\x12\x02\x10\x05"
    content = label + sample + other
    scan = scanned(Packed(snappy(b"\x0a" + bytes([len(content)]) + content)))
    assert rows_of(scan) == [(label + other, [(5, b"\0" * 8)])]


def test_symbols_and_numbers_may_come_in_any_order_and_unpacked() -> None:
    message = Request(symbols=["", "a", "b"])
    message.timeseries.add(labels_refs=[1, 2]).samples.add(timestamp=7, value=1.0)
    series_first = message.SerializeToString()
    at = series_first.index(b"\x2a")
    body = series_first[at:] + series_first[:at]
    body = body.replace(b"\x0a\x02\x01\x02", b"\x08\x01\x08\x02")
    assert decode_labels(rows_of(scanned(Packed(snappy(body), Version.V2)))[0][0]) == (("a", "b"),)


def test_a_body_that_grows_without_end_is_refused() -> None:
    symbols = b"\x22\x00\x22\x01a\x22\x80\x80\x01" + b"v" * 16384
    one = b"\x2a\x04\x0a\x02\x01\x02"
    with pytest.raises(TooLarge, match="labels of the body take more bytes"):
        scanned(Packed(snappy(symbols + one * 10_000), Version.V2))
    with pytest.raises(TooLarge, match="unpacks to"):
        scanned(Packed(snappy(b"\0" * (LIMIT + 1))))
    with pytest.raises(TooLarge, match="more than"):
        Scan(LIMIT, max_rows=10_000).add(Packed(snappy(b"\x0a\x00" * 100_000)), 0)


def test_a_refused_body_leaves_no_trace_and_columns_grow() -> None:
    scan = Scan(LIMIT)
    many = write_request([({"a": str(i)}, [(i, 1.0)] * 3) for i in range(20_000)])
    scan.add(Packed(snappy(b"\x0a\x04\x0a\x02\x0a\x00")), 0)
    with pytest.raises(Malformed):
        scan.add(Packed(snappy(b"\x0a\x02\x0a\x00\x0a\x05")), 1)
    scan.add(Packed(snappy(many.SerializeToString())), 2)
    assert (len(scan.hashes), len(scan.time_ms)) == (20_001, 60_000)
    assert rows_of(scan)[1:] == expected(many)


@pytest.mark.parametrize(
    ("header", "version"),
    [
        ("", Version.V1),
        ("application/x-protobuf", Version.V1),
        ("application/x-protobuf; proto=prometheus.WriteRequest", Version.V1),
        ('application/x-protobuf;proto="io.prometheus.write.v2.Request"', Version.V2),
    ],
)
def test_the_content_type_says_the_version(header: str, version: Version) -> None:
    assert message_version(header) is version


@pytest.mark.parametrize("header", ["text/plain", "application/x-protobuf;proto=x", "application/json"])
def test_other_content_types_are_refused(header: str) -> None:
    with pytest.raises(Unsupported):
        message_version(header)


def test_encodings() -> None:
    assert [content_encoding(header) for header in ("", "Snappy ", "zstd")] == ["snappy", "snappy", "zstd"]
    body = write_request([({"a": "b"}, [(1, 2.0)])])
    zstd = Packed(bytes(cramjam.zstd.compress(body.SerializeToString())), encoding="zstd")
    assert rows_of(scanned(zstd)) == expected(body)
    with pytest.raises(Malformed, match="not zstd"):
        scanned(Packed(zstd.body[:-3], encoding="zstd"))
