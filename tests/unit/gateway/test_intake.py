"""What the gateway makes of a body."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from actors.gateway.intake import RATE_LIMITED, Intake
from actors.gateway.room import RateLimited
from agent.errors import BadInput, Malformed
from agent.settings import GatewaySettings
from agent.telemetry.batch import Reject, Signal
from agent.telemetry.remote_write_labels import Fault
from agent.windows import record
from agent.windows.refusals import Outcome
from tests.otlp import NOW_NS, gauge, logs, several, traces


def intake(streams: int = 4, **changed: Any) -> Intake:
    return Intake(GatewaySettings(**changed), streams)


def read(buffers: list[bytes | memoryview]) -> record.Record:
    return record.decode(memoryview(b"".join(buffers)), 0, 0)


def test_a_body_of_one_source_is_one_record_with_all_rows() -> None:
    accepted = intake().accept(Signal.SPANS, traces("cart", [1, 2, 3], NOW_NS), "default", NOW_NS)
    [(_, buffers)] = accepted.writes
    found = read(buffers)
    assert accepted.rows == 3
    assert found.meta.tenant == "default"
    assert found.columns["span_id"].tolist() == [1, 2, 3]


def test_sources_go_to_their_owners_with_their_own_bytes_only() -> None:
    body = several([traces(f"service-{i}", [i + 1], NOW_NS) for i in range(20)])
    writes = intake().accept(Signal.SPANS, body, "default", NOW_NS).writes
    rows = {stream: read(buffers).columns["span_id"].tolist() for stream, buffers in writes}
    assert sorted(span for spans in rows.values() for span in spans) == list(range(1, 21))
    assert len(rows) == 4
    assert sum(len(read(buffers).columns["raw"]) for _, buffers in writes) < 1.1 * len(body)


def test_a_service_lies_in_the_same_stream_for_every_signal() -> None:
    door = intake(streams=16)
    [(of_spans, _)] = door.accept(Signal.SPANS, traces("cart", [1], NOW_NS), "default", NOW_NS).writes
    [(of_logs, _)] = door.accept(Signal.LOGS, logs("cart", ["x"], NOW_NS), "default", NOW_NS).writes
    assert of_spans == of_logs


def test_bad_rows_are_counted_and_the_good_ones_kept() -> None:
    far_ns = NOW_NS + 10**15
    body = several([traces("cart", [1, 2], NOW_NS), traces("cart", [3], far_ns)])
    door = intake()
    accepted = door.accept(Signal.SPANS, body, "default", NOW_NS)
    assert accepted.rows == 2
    assert accepted.rejected == {Reject.IN_THE_FUTURE: 1}
    assert door.counts.refused == {"in_the_future": 1}


@pytest.mark.parametrize(
    ("body", "tenant", "reason"),
    [
        (b"\xff\xff\xff", "default", "malformed_protobuf"),
        (b"", "no such/tenant", "bad_tenant"),
        (b"", "", "bad_tenant"),
        (b"\0" * 5000, "default", "body_too_large"),
    ],
)
def test_refusals_carry_their_reason(body: bytes, tenant: str, reason: str) -> None:
    with pytest.raises(BadInput) as refusal:
        intake(max_decoded_bytes=4096).accept(Signal.SPANS, body, tenant, NOW_NS)
    assert refusal.value.reason == reason


def test_only_so_many_tenants_may_send() -> None:
    door = intake(max_tenants=2)
    for tenant in ("a", "b", "a"):
        door.accept(Signal.SPANS, b"", tenant, NOW_NS)
    with pytest.raises(BadInput, match=r"gateway\.max_tenants"):
        door.accept(Signal.SPANS, b"", "c", NOW_NS)


def test_a_body_that_is_refused_takes_no_tenant_s_place() -> None:
    door = intake(max_tenants=1)
    with pytest.raises(Malformed):
        door.accept(Signal.SPANS, b"\xff\xff\xff", "a", NOW_NS)
    door.accept(Signal.SPANS, b"", "b", NOW_NS)


def test_an_idle_tenant_gives_its_place_to_another() -> None:
    door = intake(max_tenants=2)
    for tenant, at_s in (("a", 0), ("b", 1800), ("a", 1801), ("c", 5400)):
        door.accept(Signal.SPANS, b"", tenant, NOW_NS + at_s * 10**9)
    with pytest.raises(BadInput, match=r"gateway\.max_tenants"):
        door.accept(Signal.SPANS, b"", "d", NOW_NS + 5400 * 10**9)
    door.accept(Signal.SPANS, b"", "d", NOW_NS + 5401 * 10**9)


def test_many_resources_are_forgotten_and_owned_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    body = several([traces(f"service-{i}", [i + 1], NOW_NS) for i in range(20)])
    wanted = [stream for stream, _ in intake().accept(Signal.SPANS, body, "default", NOW_NS).writes]
    monkeypatch.setattr("actors.gateway.intake.MAX_REMEMBERED_RESOURCES", 3)
    got = [stream for stream, _ in intake().accept(Signal.SPANS, body, "default", NOW_NS).writes]
    assert got == wanted


def test_an_empty_body_is_nothing_to_write() -> None:
    assert intake().accept(Signal.LOGS, b"", "default", NOW_NS).writes == ()


def spans(n: int, service: str = "cart") -> bytes:
    return traces(service, range(1, n + 1), NOW_NS)


def limited() -> Intake:
    """With nothing left of what service ``cart`` may send at once."""
    door = intake(max_rows_per_source_per_s=1)
    door.accept(Signal.SPANS, spans(60), "default", NOW_NS)
    return door


@pytest.mark.parametrize(
    ("signal", "body"),
    [
        (Signal.SPANS, spans(3)),
        (Signal.LOGS, logs("cart", ["a", "b", "c"], NOW_NS)),
        (Signal.METRICS, gauge("cart", "m", [1.0, 2.0, 3.0], NOW_NS)),
        (Signal.SPANS, several([spans(1, "front"), spans(2)])),
    ],
    ids=["spans", "logs", "metrics", "with another service"],
)
def test_a_body_of_a_source_over_its_rate_is_refused_whole_and_gets_in_when_told(
    signal: Signal, body: bytes
) -> None:
    door = limited()
    with pytest.raises(RateLimited, match=r"'cart'.*gateway\.max_rows_per_source_per_s") as refusal:
        door.accept(signal, body, "default", NOW_NS)
    assert door.counts.refused == {RATE_LIMITED: 3}
    later_ns = NOW_NS + round(refusal.value.retry_after_s * 1e9)
    assert door.accept(signal, body, "default", later_ns).rows == 3


@pytest.mark.parametrize(
    ("service", "tenant"), [("front", "default"), ("cart", "other")], ids=["service", "tenant"]
)
def test_other_sources_go_on(service: str, tenant: str) -> None:
    assert limited().accept(Signal.SPANS, spans(60, service), tenant, NOW_NS).rows == 60


def test_a_source_has_one_bucket_whatever_its_version() -> None:
    door, blocks = intake(max_rows_per_source_per_s=1), []
    for version in ("1", "2"):
        request = ExportTraceServiceRequest.FromString(spans(31))
        attributes = request.resource_spans[0].resource.attributes
        attributes.add(key="service.version").value.string_value = version
        blocks.append(request.SerializeToString())
    door.accept(Signal.SPANS, blocks[0], "default", NOW_NS)
    with pytest.raises(RateLimited):
        door.accept(Signal.SPANS, blocks[1], "default", NOW_NS)


def test_rows_that_are_refused_anyway_cost_nothing() -> None:
    door = intake(max_rows_per_source_per_s=1)
    for _ in range(3):
        door.accept(Signal.SPANS, traces("cart", range(1, 60), NOW_NS + 10**15), "default", NOW_NS)
    assert door.accept(Signal.SPANS, spans(60), "default", NOW_NS).rows == 60


def test_a_body_that_must_come_again_is_counted_as_turned_away_only() -> None:
    door = limited()
    before = door.counts.requests, door.counts.bytes, door.counts.accepted["spans"]
    body = several([spans(2), traces("cart", [9], NOW_NS + 10**15)])
    with pytest.raises(RateLimited):
        door.accept(Signal.SPANS, body, "default", NOW_NS)
    assert (door.counts.requests, door.counts.bytes, door.counts.accepted["spans"]) == before
    assert door.counts.refused == {RATE_LIMITED: 2}


def test_remote_write_counts_its_rows_under_the_same_reason() -> None:
    door = limited()
    door.count_samples(Outcome(samples=1, refused={Fault.RATE_LIMITED: 3}), 10)
    assert (door.counts.refused, door.counts.accepted["samples"]) == ({RATE_LIMITED: 3}, 1)
