"""The actor round the tenants' views: it pulls closed slices from the streams, takes anomalies from the
detectors, writes incidents to PostgreSQL and answers questions.

Analysis runs in a thread, one at a time, so that status and reports stay answerable. An answer sees
everything that was acknowledged before the question: the streams are asked with the gateway's positions.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from actors.correlator.keep import load, save
from actors.correlator.shapes import edge_json, incident_json
from actors.correlator.view import NS, Stretch, TenantView
from actors.handles import connect
from actors.places import CORRELATOR, state_folder
from actors.placing import actor
from actors.ports import Health
from actors.progress import Progress
from agent.correlation.incidents import Incident, IncidentChange
from agent.detection.anomaly import AnomalyEvent
from agent.errors import NotFound, ObservabilityError, Overloaded
from agent.observe import configure
from agent.recommendations.rules import advise
from agent.rootcause.answer import Answer
from agent.rootcause.warmup import warm_up
from agent.settings import Settings
from agent.store.database import Database
from agent.store.incidents import IncidentRow, IncidentStore, Severity, Status
from agent.telemetry.frames import Telemetry, concat

log = structlog.get_logger("correlator")

POLL_S = 1.0
SAVE_S = 60.0
PARTITIONS_S = 6 * 3600.0
MAX_SPANS = 200_000  # of one stretch; beyond it whole traces are left out, evenly


class Correlator:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._progress = Progress(CORRELATOR, "correlator")
        configure(settings.general.log_level, settings.general.log_format, CORRELATOR)
        self._views: dict[str, TenantView] = {}
        self._ports: Any = None
        self._incidents: IncidentStore | None = None
        self._database: Database | None = None
        self._thinking = asyncio.Lock()
        self._counts: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        open_ = sum(len(view.open_incidents()) for view in self._views.values())
        return f"Correlator({open_} open incidents, {self._counts['answers']} answers)"

    async def start(self) -> Health:
        async with self._progress.starting() as wanted:
            if wanted:
                database = self._settings.database
                pool = await Database.open(
                    database.url.reveal(),
                    max_connections=database.pool_size,
                    statement_timeout_s=database.statement_timeout_s,
                )
                self._database, self._incidents = pool, IncidentStore(pool)
                await asyncio.to_thread(warm_up)
                self._ports = connect(self._settings)
                self._views = await asyncio.to_thread(load, state_folder(self._settings), self._view)
                self._spawn(self._follow())
        return await self.health()

    async def health(self) -> Health:
        views = self._views.values()
        figures = {
            "tenants": float(len(views)),
            "segments": float(sum(len(view.baseline.segments) for view in views)),
            "edges": float(sum(len(view.topology.edges(view.mark_ns)) for view in views)),
            "open_incidents": float(sum(len(view.open_incidents()) for view in views)),
            "answers_total": float(self._counts["answers"]),
            "incidents_total": float(self._counts["incidents"]),
            "failures_total": float(self._counts["failures"]),
        }
        return self._progress.health(figures, {})

    async def report(self, tenant: str, events: Sequence[AnomalyEvent]) -> None:
        """Anomalies from a detector. Telling twice does nothing twice: they have ids."""
        await self._changed(tenant, self._view_of(tenant).report(events))

    async def ask(self, question: str, service: str | None, at_ns: int | None, tenant: str) -> Answer:
        """Raises ``NotFound`` for a tenant that sent nothing."""
        positions = await self._ports.gateway.positions()
        mark_ns = await self._mark(tenant, positions)
        at_ns = mark_ns if at_ns is None else at_ns
        async with self._thinking:
            view = self._view_of(tenant)
            await self._catch_up(view, min(mark_ns, at_ns), positions)
            return await self._answer(view, question, service, view.stretch_of(at_ns), positions)

    async def topology(self, tenant: str) -> list[dict[str, Any]]:
        view = self._views.get(tenant)
        return [edge_json(edge) for edge in view.topology.edges(view.mark_ns)] if view else []

    async def incidents(self, tenant: str) -> list[dict[str, Any]]:
        view = self._views.get(tenant)
        found = view.book.incidents() if view else ()
        return [incident_json(incident) for incident in sorted(found, key=lambda i: -i.opened_ns)]

    async def _follow(self) -> None:
        """Take in what is closed, for every tenant, for good."""
        saved_s = parted_s = time.monotonic() - PARTITIONS_S
        while True:
            try:
                await self._round()
                if time.monotonic() - saved_s > SAVE_S:
                    saved_s = time.monotonic()
                    await asyncio.to_thread(save, state_folder(self._settings), list(self._views.values()))
                if self._database and time.monotonic() - parted_s > PARTITIONS_S:
                    parted_s = time.monotonic()
                    await self._database.fetch("maintain_partitions", datetime.now(UTC))
            except ObservabilityError as error:
                log.info("a stream, the gateway or PostgreSQL is away", reason=str(error))
            except Exception:  # one tenant's odd data must not end the watch over all others
                self._counts["failures"] += 1
                log.exception("a round failed")
            await asyncio.sleep(POLL_S)

    async def _round(self) -> None:
        positions = await self._ports.gateway.positions()
        for tenant, mark_ns in (await self._marks(positions)).items():
            view = self._view_of(tenant)
            async with self._thinking:
                await self._catch_up(view, mark_ns, positions)
            await self._changed(tenant, view.report([]))
            await self._ports.supervisor.event_time(tenant, view.cursor_ns)

    async def _catch_up(self, view: TenantView, mark_ns: int, positions: Sequence[int]) -> None:
        while stretch := view.due(mark_ns):
            telemetry = await self._telemetry(view.tenant, stretch, positions)
            await asyncio.to_thread(view.take, stretch, telemetry)

    async def _answer(
        self, view: TenantView, question: str, service: str | None, stretch: Stretch, positions: Sequence[int]
    ) -> Answer:
        began = time.perf_counter()
        telemetry = await self._telemetry(view.tenant, stretch, positions)
        if telemetry is None:
            raise NotFound(
                f"tenant {view.tenant!r} has sent nothing about that time that is still in the hot windows"
            )
        answer = await asyncio.to_thread(view.answer, question, service, telemetry)
        self._counts["answers"] += 1
        open_ = [i.id for i in view.open_incidents() if i.onset_ns < stretch.end_ns]
        took_ms = round((time.perf_counter() - began) * 1e3, 1)
        return msgspec.structs.replace(advise(answer), took_ms=took_ms, incident_id=open_[0] if open_ else "")

    async def _telemetry(self, tenant: str, stretch: Stretch, positions: Sequence[int]) -> Telemetry | None:
        parts = await asyncio.gather(
            *(
                stream.telemetry(tenant, stretch.start_ns, stretch.end_ns, position)
                for stream, position in zip(self._ports.streams, positions, strict=True)
            )
        )
        held = [part for part in parts if part is not None]
        return await asyncio.to_thread(concat, held) if held else None

    async def _marks(self, positions: Sequence[int]) -> dict[str, int]:
        found = await asyncio.gather(
            *(
                stream.watermarks(position)
                for stream, position in zip(self._ports.streams, positions, strict=True)
            )
        )
        marks: dict[str, int] = {}
        for part in found:
            for tenant, mark_ns in part.items():
                marks[tenant] = max(marks.get(tenant, 0), mark_ns)
        return marks

    async def _mark(self, tenant: str, positions: Sequence[int]) -> int:
        mark_ns = (await self._marks(positions)).get(tenant, 0)
        if not mark_ns:
            raise NotFound(
                f"tenant {tenant!r} has sent nothing yet: point an OTLP exporter at the gateway first"
            )
        return mark_ns

    async def _changed(self, tenant: str, changes: Sequence[IncidentChange]) -> None:
        for change in changes:
            await self._write(change.incident, {})
            await self._publish(tenant, change)
            if change.kind == "opened":
                self._counts["incidents"] += 1
                self._spawn(self._explain(tenant, change))

    async def _explain(self, tenant: str, change: IncidentChange) -> None:
        """Attach the causes to an incident that was just opened."""
        try:
            answer = await self.ask(change.incident.title, None, None, tenant)
            await self._write(change.incident, {"answer": msgspec.to_builtins(answer)})
        except ObservabilityError as error:
            log.info("no cause for an incident", incident=change.incident.id, reason=str(error))

    async def _publish(self, tenant: str, change: IncidentChange) -> None:
        try:
            await self._ports.aggregator.publish_incident(
                tenant, {"kind": str(change.kind), **incident_json(change.incident)}
            )
        except ObservabilityError as error:
            log.info("the live feed is away", reason=str(error))

    async def _write(self, incident: Incident, more: dict[str, Any]) -> None:
        if self._incidents is None:
            raise Overloaded("the correlator is starting")
        await self._incidents.upsert(
            IncidentRow(
                id=incident.id,
                title=incident.title,
                description="; ".join(anomaly.sentence for anomaly in incident.anomalies),
                severity=Severity(incident.severity),
                status=Status.RESOLVED if incident.resolved_ns else Status.OPEN,
                triggered_at=_time(incident.opened_ns),
                resolved_at=_time(incident.resolved_ns) if incident.resolved_ns else None,
                metadata={**incident_json(incident), **more},
            )
        )

    def _view(self, tenant: str) -> TenantView:
        return TenantView(tenant, self._settings)

    def _view_of(self, tenant: str) -> TenantView:
        return (
            self._views.setdefault(tenant, self._view(tenant))
            if tenant not in self._views
            else self._views[tenant]
        )

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _time(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / NS, UTC)


CorrelatorActor = actor(Correlator, max_concurrency=200)
