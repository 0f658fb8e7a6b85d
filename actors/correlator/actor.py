"""The actor round the tenants' views: it pulls closed slices from the streams, takes anomalies from the
detectors, writes incidents to PostgreSQL and answers questions.

Analysis runs in a thread, one at a time, so that the status stays answerable. An answer sees everything that
was acknowledged before the question: the streams are asked with the gateway's positions. Two locks, always
taken in this order: ``_learning`` keeps slices in order and questions one at a time, ``_thinking`` is held by
whoever reads or changes what a view is made of, here or in a thread, and never while another actor is asked.
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

from actors.correlator.asking import Asking
from actors.correlator.keep import load, save, save_incidents
from actors.correlator.shapes import edge_json, incident_json
from actors.correlator.view import Stretch, TenantView
from actors.correlator.writes import Writes
from actors.handles import connect
from actors.places import CORRELATOR, state_folder
from actors.placing import actor
from actors.ports import Health
from actors.progress import Progress
from agent.correlation.incidents import IncidentChange
from agent.detection.anomaly import AnomalyEvent
from agent.detection.meshwatch import BEHIND_NS
from agent.errors import NotFound, ObservabilityError, Overloaded
from agent.observe import configure
from agent.recommendations.rules import advise
from agent.rootcause.answer import Answer
from agent.rootcause.warmup import warm_up
from agent.settings import Settings
from agent.store.database import Database
from agent.store.incidents import IncidentStore

log = structlog.get_logger("correlator")

POLL_S = 1.0
SAVE_S = 60.0
PARTITIONS_S = 6 * 3600.0
MAX_QUESTIONS = 16  # that are answered or wait
EXPLAIN_TRIES, EXPLAIN_AGAIN_S = 5, 10.0


class Correlator:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._progress = Progress(CORRELATOR, "correlator")
        configure(settings.general.log_level, settings.general.log_format, CORRELATOR)
        self._views: dict[str, TenantView] = {}
        self._ports: Any = None
        self._asking: Any = None
        self._writes = Writes()
        self._database: Database | None = None
        self._epoch = time.time_ns()
        self._learning = asyncio.Lock()
        self._thinking = asyncio.Lock()
        self._questions = 0
        self._figures: dict[str, float] = {}
        self._counts: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        open_ = self._figures.get("open_incidents", 0)
        return f"Correlator({open_:.0f} open incidents, {self._counts['answers']} answers)"

    async def start(self) -> Health:
        async with self._progress.starting() as wanted:
            if wanted:
                database = self._settings.database
                pool = await Database.open(
                    database.url.reveal(),
                    max_connections=database.pool_size,
                    statement_timeout_s=database.statement_timeout_s,
                )
                self._database = pool
                await asyncio.to_thread(warm_up)
                self._ports = connect(self._settings)
                self._asking = Asking(self._ports.gateway, self._ports.streams)
                await self._restore()
                self._spawn(self._writes.run(IncidentStore(pool)))
                self._spawn(self._follow())
        return await self.health()

    async def health(self) -> Health:
        """Never waits: what the views hold is as it was after the last round."""
        figures = {
            **self._figures,
            "questions": float(self._questions),
            "unwritten_incidents": float(len(self._writes)),
            "answers_total": float(self._counts["answers"]),
            "incidents_total": float(self._counts["incidents"]),
            "failures_total": float(self._counts["failures"] + self._writes.given_up),
        }
        return self._progress.health(figures, {})

    async def report(self, tenant: str, events: Sequence[AnomalyEvent]) -> int:
        """Anomalies from a detector. Telling twice does nothing twice: they have ids. Returns ``epoch``."""
        self._check_started()
        await self._take_in(self._view_of(tenant), events)
        return self._epoch

    async def epoch(self) -> int:
        """Another one than the last time: the correlator restarted and wants to be told what is wrong now."""
        self._check_started()
        return self._epoch

    async def ask(self, question: str, service: str | None, at_ns: int | None, tenant: str) -> Answer:
        """Raises ``NotFound`` for a tenant that sent nothing, ``Overloaded`` where too many questions wait or
        a stream is away."""
        self._check_started()
        if self._questions >= MAX_QUESTIONS:
            raise Overloaded(f"{self._questions} questions are waiting for their answers already", 2.0)
        self._questions += 1
        try:
            return await self._ask(question, service, at_ns, tenant)
        finally:
            self._questions -= 1

    async def topology(self, tenant: str) -> list[dict[str, Any]]:
        view = self._views.get(tenant)
        if view is None:
            return []
        async with self._thinking:
            return [edge_json(edge) for edge in view.topology.edges(view.mark_ns)]

    async def incidents(self, tenant: str) -> list[dict[str, Any]]:
        view = self._views.get(tenant)
        found = view.book.incidents() if view else ()
        return [incident_json(incident) for incident in sorted(found, key=lambda i: -i.opened_ns)]

    def _check_started(self) -> None:
        """What is reported or asked earlier would be lost with the views that ``_restore`` replaces."""
        if self._progress.state != "ready":
            raise Overloaded("the correlator is starting")

    async def _restore(self) -> None:
        """What was kept on the disk; what PostgreSQL may have missed of it is written again."""
        self._views = await asyncio.to_thread(load, state_folder(self._settings), self._view)
        for view in self._views.values():
            for incident in view.book.incidents():
                self._writes.put(incident)
        await self._look()

    async def _follow(self) -> None:
        """Take in what is closed, for every tenant, for good."""
        saved_s = parted_s = time.monotonic() - PARTITIONS_S
        while True:
            try:
                await self._round()
                if time.monotonic() - saved_s > SAVE_S:
                    saved_s = time.monotonic()
                    async with self._thinking:
                        await asyncio.to_thread(
                            save, state_folder(self._settings), list(self._views.values())
                        )
                if self._database and time.monotonic() - parted_s > PARTITIONS_S:
                    parted_s = time.monotonic()
                    await self._database.fetch("maintain_partitions", datetime.now(UTC))
            except ObservabilityError as error:
                log.info("a stream, the gateway or PostgreSQL is away", reason=str(error))
            except Exception:  # what is odd once must not end the watch
                self._counts["failures"] += 1
                log.exception("a round failed")
            await asyncio.sleep(POLL_S)

    async def _round(self) -> None:
        positions = await self._asking.positions()
        marks = await self._asking.marks(positions)
        for tenant, mark_ns in marks.of_tenant.items():
            try:
                await self._follow_tenant(tenant, mark_ns, positions, learn=not marks.away)
            except ObservabilityError as error:
                log.info("a tenant's round is not complete", tenant=tenant, reason=str(error))
            except Exception:  # one tenant's odd data must not end the watch over all others
                self._counts["failures"] += 1
                log.exception("a tenant's round failed", tenant=tenant)
        await self._look()

    async def _follow_tenant(
        self, tenant: str, mark_ns: int, positions: Sequence[int], *, learn: bool
    ) -> None:
        """Without ``learn``, while a stream is away, incidents still resolve; slices wait until they are whole."""
        view = self._view_of(tenant)
        try:
            if learn:
                async with self._learning:
                    await self._catch_up(view, mark_ns, positions)
        finally:
            view.come_to(mark_ns)
            await self._take_in(view, [])
        await self._ports.supervisor.event_time(tenant, view.cursor_ns)

    async def _catch_up(self, view: TenantView, mark_ns: int, positions: Sequence[int]) -> None:
        while stretch := view.due(mark_ns):
            telemetry = await self._asking.telemetry(view.tenant, stretch.start_ns, stretch.end_ns, positions)
            earlier = stretch.start_ns - BEHIND_NS, stretch.end_ns - BEHIND_NS  # proxies are asked seldom
            mesh = await self._asking.mesh(view.tenant, *earlier)
            try:
                async with self._thinking:
                    await asyncio.to_thread(view.take, stretch, telemetry, mesh)
            except Exception:  # the next slices are learned without it
                self._counts["failures"] += 1
                log.exception(
                    "a slice is not learned",
                    tenant=view.tenant,
                    start_ns=stretch.start_ns,
                    end_ns=stretch.end_ns,
                )

    async def _ask(self, question: str, service: str | None, at_ns: int | None, tenant: str) -> Answer:
        positions = await self._asking.positions()
        mark_ns = await self._asking.mark(tenant, positions)
        at_ns = mark_ns if at_ns is None else at_ns
        view = self._view_of(tenant)
        async with self._learning:
            await self._catch_up(view, min(mark_ns, at_ns), positions)
            return await self._answer(view, question, service, view.stretch_of(at_ns), positions)

    async def _answer(
        self, view: TenantView, question: str, service: str | None, stretch: Stretch, positions: Sequence[int]
    ) -> Answer:
        began = time.perf_counter()
        telemetry = await self._asking.telemetry(view.tenant, stretch.start_ns, stretch.end_ns, positions)
        if telemetry is None:
            raise NotFound(
                f"tenant {view.tenant!r} has sent nothing about that time that is still in the hot windows"
            )
        async with self._thinking:
            answer = await asyncio.to_thread(view.answer, question, service, telemetry)
        self._counts["answers"] += 1
        open_ = [i.id for i in view.open_incidents() if i.onset_ns < stretch.end_ns]
        took_ms = round((time.perf_counter() - began) * 1e3, 1)
        return msgspec.structs.replace(advise(answer), took_ms=took_ms, incident_id=open_[0] if open_ else "")

    async def _take_in(self, view: TenantView, events: Sequence[AnomalyEvent]) -> None:
        """Group, keep, write, tell and explain; each whether or not PostgreSQL and the live feed are there."""
        async with self._thinking:
            changes = view.report(events)
            if changes:
                await self._keep(view)
        for change in changes:
            self._writes.put(change.incident)
            await self._publish(view.tenant, change)
            if change.kind == "opened":
                self._counts["incidents"] += 1
                self._spawn(self._explain(view, change))

    async def _keep(self, view: TenantView) -> None:
        try:
            await asyncio.to_thread(save_incidents, state_folder(self._settings), view)
        except OSError as error:
            self._counts["failures"] += 1
            log.error("incidents are not kept on the disk", tenant=view.tenant, reason=str(error))

    async def _explain(self, view: TenantView, change: IncidentChange) -> None:
        """Attach the causes to an incident that was just opened."""
        for _ in range(EXPLAIN_TRIES):
            try:
                answer = await self._ask(change.incident.title, None, None, view.tenant)
            except Overloaded:
                await asyncio.sleep(EXPLAIN_AGAIN_S)
                continue
            except ObservabilityError as error:
                log.info("no cause for an incident", incident=change.incident.id, reason=str(error))
            except Exception:
                self._counts["failures"] += 1
                log.exception("an incident is not explained", incident=change.incident.id)
            else:
                now = next((i for i in view.book.incidents() if i.id == change.incident.id), change.incident)
                self._writes.put(now, {"answer": msgspec.to_builtins(answer)})
            return

    async def _publish(self, tenant: str, change: IncidentChange) -> None:
        try:
            await self._ports.aggregator.publish_incident(
                tenant, {"kind": str(change.kind), **incident_json(change.incident)}
            )
        except ObservabilityError as error:
            log.info("the live feed is away", reason=str(error))

    async def _look(self) -> None:
        """Figures of the views for whoever asks until the next round."""
        async with self._thinking:
            views = list(self._views.values())
            self._figures = {
                "tenants": float(len(views)),
                "segments": float(sum(len(view.baseline.segments) for view in views)),
                "edges": float(sum(len(view.topology.edges(view.mark_ns)) for view in views)),
                "open_incidents": float(sum(len(view.open_incidents()) for view in views)),
            }

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


CorrelatorActor = actor(Correlator, max_concurrency=200)
