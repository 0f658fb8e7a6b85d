"""One span or log record in full, for whoever opens it: everything the columns leave in the bytes."""

from __future__ import annotations

from typing import Any

from agent.telemetry.frames import U8
from agent.telemetry.otlp_attributes import any_value, attributes, content_of, message_fields, text

Details = dict[str, Any]


def span_details(raw: U8, off: int, length: int) -> Details:
    """The Span at ``raw[off : off + length]``: name, trace_state, attributes, status_message, events (time_ns,
    name, attributes), exceptions (type, message, stacktrace) and links (ids in hexadecimal)."""
    span = raw[off : off + length].tobytes()
    events = [_event(content) for content in content_of(span, 11)]
    return {
        "name": _last_text(span, 5),
        "trace_state": _last_text(span, 3),
        "attributes": attributes(content_of(span, 9)),
        "status_message": "".join(_last_text(status, 2) for status in content_of(span, 15)[-1:]),
        "events": events,
        "exceptions": [_exception(event) for event in events if event["name"] == "exception"],
        "links": [_link(content) for content in content_of(span, 13)],
    }


def log_details(raw: U8, off: int, length: int) -> Details:
    """The LogRecord at ``raw[off : off + length]``: body (as JSON has it), attributes, severity_text,
    event_name, time_ns and observed_ns (0 unset), trace_id and span_id in hexadecimal, flags."""
    record = raw[off : off + length].tobytes()
    bodies = content_of(record, 5)
    numbers = {number: value for number, value in message_fields(record) if isinstance(value, int)}
    return {
        "body": any_value(bodies[-1]) if bodies else None,
        "attributes": attributes(content_of(record, 6)),
        "severity_text": _last_text(record, 3),
        "event_name": _last_text(record, 12),
        "time_ns": numbers.get(1, 0),
        "observed_ns": numbers.get(11, 0),
        "trace_id": _last_hex(record, 9),
        "span_id": _last_hex(record, 10),
        "flags": numbers.get(8, 0),
    }


def _event(message: bytes) -> Details:
    time_ns = [value for number, value in message_fields(message) if number == 1]
    return {
        "time_ns": time_ns[-1] if time_ns else 0,
        "name": _last_text(message, 2),
        "attributes": attributes(content_of(message, 3)),
    }


def _exception(event: Details) -> Details:
    found = event["attributes"]
    return {name: found.get(f"exception.{name}", "") for name in ("type", "message", "stacktrace")}


def _link(message: bytes) -> Details:
    return {
        "trace_id": _last_hex(message, 1),
        "span_id": _last_hex(message, 2),
        "trace_state": _last_text(message, 3),
        "attributes": attributes(content_of(message, 4)),
    }


def _last_text(message: bytes, field: int) -> str:
    return "".join(text(content) for content in content_of(message, field)[-1:])


def _last_hex(message: bytes, field: int) -> str:
    return "".join(content.hex() for content in content_of(message, field)[-1:])
