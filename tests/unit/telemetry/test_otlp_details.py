from __future__ import annotations

import numpy as np
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from agent.telemetry.otlp_details import log_details, span_details
from agent.telemetry.otlp_logs import decode_logs
from agent.telemetry.otlp_spans import decode_spans
from tests.unit.telemetry.requests import (
    NOW_NS,
    SPAN_ID,
    TRACE_ID,
    attributes,
    log_record,
    logs_body,
    span,
    trace_body,
)

THROWN = {"exception.type": "ValueError", "exception.message": "no", "exception.stacktrace": "at line 3"}


def test_span_details() -> None:
    wanted = span(
        attributes=attributes({"db.system": "postgresql", "rows": 3}),
        status=Status(code=Status.STATUS_CODE_ERROR, message="gone"),
        events=[Span.Event(time_unix_nano=NOW_NS, name="exception", attributes=attributes(THROWN))],
        links=[Span.Link(trace_id=TRACE_ID, span_id=SPAN_ID, attributes=attributes({"why": "batch"}))],
    )
    batch = decode_spans(trace_body([span(), wanted]))
    details = span_details(batch.raw, int(batch.off[1]), int(batch.len[1]))
    assert details["name"] == "GET /"
    assert details["attributes"] == {"db.system": "postgresql", "rows": 3}
    assert details["status_message"] == "gone"
    assert details["events"] == [{"time_ns": NOW_NS, "name": "exception", "attributes": THROWN}]
    assert details["exceptions"] == [{"type": "ValueError", "message": "no", "stacktrace": "at line 3"}]
    assert details["links"][0]["trace_id"] == TRACE_ID.hex()


def test_details_of_empty_messages() -> None:
    raw = np.zeros(0, np.uint8)
    assert span_details(raw, 0, 0)["events"] == []
    assert log_details(raw, 0, 0)["body"] is None


def test_log_details() -> None:
    record = log_record(
        body=AnyValue(int_value=7), severity_text="WARN", event_name="cart.full",
        observed_time_unix_nano=NOW_NS + 1, trace_id=TRACE_ID, attributes=attributes({"a": True}), flags=1,
    )  # fmt: skip
    batch = decode_logs(logs_body([record]))
    assert log_details(batch.raw, int(batch.off[0]), int(batch.len[0])) == {
        "body": 7,
        "attributes": {"a": True},
        "severity_text": "WARN",
        "event_name": "cart.full",
        "time_ns": NOW_NS,
        "observed_ns": NOW_NS + 1,
        "trace_id": TRACE_ID.hex(),
        "span_id": "",
        "flags": 1,
    }
