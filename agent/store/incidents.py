"""Incidents in PostgreSQL: written by the correlator, read and moved on by people.

The id is the writer's, so writing an incident twice is one row. Statuses go forward only: open,
acknowledged, resolved. All times are aware; what the store hands out is in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

from agent.errors import BadInput, NotFound
from agent.store.database import Database, Record, storable_text

TITLE_LIMIT = 500  # characters, the column's width
LIST_LIMIT = 1000


class Severity(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Status(StrEnum):
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """``metadata`` holds services (names), onset, anomalies and causes, as plain JSON values."""

    id: str
    title: str
    description: str
    severity: Severity
    status: Status
    triggered_at: datetime
    acknowledged_at: datetime | None = None
    resolved_at: datetime | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record) -> Self:
        return cls(
            id=str(record["id"]),
            title=record["title"],
            description=record["description"] or "",
            severity=Severity(record["severity"]),
            status=Status(record["status"]),
            triggered_at=record["triggered_at"],
            acknowledged_at=record["acknowledged_at"],
            resolved_at=record["resolved_at"],
            metadata=record["metadata"],
        )


class IncidentStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def upsert(self, incident: IncidentRow) -> IncidentRow:
        """Writes the incident and returns it as it stands then: a status that a person set stays, keys
        of ``metadata`` that are not given stay. A title that is too long is cut."""
        for name in ("triggered_at", "acknowledged_at", "resolved_at"):
            _aware(name, getattr(incident, name))
        record = await self._database.fetch_row(
            "upsert_incident",
            _uuid(incident.id),
            _title(incident.title),
            storable_text(incident.description),
            incident.severity,
            incident.status,
            incident.triggered_at,
            incident.acknowledged_at,
            incident.resolved_at,
            dict(incident.metadata),
        )
        return _found(record, incident.id)

    async def list(
        self,
        *,
        status: Status | None = None,
        severity: Severity | None = None,
        service: str | None = None,
        since: datetime | None = None,
        tenant: str | None = None,
        limit: int = 100,
    ) -> list[IncidentRow]:
        """Newest first. ``since`` is inclusive and compared with ``triggered_at``; ``service`` is one of
        ``metadata.services``; ``tenant`` is ``metadata.tenant``, an incident without one is of ``default``."""
        if not 1 <= limit <= LIST_LIMIT:
            raise BadInput("bad_limit", f"limit: got {limit}, expected 1 to {LIST_LIMIT}")
        _aware("since", since)
        named = {"services": [service]} if service is not None else None
        records = await self._database.fetch("list_incidents", status, severity, named, since, tenant, limit)
        return [IncidentRow.of(record) for record in records]

    async def get(self, incident_id: str) -> IncidentRow:
        return _found(await self._database.fetch_row("get_incident", _uuid(incident_id)), incident_id)

    async def acknowledge(self, incident_id: str, at: datetime, by: str | None = None) -> IncidentRow:
        """``by`` is the id of a user. What is acknowledged or resolved already stays as it is."""
        return await self._move("acknowledge_incident", incident_id, at, by)

    async def resolve(self, incident_id: str, at: datetime, by: str | None = None) -> IncidentRow:
        """``by`` is the id of a user. What is resolved already stays as it is."""
        return await self._move("resolve_incident", incident_id, at, by)

    async def _move(self, query: str, incident_id: str, at: datetime, by: str | None) -> IncidentRow:
        _aware("at", at)
        who = None if by is None else _uuid(by)
        return _found(await self._database.fetch_row(query, _uuid(incident_id), at, who), incident_id)


def _found(record: Record | None, incident_id: str) -> IncidentRow:
    if record is None:
        raise NotFound(f"no incident {incident_id}: list them to see which there are")
    return IncidentRow.of(record)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadInput("bad_id", f"id: got {text!r}, expected a UUID") from None


def _aware(name: str, time: datetime | None) -> None:
    if time is not None and time.tzinfo is None:
        raise BadInput("naive_time", f"{name}: got {time.isoformat()}, expected a time with a time zone")


def _title(title: str) -> str:
    text = storable_text(title)
    if not text:
        raise BadInput("no_title", "title: got an empty text, expected what went wrong in a few words")
    return text if len(text) <= TITLE_LIMIT else text[: TITLE_LIMIT - 1] + "…"
