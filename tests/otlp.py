"""Senders for the tests: bodies as an SDK makes them, and a client that retries as an SDK does."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

import requests
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

NOW_NS = 1_700_000_000_000_000_000
PROTOBUF = {"Content-Type": "application/x-protobuf"}
RETRY_FOR_S = 60.0


def traces(service: str, span_ids: Sequence[int], now_ns: int | None = None) -> bytes:
    """One trace a span, 5 ms long."""
    now_ns = now_ns or time.time_ns()
    request = ExportTraceServiceRequest()
    block = request.resource_spans.add()
    block.resource.attributes.add(key="service.name").value.string_value = service
    spans = block.scope_spans.add().spans
    for span_id in span_ids:
        spans.add(
            trace_id=os.urandom(16), span_id=span_id.to_bytes(8, "big"), name="GET /thing", kind=2,
            start_time_unix_nano=now_ns - 5_000_000, end_time_unix_nano=now_ns,
        )  # fmt: skip
    return request.SerializeToString()


def several(bodies: Sequence[bytes]) -> bytes:
    """One request with the blocks of all: concatenated messages are one merged message (protobuf)."""
    return b"".join(bodies)


def logs(service: str, bodies: Sequence[str], now_ns: int | None = None, severity: int = 9) -> bytes:
    now_ns = now_ns or time.time_ns()
    request = ExportLogsServiceRequest()
    block = request.resource_logs.add()
    block.resource.attributes.add(key="service.name").value.string_value = service
    records = block.scope_logs.add().log_records
    for i, body in enumerate(bodies):
        record = records.add(time_unix_nano=now_ns + i, severity_number=severity)
        record.body.string_value = body
    return request.SerializeToString()


def gauge(service: str, name: str, values: Sequence[float], now_ns: int | None = None) -> bytes:
    """One series a value."""
    request = ExportMetricsServiceRequest()
    block = request.resource_metrics.add()
    block.resource.attributes.add(key="service.name").value.string_value = service
    points = block.scope_metrics.add().metrics.add(name=name).gauge.data_points
    for i, value in enumerate(values):
        point = points.add(time_unix_nano=now_ns or time.time_ns(), as_double=value)
        point.attributes.add(key="i").value.string_value = str(i)
    return request.SerializeToString()


def post_until_taken(url: str, body: bytes) -> None:
    """As an SDK does: again while the answer is missing or says "later"; the same bytes each time."""
    deadline = time.monotonic() + RETRY_FOR_S
    while True:
        try:
            reply = requests.post(url, data=body, headers=PROTOBUF, timeout=5)
            if reply.status_code == 200:
                return
            if reply.status_code not in (429, 503):
                raise AssertionError(f"{reply.status_code}: {reply.content!r}")
        except (requests.ConnectionError, requests.Timeout):
            pass
        if time.monotonic() > deadline:
            raise AssertionError(f"{url} took nothing for {RETRY_FOR_S} s")
        time.sleep(0.1)
