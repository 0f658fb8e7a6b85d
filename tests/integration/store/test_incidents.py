from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import uuid4

import pytest
import pytest_asyncio

from agent.errors import BadInput, NotFound, StoreError
from agent.store.database import Database
from agent.store.incidents import IncidentRow, IncidentStore, Severity, Status

T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def incident(minutes: int = 0, *services: str, severity: Severity = Severity.WARNING) -> IncidentRow:
    return IncidentRow(
        id=str(uuid4()),
        title="latency of checkout is up",
        description="p99 1.2 s, usually 0.1 s",
        severity=severity,
        status=Status.OPEN,
        triggered_at=T0 + timedelta(minutes=minutes),
        metadata={"services": list(services), "onset": "2026-11-23T11:58:00Z", "causes": [{"rank": 1}]},
    )


@pytest_asyncio.fixture
async def store(database: Database) -> IncidentStore:
    return IncidentStore(database)


async def test_an_incident_comes_back_as_it_was_written(store: IncidentStore) -> None:
    written = incident(0, "checkout")
    assert await store.upsert(written) == written
    assert await store.get(written.id) == written


async def test_writing_twice_is_one_row(store: IncidentStore) -> None:
    written = incident()
    await store.upsert(written)
    await store.upsert(written)
    assert await store.list() == [written]


async def test_a_later_write_replaces_what_was_found_and_keeps_other_metadata(store: IncidentStore) -> None:
    first = incident(0, "checkout")
    await store.upsert(first)
    later = replace(first, title="more", severity=Severity.CRITICAL, metadata={"causes": []})
    stored = await store.upsert(later)
    assert (stored.title, stored.severity) == ("more", "critical")
    assert stored.metadata == {**first.metadata, "causes": []}


async def test_a_late_write_does_not_undo_what_a_person_did(store: IncidentStore) -> None:
    written = await store.upsert(incident())
    acknowledged = await store.acknowledge(written.id, T0 + timedelta(minutes=1))
    assert (await store.upsert(written)).status is Status.ACKNOWLEDGED
    resolved = await store.resolve(written.id, T0 + timedelta(minutes=2))
    assert await store.upsert(written) == resolved
    assert (resolved.acknowledged_at, resolved.resolved_at) == (acknowledged.acknowledged_at, T0 + timedelta(minutes=2))  # fmt: skip


async def test_the_correlator_resolves_by_writing(store: IncidentStore) -> None:
    written = await store.upsert(incident())
    over = replace(written, status=Status.RESOLVED, resolved_at=T0 + timedelta(minutes=3))
    assert await store.upsert(over) == over


async def test_moving_on_twice_keeps_the_first_time(store: IncidentStore) -> None:
    written = await store.upsert(incident())
    for minute in (1, 2):
        await store.acknowledge(written.id, T0 + timedelta(minutes=minute))
    for minute in (3, 4):
        await store.resolve(written.id, T0 + timedelta(minutes=minute))
    end = await store.acknowledge(written.id, T0 + timedelta(minutes=5))
    assert (end.status, end.acknowledged_at, end.resolved_at) == (
        Status.RESOLVED, T0 + timedelta(minutes=1), T0 + timedelta(minutes=3),
    )  # fmt: skip


async def test_resolving_with_a_clock_that_lags_behind_is_no_error(store: IncidentStore) -> None:
    written = await store.upsert(incident())
    assert (await store.resolve(written.id, T0 - timedelta(seconds=5))).resolved_at == T0


async def test_lists_are_filtered_and_newest_first(store: IncidentStore) -> None:
    old = await store.upsert(incident(0, "cart", "front"))
    middle = await store.upsert(incident(5, "front", severity=Severity.CRITICAL))
    new = await store.upsert(incident(9, "cart"))
    await store.acknowledge(old.id, T0)
    expected: list[tuple[dict[str, object], list[str]]] = [
        ({}, [new.id, middle.id, old.id]),
        ({"limit": 2}, [new.id, middle.id]),
        ({"service": "front"}, [middle.id, old.id]),
        ({"service": "fro"}, []),
        ({"severity": Severity.CRITICAL}, [middle.id]),
        ({"status": Status.ACKNOWLEDGED}, [old.id]),
        ({"since": T0 + timedelta(minutes=5)}, [new.id, middle.id]),
        ({"status": Status.OPEN, "service": "cart"}, [new.id]),
    ]
    for filters, ids in expected:
        assert [row.id for row in await store.list(**filters)] == ids, filters  # type: ignore[arg-type]


async def test_lists_are_of_a_tenant(store: IncidentStore) -> None:
    old = await store.upsert(replace(incident(0), metadata={"tenant": "t1"}))
    plain = await store.upsert(incident(1))
    for minute in range(2, 5):
        await store.upsert(replace(incident(minute), metadata={"tenant": "t2"}))
    assert [row.id for row in await store.list(tenant="t1", limit=1)] == [old.id]
    assert [row.id for row in await store.list(tenant="default")] == [plain.id]
    assert len(await store.list()) == 5


async def test_times_come_back_in_utc_whatever_zone_they_were_given_in(store: IncidentStore) -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    written = await store.upsert(replace(incident(), triggered_at=T0.astimezone(india)))
    assert written.triggered_at == T0
    assert written.triggered_at.utcoffset() == timedelta(0)


async def test_texts_of_any_kind_are_stored(store: IncidentStore) -> None:
    odd = "a\x00b'; DROP TABLE alert_incidents; -- \u202e \U0001f4a5"
    written = await store.upsert(
        replace(incident(), title=odd, description=odd, metadata={"services": [odd]})
    )
    assert written.title == odd.replace("\x00", "\ufffd")
    assert await store.list(service=odd) == [written]


async def test_what_is_not_there_or_not_possible_is_said(store: IncidentStore) -> None:
    with pytest.raises(NotFound, match="no incident"):
        await store.get(str(uuid4()))
    with pytest.raises(NotFound, match="no incident"):
        await store.acknowledge(str(uuid4()), T0)
    with pytest.raises(BadInput, match="expected 1 to 1000"):
        await store.list(limit=0)
    with pytest.raises(StoreError, match="alert_incidents_acknowledged_by_fkey"):
        await store.acknowledge((await store.upsert(incident())).id, T0, by=str(uuid4()))


async def test_an_incident_opened_again_begins_anew_and_a_late_write_does_not(store: IncidentStore) -> None:
    first = replace(incident(), metadata={"reopened": 0})
    await store.upsert(first)
    await store.resolve(first.id, first.triggered_at + timedelta(minutes=5))
    assert (await store.upsert(first)).status is Status.RESOLVED
    again = await store.upsert(replace(first, metadata={"reopened": 1}))
    assert (again.status, again.resolved_at) == (Status.OPEN, None)
