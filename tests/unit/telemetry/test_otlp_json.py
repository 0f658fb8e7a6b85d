from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest

from agent.errors import Malformed
from agent.telemetry.batch import Signal
from agent.telemetry.frames import STATUS_ERROR
from agent.telemetry.otlp_attributes import point_labels, resource_attributes
from agent.telemetry.otlp_details import log_details
from agent.telemetry.otlp_json import json_to_protobuf
from agent.telemetry.otlp_logs import decode_logs
from agent.telemetry.otlp_metrics import decode_metrics
from agent.telemetry.otlp_spans import decode_spans

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLES = Path(os.environ.get("OTLP_SAMPLES", REPOSITORY.parent / "shared" / "data" / "otlp"))


def sample(name: str) -> bytes:
    if not (SAMPLES / name).exists():
        pytest.skip(f"{name} of the OTLP examples is not in {SAMPLES}; set OTLP_SAMPLES to their directory")
    return (SAMPLES / name).read_bytes()


def one_span(**fields: object) -> bytes:
    return orjson.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [fields]}]}]})


def test_example_trace() -> None:
    batch = decode_spans(json_to_protobuf(Signal.SPANS, sample("trace.json")))
    assert f"{int(batch.trace_hi[0]):016x}{int(batch.trace_lo[0]):016x}" == "5b8efff798038103d269b633813fc60c"
    assert f"{int(batch.span_id[0]):016x}" == "eee19b7ec3c1b174"
    assert not batch.reject.any()
    resource = resource_attributes(batch.raw, int(batch.resource_off[0]), int(batch.resource_len[0]))
    assert resource == {"service.name": "my.service"}


def test_example_logs() -> None:
    batch = decode_logs(json_to_protobuf(Signal.LOGS, sample("logs.json")))
    details = log_details(batch.raw, int(batch.off[0]), int(batch.len[0]))
    assert details["body"] == "Example log record"
    assert details["trace_id"] == "5b8efff798038103d269b633813fc60c"
    assert details["attributes"]["map.attribute"] == {"some.map.key": "some value"}


def test_example_events() -> None:
    batch = decode_logs(json_to_protobuf(Signal.LOGS, sample("events.json")))
    assert log_details(batch.raw, int(batch.off[0]), int(batch.len[0]))["event_name"]


def test_example_metrics() -> None:
    batch = decode_metrics(json_to_protobuf(Signal.METRICS, sample("metrics.json")))
    assert not batch.reject.any()
    assert batch.value[:2].tolist() == [5.0, 10.0]
    assert point_labels(batch, 4) == (("le", "1.0"), ("my.histogram.attr", "some value"))


@pytest.mark.parametrize(
    "fields",
    [
        {"startTimeUnixNano": "5", "endTimeUnixNano": "6", "status": {"code": 2}},
        {"startTimeUnixNano": 5, "endTimeUnixNano": 6, "status": {"code": "STATUS_CODE_ERROR"}},
        {"start_time_unix_nano": 5, "end_time_unix_nano": 6, "status": {"code": 2, "later": [{}]}},
    ],
    ids=["strings", "numbers and names", "proto names and unknown fields"],
)
def test_ways_to_write_the_same(fields: dict[str, object]) -> None:
    batch = decode_spans(
        json_to_protobuf(Signal.SPANS, one_span(traceId="0a" * 16, spanId="0B" * 8, **fields))
    )
    assert (batch.start_ns[0], batch.end_ns[0], batch.status[0]) == (5, 6, STATUS_ERROR)
    assert batch.reject[0] == 0


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff{}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "expected an object, got list"),
        (b"null", "expected an object"),
        (b'{"a":' * 200 + b"1" + b"}" * 200, "nested deeper"),
        (
            one_span(traceId="xyz"),
            r"resourceSpans\[0\].scopeSpans\[0\].spans\[0\].traceId: expected hexadecimal",
        ),
        (one_span(startTimeUnixNano="soon"), "not OTLP/JSON.*startTimeUnixNano"),
        (one_span(startTimeUnixNano=-1), "not OTLP/JSON"),
        (one_span(attributes={"k": "v"}), "not OTLP/JSON"),
        (one_span(status=7), "not OTLP/JSON"),
        (one_span(name=["a"]), "not OTLP/JSON"),
        (one_span(traceId=7), "not OTLP/JSON"),
        (b'{"resourceSpans": 5}', "not OTLP/JSON"),
        (b'{"resourceSpans": [null]}', "not OTLP/JSON"),
    ],
)
def test_malformed(body: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message) as refused:
        json_to_protobuf(Signal.SPANS, body)
    assert refused.value.reason == "malformed_json"


def test_enumeration_names_of_later_versions_are_unset() -> None:
    assert decode_spans(json_to_protobuf(Signal.SPANS, one_span(kind="NO_SUCH_KIND"))).kind.tolist() == [0]


def test_unknown_fields_alone_are_an_empty_request() -> None:
    assert json_to_protobuf(Signal.SPANS, b'{"later": {"x": [1, 2]}}') == b""
