from __future__ import annotations

import numpy as np
import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue

from agent.errors import Malformed, TooLarge
from agent.telemetry.otlp_body import DecodeLimits
from agent.telemetry.otlp_logs import decode_logs
from agent.telemetry.otlp_metrics import decode_metrics
from agent.telemetry.otlp_spans import decode_spans
from tests.unit.telemetry.requests import histogram, log_record, logs_body, metrics_body, span, trace_body


def deep_log(lists: int) -> bytes:
    """A log record whose body is that many lists inside one another: two messages each."""
    value = AnyValue(string_value="deep")
    for _ in range(lists):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    return logs_body([log_record(body=value)])


MALFORMED = {
    "truncated tag": (b"\x8a", "varint ends too early at byte 0"),
    "truncated length": (b"\x0a\x80", "varint ends too early at byte 0"),
    "no length": (b"\x0a", "varint ends too early at byte 0"),
    "length beyond the body": (b"\x0a\x05\x0a", "beyond the enclosing message at byte 0"),
    "length beyond the message": (b"\x0a\x02\x0a\x05\x0a\x00", "beyond the enclosing message at byte 2"),
    "huge length": (b"\x0a" + b"\xff" * 9 + b"\x01", "beyond the enclosing message at byte 0"),
    "varint of 11 bytes": (b"\x10" + b"\x80" * 10 + b"\x00", "longer than 64 bits at byte 0"),
    "varint above 64 bits": (b"\x10" + b"\xff" * 9 + b"\x02", "longer than 64 bits at byte 0"),
    "field 0": (b"\x02\x00", "field number is 0"),
    "tag above 32 bits": (b"\x80\x80\x80\x80\x10\x00", "field number is 0 or too large"),
    "group": (b"\x0b\x0c", "groups"),
    "wire type 6": (b"\x0e", "groups"),
    "known field as varint": (b"\x08\x01", "another wire type than in OTLP at byte 0 (TraceRequest field 1)"),
    "cut fixed64": (b"\x11\x00\x00", "cut off at byte 0"),
    "cut fixed32": (b"\x15\x00\x00", "cut off at byte 0"),
}


@pytest.mark.parametrize(("body", "message"), MALFORMED.values(), ids=MALFORMED)
def test_malformed_is_refused_with_its_place(body: bytes, message: str) -> None:
    with pytest.raises(Malformed) as refused:
        decode_spans(body)
    assert refused.value.reason == "malformed_protobuf"
    assert message in refused.value.message


def test_unknown_fields_of_every_wire_type_are_skipped() -> None:
    unknown = b"\xf8\x07\x05" + b"\xf9\x07" + bytes(8) + b"\xfa\x07\x03abc" + b"\xfd\x07" + bytes(4)
    assert len(decode_spans(unknown + trace_body([span()]) + unknown)) == 1


def test_nesting_within_the_bound_is_taken() -> None:
    assert len(decode_logs(deep_log(29))) == 1


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(Malformed, match="nested deeper than 64"):
        decode_logs(deep_log(31))


def test_body_may_be_any_buffer() -> None:
    body = trace_body([span()])
    for buffer in (bytearray(body), memoryview(body), np.frombuffer(body, np.uint8)):
        assert decode_spans(buffer).span_id.tolist() == decode_spans(body).span_id.tolist()


def test_raw_is_the_body_itself() -> None:
    array = np.frombuffer(trace_body([span()]), np.uint8)
    assert np.shares_memory(decode_spans(array).raw, array)


def test_empty_body_is_an_empty_batch() -> None:
    assert len(decode_spans(b"")) == 0


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (DecodeLimits(max_rows=2), "too_many_rows"),
        (DecodeLimits(max_blocks=1), "too_many_resources"),
        (DecodeLimits(max_body_bytes=10), "body_too_large"),
    ],
)
def test_limits_refuse_the_body(limits: DecodeLimits, reason: str) -> None:
    with pytest.raises(TooLarge) as refused:
        decode_spans(trace_body([span(), span()], [span()]), limits)
    assert refused.value.reason == reason


def test_samples_are_bounded_not_metrics() -> None:
    with pytest.raises(TooLarge, match="holds 5 rows"):
        decode_metrics(metrics_body([histogram()]), DecodeLimits(max_rows=4))
