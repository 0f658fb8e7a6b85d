"""What the gateway makes of a body."""

from __future__ import annotations

from typing import Any

import pytest

from actors.gateway.intake import Intake
from agent.errors import BadInput, Malformed
from agent.settings import GatewaySettings
from agent.telemetry.batch import Reject, Signal
from agent.windows import record
from tests.otlp import NOW_NS, logs, several, traces


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
