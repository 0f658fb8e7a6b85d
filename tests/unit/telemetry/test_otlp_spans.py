from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from agent.telemetry.batch import Reject, SpanBatch
from agent.telemetry.frames import (
    SYSTEM_DB,
    SYSTEM_GEN_AI,
    SYSTEM_HTTP,
    SYSTEM_MESSAGING,
    SYSTEM_NONE,
    SYSTEM_RPC,
)
from agent.telemetry.otlp_spans import decode_spans
from tests.unit.telemetry.requests import NOW_NS, SPAN_ID, TRACE_ID, attributes, span, trace_body


def decode(**fields: Any) -> SpanBatch:
    return decode_spans(trace_body([span(**fields)]))


def test_columns_of_a_span() -> None:
    batch = decode(
        kind=3, status=Status(code=Status.STATUS_CODE_ERROR, message="no"), parent_span_id=b"\0" * 7 + b"\7"
    )
    assert (int(batch.trace_hi[0]) << 64 | int(batch.trace_lo[0])).to_bytes(16, "big") == TRACE_ID
    assert int(batch.span_id[0]).to_bytes(8, "big") == SPAN_ID
    assert (batch.parent_id[0], batch.kind[0], batch.status[0]) == (7, 3, 2)
    assert (batch.start_ns[0], batch.end_ns[0]) == (NOW_NS, NOW_NS + 5)


def test_offsets_lead_to_the_name_and_the_message() -> None:
    wanted = span(name="GET /cart", attributes=attributes({"a": "b"}))
    batch = decode_spans(trace_body([span(), wanted]))
    name = batch.raw[batch.name_off[1] :][: batch.name_len[1]].tobytes()
    assert name == b"GET /cart"
    assert batch.raw[batch.off[1] :][: batch.len[1]].tobytes() == wanted.SerializeToString()


def test_blocks_and_resources() -> None:
    batch = decode_spans(trace_body([span(), span()], [span()]))
    assert batch.block.tolist() == [0, 0, 1]
    resource = batch.raw[batch.resource_off[1] :][: batch.resource_len[1]].tobytes()
    assert b"svc-1" in resource


def test_name_hash_depends_on_the_name_alone() -> None:
    batch = decode_spans(trace_body([span(name="a"), span(name="b", kind=2)], [span(name="a", kind=3)]))
    assert batch.name_hash[0] == batch.name_hash[2] != batch.name_hash[1]


@pytest.mark.parametrize(
    ("keys", "system"),
    [
        ((), SYSTEM_NONE),
        (("db", "dbx.y", "thread.id", "server.address"), SYSTEM_NONE),
        (("http.request.method",), SYSTEM_HTTP),
        (("url.path",), SYSTEM_HTTP),
        (("rpc.system", "http.route"), SYSTEM_RPC),
        (("url.path", "messaging.system"), SYSTEM_MESSAGING),
        (("db.system.name", "rpc.method"), SYSTEM_DB),
        (("db.system", "gen_ai.request.model", "http.route"), SYSTEM_GEN_AI),
    ],
)
def test_system_is_the_most_telling_prefix(keys: tuple[str, ...], system: int) -> None:
    assert decode(attributes=attributes(dict.fromkeys(keys, "x"))).system[0] == system


@pytest.mark.parametrize(
    ("fields", "reject"),
    [
        ({}, Reject.NONE),
        ({"trace_id": b""}, Reject.BAD_TRACE_ID),
        ({"trace_id": bytes(16)}, Reject.BAD_TRACE_ID),
        ({"trace_id": bytes(range(15))}, Reject.BAD_TRACE_ID),
        ({"span_id": b""}, Reject.BAD_SPAN_ID),
        ({"span_id": bytes(8)}, Reject.BAD_SPAN_ID),
        ({"span_id": bytes(range(9))}, Reject.BAD_SPAN_ID),
        ({"parent_span_id": bytes(8)}, Reject.NONE),
        ({"parent_span_id": b"abc"}, Reject.BAD_PARENT_ID),
        ({"start_time_unix_nano": 0}, Reject.NO_TIME),
        ({"end_time_unix_nano": 0}, Reject.NO_TIME),
        ({"end_time_unix_nano": 1 << 63}, Reject.TIME_OUT_OF_RANGE),
        ({"end_time_unix_nano": NOW_NS - 1}, Reject.END_BEFORE_START),
        ({"end_time_unix_nano": NOW_NS}, Reject.NONE),
    ],
)
def test_row_rejects(fields: dict[str, Any], reject: Reject) -> None:
    assert decode(**fields).reject[0] == reject


def test_one_bad_span_spares_the_others() -> None:
    batch = decode_spans(trace_body([span(), span(trace_id=b""), span()]))
    assert batch.reject.tolist() == [0, Reject.BAD_TRACE_ID, 0]


def test_numbers_beyond_an_enumeration_are_unset() -> None:
    batch = decode(kind=77, status=Status(code=9))  # type: ignore[arg-type]
    assert (batch.kind[0], batch.status[0]) == (0, 0)
