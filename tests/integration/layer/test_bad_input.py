"""What must not get in gets the protocol's own clear refusal, and nobody else notices."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from actors.runtime import Layer
from tests.otlp import PROTOBUF, gauge, post_until_taken, traces

pytestmark = pytest.mark.ray

GOOD = traces("good", [1 << 50])
JSON = {"Content-Type": "application/json"}
CASES = [
    ("random bytes", b"\xff\xfe\xfd\x00\x01", PROTOBUF, 400),
    ("cut in the middle", GOOD[:-7], PROTOBUF, 400),
    ("unknown content type", GOOD, {"Content-Type": "text/plain"}, 415),
    ("unknown compression", GOOD, {**PROTOBUF, "Content-Encoding": "brotli"}, 415),
    ("not gzip", GOOD, {**PROTOBUF, "Content-Encoding": "gzip"}, 400),
    ("truncated gzip", gzip.compress(GOOD)[:-9], {**PROTOBUF, "Content-Encoding": "gzip"}, 400),
    ("gzip bomb", gzip.compress(b"\x00" * (64 << 20)), {**PROTOBUF, "Content-Encoding": "gzip"}, 413),
    ("body too large", b"\x00" * (17 << 20), PROTOBUF, 413),
    ("not JSON", b"{", JSON, 400),
    ("JSON of the wrong shape", b'{"resourceSpans": 5}', JSON, 400),
    ("JSON nested without end", b"[" * 100_000, JSON, 400),
    ("tenant with a slash", GOOD, {**PROTOBUF, "X-Scope-OrgID": "../x"}, 400),
]


@pytest.mark.parametrize(
    ("body", "headers", "status"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_refusals_say_what_is_wrong(otlp: str, body: bytes, headers: dict[str, str], status: int) -> None:
    reply = requests.post(f"{otlp}/v1/traces", data=body, headers=headers, timeout=30)
    assert reply.status_code == status
    assert len(reply.content) > 20  # google.rpc.Status with a message


def test_refusals_are_counted_by_reason(layer: Layer, otlp: str) -> None:
    requests.post(f"{otlp}/v1/traces", data=GOOD[:-7], headers=PROTOBUF, timeout=30)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not refused(layer).get("malformed_protobuf"):
        time.sleep(0.2)
    assert refused(layer)["malformed_protobuf"] >= 1


def refused(layer: Layer) -> dict[str, int]:
    return next(actor.refused for actor in layer.status().actors if actor.kind == "gateway")


def test_bad_rows_are_a_partial_success_and_the_good_ones_stay(otlp: str, api: str) -> None:
    request = ExportTraceServiceRequest.FromString(traces("partial", [5, 6, 7]))
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id = b"short"
    spans[1].start_time_unix_nano = spans[1].end_time_unix_nano = (int(time.time()) + 86400) * 10**9
    reply = requests.post(f"{otlp}/v1/traces", data=request.SerializeToString(), headers=PROTOBUF, timeout=5)
    answer = ExportTraceServiceResponse.FromString(reply.content)
    assert reply.status_code == 200
    assert answer.partial_success.rejected_spans == 2
    assert "trace_id" in answer.partial_success.error_message
    assert wait_for_rows(api, "partial", "spans", 1) == 1


def test_a_source_that_invents_series_is_cut_off_and_others_are_not(
    layer: Layer, otlp: str, api: str
) -> None:
    limit = 10_000
    for start in range(0, 2 * limit, 4000):
        body = gauge("inventor", f"m{start}", list(range(4000)))
        assert requests.post(f"{otlp}/v1/metrics", data=body, headers=PROTOBUF, timeout=10).status_code == 200
    post_until_taken(f"{otlp}/v1/metrics", gauge("modest", "m", [1.0, 2.0]))
    assert wait_for_rows(api, "modest", "samples", 2) == 2
    assert wait_for_rows(api, "inventor", "samples", limit) == limit
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and not left_out(layer):
        time.sleep(0.2)
    assert left_out(layer) == 2 * limit - limit


def left_out(layer: Layer) -> int:
    return sum(
        actor.refused.get("series_limit", 0) for actor in layer.status().actors if actor.kind == "stream"
    )


def test_a_trace_of_fifty_thousand_spans_is_taken_and_shown_up_to_a_limit(otlp: str, api: str) -> None:
    request = ExportTraceServiceRequest.FromString(traces("huge", range(1 << 20, (1 << 20) + 50_000)))
    trace_id = b"\x07" * 16
    for span in request.resource_spans[0].scope_spans[0].spans:
        span.trace_id = trace_id
        span.parent_span_id = span.span_id  # and every span its own parent
    post_until_taken(f"{otlp}/v1/traces", request.SerializeToString())
    assert wait_for_rows(api, "huge", "spans", 50_000) == 50_000
    reply = requests.get(f"{api}/api/v1/traces/{trace_id.hex()}", timeout=20)
    assert 0 < len(reply.json()["spans"]) <= 10_000


def test_names_of_any_bytes_and_nan_are_taken_and_shown(otlp: str, api: str) -> None:
    body = gauge("odd", "m", [float("nan"), float("inf"), -1.0]).replace(b"\x01m", b"\x01\xff")
    post_until_taken(f"{otlp}/v1/metrics", body)
    assert wait_for_rows(api, "odd", "samples", 3) == 3


def wait_for_rows(api: str, service: str, signal: str, rows: int) -> int:
    deadline = time.monotonic() + 15
    found = 0
    while time.monotonic() < deadline and found < rows:
        sources = requests.get(f"{api}/api/v1/sources?service={service}", timeout=10).json()["sources"]
        found = sum(source[signal] for source in sources)
        time.sleep(0.1)
    return found


def export_call(channel: Any) -> Any:
    """The call as the generated stub makes it."""
    return channel.unary_unary(
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        request_serializer=ExportTraceServiceRequest.SerializeToString,
        response_deserializer=ExportTraceServiceResponse.FromString,
    )


@pytest.fixture
def stub(layer: Layer) -> Iterator[Any]:
    with grpc.insecure_channel(layer.address("otlp/grpc")) as channel:
        yield channel


def test_grpc_takes_what_http_takes(stub: Any, api: str) -> None:
    export_call(stub)(ExportTraceServiceRequest.FromString(traces("by-grpc", [1, 2, 3])), timeout=5)
    assert wait_for_rows(api, "by-grpc", "spans", 3) == 3


def test_grpc_takes_gzip(stub: Any, api: str) -> None:
    request = ExportTraceServiceRequest.FromString(traces("by-grpc-gzip", [1, 2]))
    export_call(stub)(request, timeout=5, compression=grpc.Compression.Gzip)
    assert wait_for_rows(api, "by-grpc-gzip", "spans", 2) == 2


def test_grpc_refuses_with_the_standard_codes(stub: Any) -> None:
    export = stub.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
    with pytest.raises(grpc.RpcError) as refusal:
        export(GOOD[:-7], timeout=5)
    assert refusal.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as unknown:
        stub.unary_unary("/opentelemetry.proto.collector.profiles.v1.ProfilesService/Export")(b"", timeout=5)
    assert unknown.value.code() == grpc.StatusCode.UNIMPLEMENTED
