"""Incidents on their way to PostgreSQL: each is kept until it is written, the newest of it only.

Writing twice is one row, so what may have been written is written again. Incidents are opened, told and
explained whether or not PostgreSQL is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from actors.correlator.shapes import incident_json
from agent.correlation.incidents import Incident
from agent.errors import BadInput, StoreError
from agent.store.incidents import IncidentRow, Severity, Status

NS = 1e9
RETRY_S = 2.0
MAX_WAITING = 10_000  # incidents; beyond it the oldest are given up and counted

log = structlog.get_logger("correlator")


class Rows(Protocol):
    async def upsert(self, incident: IncidentRow) -> IncidentRow: ...


@dataclass(frozen=True, slots=True)
class _Write:
    incident: Incident
    more: Mapping[str, Any] = field(default_factory=dict)

    def after(self, older: _Write) -> _Write:
        """Both as one: an answer that comes late does not bring back how the incident was."""
        newest = max((self.incident, older.incident), key=lambda i: (i.reopened, i.updated_ns, not i.open))
        return _Write(newest, {**older.more, **self.more})


class Writes:
    def __init__(self) -> None:
        self._waiting: dict[str, _Write] = {}
        self._news = asyncio.Event()
        self.given_up = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, incident: Incident, more: Mapping[str, Any] | None = None) -> None:
        """``more`` goes into the metadata beside what the incident says of itself."""
        self._add(_Write(incident, more or {}), newest=True)
        self._news.set()

    async def run(self, rows: Rows) -> None:
        """Write for good; what PostgreSQL does not take is tried again."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not await self.flush(rows):
                await asyncio.sleep(RETRY_S)
                self._news.set()

    async def flush(self, rows: Rows) -> bool:
        """Write what waits, oldest first; False where PostgreSQL did not take one, which then waits behind
        the others."""
        while self._waiting:
            write = self._waiting.pop(next(iter(self._waiting)))
            try:
                await rows.upsert(row_of(write.incident, write.more))
            except StoreError as error:
                self._add(write, newest=False)
                log.info("an incident is not written yet", incident=write.incident.id, reason=str(error))
                return False
            except BadInput as error:
                self.given_up += 1
                log.error("an incident cannot be written", incident=write.incident.id, reason=str(error))
            except Exception:  # whatever it is, it must not end the writing of all others
                self._add(write, newest=False)
                log.exception("an incident is not written", incident=write.incident.id)
                return False
        return True

    def _add(self, write: _Write, *, newest: bool) -> None:
        other = self._waiting.get(write.incident.id)
        if other is not None:
            write = write.after(other) if newest else other.after(write)
        self._waiting[write.incident.id] = write
        if len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
            self.given_up += 1


def row_of(incident: Incident, more: Mapping[str, Any]) -> IncidentRow:
    return IncidentRow(
        id=incident.id,
        title=incident.title,
        description="; ".join(anomaly.sentence for anomaly in incident.anomalies),
        severity=Severity(incident.severity),
        status=Status.OPEN if incident.open else Status.RESOLVED,
        triggered_at=_time(incident.opened_ns),
        resolved_at=_time(incident.resolved_ns) if incident.resolved_ns else None,
        metadata={**incident_json(incident), **more},
    )


def _time(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / NS, UTC)
