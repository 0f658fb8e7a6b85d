from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from actors.aggregator.kept import KeptIncidents
from agent.errors import BadInput, NotFound
from agent.store.incidents import IncidentRow, IncidentStore, Severity, Status

ROW = IncidentRow(
    id="i-1", title="cart is slow", description="", severity=Severity.CRITICAL, status=Status.OPEN,
    triggered_at=datetime(2023, 1, 29, 8, 50, tzinfo=UTC), metadata={"tenant": "t1", "services": ["cart"]},
)  # fmt: skip


class Rows:
    """The part of the store that is used."""

    def __init__(self) -> None:
        self.row = ROW
        self.asked: dict[str, Any] = {}

    async def list(self, **asked: Any) -> list[IncidentRow]:
        self.asked = asked
        return [self.row]

    async def get(self, incident_id: str) -> IncidentRow:
        if incident_id == "no uuid":
            raise BadInput("bad_id", "expected a UUID")
        if incident_id != self.row.id:
            raise NotFound("no such incident")
        return self.row

    async def acknowledge(self, incident_id: str, at: datetime) -> IncidentRow:
        self.row = replace(self.row, status=Status.ACKNOWLEDGED, acknowledged_at=at)
        return self.row

    async def resolve(self, incident_id: str, at: datetime) -> IncidentRow:
        self.row = replace(self.row, status=Status.RESOLVED, resolved_at=at)
        return self.row

    async def upsert(self, row: IncidentRow) -> IncidentRow:
        self.row = replace(row, metadata={**ROW.metadata, **row.metadata})
        return self.row


def kept() -> tuple[Rows, KeptIncidents]:
    rows = Rows()
    return rows, KeptIncidents(cast(IncidentStore, rows))


async def test_shape() -> None:
    rows, store = kept()
    (one,) = await store.incidents("t1", 0.0, 5_000)
    assert (one["id"], one["status"], one["services"], one["started_s"]) == (
        "i-1",
        "open",
        ["cart"],
        1_674_982_200.0,
    )
    assert rows.asked == {"since": None, "tenant": "t1", "limit": 1_000}


@pytest.mark.parametrize(
    ("tenant", "incident_id", "found"),
    [("t1", "i-1", True), ("t2", "i-1", False), ("t1", "i-2", False), ("t1", "no uuid", False)],
)
async def test_one_by_id_and_tenant(tenant: str, incident_id: str, found: bool) -> None:
    rows, store = kept()
    assert (await store.incident(tenant, incident_id) is not None) is found
    moved = await store.set_incident_status(tenant, incident_id, "acknowledged", "", "", 5.0)
    assert (moved is not None) is found
    assert rows.row.status == ("acknowledged" if found else "open")


async def test_acknowledge_keeps_who_and_why() -> None:
    one = await kept()[1].set_incident_status("t1", "i-1", "acknowledged", "ana", "on it", 5.0)
    assert one is not None
    assert (one["status"], one["acknowledged_by"], one["acknowledged_note"]) == (
        "acknowledged",
        "ana",
        "on it",
    )
    assert (one["acknowledged_s"], one["services"]) == (5.0, ["cart"])


async def test_resolve_without_words() -> None:
    one = await kept()[1].set_incident_status("t1", "i-1", "resolved", "", "", 5.0)
    assert one is not None
    assert one["status"] == "resolved"
    assert "resolved_by" not in one


async def test_unknown() -> None:
    assert await kept()[1].set_incident_status("t1", "i-9", "acknowledged", "", "", 5.0) is None
