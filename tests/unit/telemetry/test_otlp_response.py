from __future__ import annotations

from typing import Any

import orjson
import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from agent.telemetry.batch import Reject, Signal
from agent.telemetry.otlp_response import encode_partial_success, encode_status

RESPONSES: list[tuple[Signal, Any, str]] = [
    (Signal.SPANS, ExportTraceServiceResponse, "rejected_spans"),
    (Signal.LOGS, ExportLogsServiceResponse, "rejected_log_records"),
    (Signal.METRICS, ExportMetricsServiceResponse, "rejected_data_points"),
]
REJECTED = {Reject.NO_TIME: 300, Reject.TOO_OLD: 2}


@pytest.mark.parametrize(("signal", "response", "field"), RESPONSES)
def test_partial_success(signal: Signal, response: Any, field: str) -> None:
    decoded = response.FromString(encode_partial_success(signal, REJECTED, as_json=False))
    assert getattr(decoded.partial_success, field) == 302
    assert decoded.partial_success.error_message.startswith("300 no_time: the time stamp is missing")
    from_json = json_format.Parse(encode_partial_success(signal, REJECTED, as_json=True), response())
    assert from_json == decoded


@pytest.mark.parametrize(("signal", "response", "field"), RESPONSES)
def test_full_success_is_the_empty_message(signal: Signal, response: Any, field: str) -> None:
    assert encode_partial_success(signal, {}, as_json=False) == b""
    assert encode_partial_success(signal, {}, as_json=True) == b"{}"


def test_status() -> None:
    decoded = Status.FromString(encode_status(3, "größer" * 100, as_json=False))
    assert (decoded.code, decoded.message) == (3, "größer" * 100)
    assert orjson.loads(encode_status(3, "größer", as_json=True)) == {"code": 3, "message": "größer"}
