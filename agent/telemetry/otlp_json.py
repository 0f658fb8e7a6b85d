"""OTLP/JSON -> OTLP/protobuf, so that one decoder serves both.

The mapping is protobuf's own with the exceptions that OTLP names: trace and span ids are hexadecimal,
unknown fields are ignored. Enumerations may be numbers or names, 64-bit integers strings or numbers.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from agent.errors import Malformed
from agent.telemetry.batch import Signal
from agent.telemetry.wire import MAX_DEPTH

_REQUESTS: dict[Signal, type[Message]] = {
    Signal.SPANS: ExportTraceServiceRequest,
    Signal.LOGS: ExportLogsServiceRequest,
    Signal.METRICS: ExportMetricsServiceRequest,
}
_ID_FIELDS = frozenset({"traceId", "spanId", "parentSpanId", "trace_id", "span_id", "parent_span_id"})
# An object and the list it stands in are two levels of JSON for one of protobuf.
_MAX_JSON_DEPTH = 2 * MAX_DEPTH


def json_to_protobuf(signal: Signal, body: bytes) -> bytes:
    """The same request in protobuf. Raises Malformed, naming the place as exactly as can be had."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed("malformed_json", f"the body is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise Malformed("malformed_json", f"expected an object, got {type(document).__name__}")
    _hex_ids_to_base64(document)
    try:
        request = json_format.ParseDict(
            document, _REQUESTS[signal](), ignore_unknown_fields=True, max_recursion_depth=MAX_DEPTH
        )
    except json_format.ParseError as error:
        raise Malformed("malformed_json", f"not OTLP/JSON: {error}") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        # What json_format lets through when a value has another type than its field.
        raise Malformed("malformed_json", f"not OTLP/JSON: a value has a wrong type: {error}") from None
    return request.SerializeToString()


def _hex_ids_to_base64(document: dict[str, Any]) -> None:
    """Rewrite the ids in place, where protobuf's mapping expects base64. No recursion: the depth is the
    sender's choice."""
    pending: list[tuple[Any, str, int]] = [(document, "", 0)]
    while pending:
        node, path, depth = pending.pop()
        if depth > _MAX_JSON_DEPTH:
            raise Malformed("malformed_json", f"nested deeper than {_MAX_JSON_DEPTH} levels at {path[:80]}")
        if isinstance(node, list):
            pending += [
                (child, f"{path}[{i}]", depth + 1)
                for i, child in enumerate(node)
                if isinstance(child, dict | list)
            ]
            continue
        for key, value in node.items():
            if isinstance(value, dict | list):
                pending.append((value, f"{path}.{key}" if path else key, depth + 1))
            elif key in _ID_FIELDS and isinstance(value, str):
                node[key] = _base64_of_hex(value, f"{path}.{key}")


def _base64_of_hex(text: str, path: str) -> str:
    try:
        return base64.b64encode(bytes.fromhex(text)).decode()
    except ValueError:
        raise Malformed("malformed_json", f"{path}: expected hexadecimal digits, got {text[:64]!r}") from None
