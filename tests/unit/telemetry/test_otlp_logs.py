from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from agent.telemetry.batch import (
    ANY_ARRAY,
    ANY_BOOL,
    ANY_BYTES,
    ANY_DOUBLE,
    ANY_INT,
    ANY_KVLIST,
    ANY_NONE,
    LogBatch,
    Reject,
)
from agent.telemetry.otlp_logs import decode_logs
from tests.unit.telemetry.requests import NOW_NS, SPAN_ID, TRACE_ID, log_record, logs_body


def decode(**fields: Any) -> LogBatch:
    return decode_logs(logs_body([log_record(**fields)]))


def body_of(batch: LogBatch) -> bytes:
    return batch.raw[batch.body_off[0] :][: batch.body_len[0]].tobytes()


def test_text_body_is_its_content() -> None:
    assert body_of(decode(body=AnyValue(string_value="disk full"))) == b"disk full"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (AnyValue(), ANY_NONE),
        (AnyValue(bool_value=False), ANY_BOOL),
        (AnyValue(int_value=-3), ANY_INT),
        (AnyValue(double_value=0.5), ANY_DOUBLE),
        (AnyValue(array_value=ArrayValue(values=[AnyValue(string_value="a")])), ANY_ARRAY),
        (AnyValue(kvlist_value=KeyValueList()), ANY_KVLIST),
        (AnyValue(bytes_value=b"\0\xff"), ANY_BYTES),
    ],
)
def test_other_bodies_are_the_whole_value(value: AnyValue, kind: int) -> None:
    batch = decode(body=value)
    assert batch.body_kind[0] == kind
    assert body_of(batch) == value.SerializeToString()


def test_ids_and_severity() -> None:
    batch = decode(trace_id=TRACE_ID, span_id=SPAN_ID, severity_number=17)
    assert (int(batch.trace_hi[0]) << 64 | int(batch.trace_lo[0])).to_bytes(16, "big") == TRACE_ID
    assert int(batch.span_id[0]).to_bytes(8, "big") == SPAN_ID
    assert batch.severity[0] == 17


def test_wrong_ids_are_none_and_the_record_stays() -> None:
    batch = decode(trace_id=b"short", span_id=b"longer than eight")
    assert (batch.trace_hi[0], batch.trace_lo[0], batch.span_id[0], batch.reject[0]) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "severity"),
    [
        ("ERROR", 17),
        ("warning", 13),
        ("Info", 9),
        ("debug", 5),
        ("FATAL", 21),
        ("critical", 18),
        ("x", 0),
        ("", 0),
    ],
)
def test_severity_text_stands_in_for_the_number(text: str, severity: int) -> None:
    assert decode(severity_text=text).severity[0] == severity


@pytest.mark.parametrize(
    ("fields", "time_ns", "reject"),
    [
        ({"observed_time_unix_nano": 5}, NOW_NS, Reject.NONE),
        ({"time_unix_nano": 0, "observed_time_unix_nano": 5}, 5, Reject.NONE),
        ({"time_unix_nano": 0}, 0, Reject.NO_TIME),
        ({"time_unix_nano": 1 << 63}, 0, Reject.TIME_OUT_OF_RANGE),
    ],
)
def test_time(fields: dict[str, int], time_ns: int, reject: Reject) -> None:
    batch = decode(**fields)
    assert (batch.time_ns[0], batch.reject[0]) == (time_ns, reject)
