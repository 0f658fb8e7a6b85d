"""What an OTLP receiver answers: Export*ServiceResponse and google.rpc.Status, in protobuf and JSON."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from agent.telemetry.batch import REJECT_SENTENCES, Reject, Signal
from agent.telemetry.varint import varint

_REJECTED_NAME = {
    Signal.SPANS: "rejectedSpans",
    Signal.LOGS: "rejectedLogRecords",
    Signal.METRICS: "rejectedDataPoints",
}


def encode_partial_success(signal: Signal, rejected: Mapping[Reject, int], *, as_json: bool) -> bytes:
    """The response to a body that was taken, but for ``rejected`` (as ``batch.drop_rejected`` counts)."""
    total = sum(rejected.values())
    if not total:
        return b"{}" if as_json else b""
    message = "; ".join(
        f"{count} {reason.reason}: {REJECT_SENTENCES[reason]}" for reason, count in sorted(rejected.items())
    )
    if as_json:
        partial = {_REJECTED_NAME[signal]: str(total), "errorMessage": message}
        return orjson.dumps({"partialSuccess": partial})
    return _bytes_field(1, _varint_field(1, total) + _bytes_field(2, message.encode()))


def encode_status(code: int, message: str, *, as_json: bool) -> bytes:
    """google.rpc.Status, the body of every OTLP/HTTP error."""
    if as_json:
        return orjson.dumps({"code": code, "message": message})
    return _varint_field(1, code) + _bytes_field(2, message.encode())


def _varint_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def _bytes_field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content
