"""Incidents as PostgreSQL keeps them, in the shape of the API."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from actors.ports import DEFAULT_TENANT
from agent.errors import BadInput, NotFound
from agent.store.incidents import LIST_LIMIT, IncidentRow, IncidentStore, Status


class KeptIncidents:
    """Implements ``actors.aggregator.api.IncidentStore``."""

    def __init__(self, store: IncidentStore) -> None:
        self._store = store

    async def incidents(self, tenant: str, since_s: float, limit: int) -> list[dict[str, Any]]:
        since = datetime.fromtimestamp(since_s, UTC) if since_s > 0 else None
        rows = await self._store.list(since=since, tenant=tenant, limit=min(limit, LIST_LIMIT))
        return [shown(row) for row in rows]

    async def incident(self, tenant: str, incident_id: str) -> dict[str, Any] | None:
        row = await self._row(tenant, incident_id)
        return None if row is None else shown(row)

    async def set_incident_status(
        self, tenant: str, incident_id: str, status: str, by: str, note: str, at_s: float
    ) -> dict[str, Any] | None:
        if await self._row(tenant, incident_id) is None:
            return None
        move = self._store.acknowledge if status == Status.ACKNOWLEDGED else self._store.resolve
        row = await move(incident_id, datetime.fromtimestamp(at_s, UTC))
        said = {f"{status}_by": by, f"{status}_note": note}
        said = {name: text for name, text in said.items() if text}
        return shown(await self._store.upsert(replace(row, metadata=said)) if said else row)

    async def _row(self, tenant: str, incident_id: str) -> IncidentRow | None:
        """None also for an id that can be nobody's, and for an incident of another tenant."""
        try:
            row = await self._store.get(incident_id)
        except (NotFound, BadInput):
            return None
        return row if row.metadata.get("tenant", DEFAULT_TENANT) == tenant else None


def shown(row: IncidentRow) -> dict[str, Any]:
    return {
        **row.metadata,
        "id": row.id,
        "title": row.title,
        "severity": row.severity.value,
        "status": row.status.value,
        "started_s": row.triggered_at.timestamp(),
        "acknowledged_s": row.acknowledged_at.timestamp() if row.acknowledged_at else None,
        "resolved_s": row.resolved_at.timestamp() if row.resolved_at else None,
    }
