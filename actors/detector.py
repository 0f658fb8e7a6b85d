"""The detector actor: polls the streams for what came in, judges it in event time, reports to the correlator.

A bank of detectors for each stream and tenant: a service lies in one stream, so a bank sees all of it, and
when a stream restarts its banks are made anew and fed its history again. What proxies tell of services lies in
any stream; it meets in a bank a tenant of its own (``agent.detection.meshwatch``), judged once a round. Anomalies have ids that follow from
the data, so what is found twice is one. One stream that is away takes nothing from the others, and a
correlator that restarted is told again what is wrong now.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import structlog

from actors.handles import connect
from actors.places import detector_name
from actors.placing import actor
from actors.ports import Health
from actors.progress import Progress
from actors.stream.actor import Increments
from actors.stream.core import Increment
from agent.detection.anomaly import AnomalyEvent, EventKind
from agent.detection.bank import DetectionSettings, DetectorBank
from agent.detection.meshwatch import MeshWatch
from agent.detection.red import RedBins
from agent.errors import ObservabilityError
from agent.observe import configure
from agent.settings import Settings

log = structlog.get_logger("detector")

POLL_S = 0.5
RETRY_S = 1.0
EPOCH_S = 5.0  # how often the correlator is asked whether it restarted, while there is nothing to report
MAX_PAGES = 16  # of a stream in one round, more than its journal holds
MESH = -1  # in place of a stream: the bank of what meshes tell, of all streams
MAX_UNREPORTED = 10_000  # reports; beyond it the oldest go and are counted


class Detector:
    def __init__(self, settings: Settings, number: int) -> None:
        self._settings = settings
        self._progress = Progress(detector_name(number), "detector")
        configure(settings.general.log_level, settings.general.log_format, detector_name(number))
        self._banks: dict[tuple[int, str], DetectorBank] = {}
        self._meshes: dict[str, MeshWatch] = {}
        self._cursors: dict[int, tuple[int, int]] = {}
        self._counts: Counter[str] = Counter()
        self._polling = asyncio.Lock()
        self._unreported: deque[tuple[str, list[AnomalyEvent]]] = deque()
        self._active: dict[tuple[int, str], dict[str, AnomalyEvent]] = {}
        self._told_epoch: int | None = None
        self._told_s = 0.0
        self._task: asyncio.Task[None] | None = None
        self._ports: Any = None

    def __repr__(self) -> str:
        return f"Detector({len(self._banks)} banks, {self._counts['anomalies']} anomalies)"

    async def start(self) -> Health:
        async with self._progress.starting() as wanted:
            if wanted:
                self._ports = connect(self._settings)
                self._task = asyncio.create_task(self._run())
        return await self.health()

    async def health(self) -> Health:
        figures = {
            "banks": float(len(self._banks)),
            "anomalies_total": float(self._counts["anomalies"]),
            "bins_total": float(self._counts["bins"]),
            "failures_total": float(self._counts["failures"]),
            "unreported": float(len(self._unreported)),
            "reports_lost_total": float(self._counts["lost"]),
            "requests_late_total": float(sum(bank.requests_late for bank in self._banks.values())),
        }
        return self._progress.health(figures, {})

    async def catch_up(self) -> None:
        """Judge what the streams have taken in until now, and report. What is away is an error only after
        everything else was done."""
        async with self._polling:
            away: ObservabilityError | None = None
            for stream in range(len(self._ports.streams)):
                try:
                    await self._poll(stream)
                except ObservabilityError as error:
                    away = error
                except Exception:
                    self._failed("a stream could not be followed", stream=stream)
            self._judge_meshes()
            await self._report()
            if away is not None:
                raise away

    async def _run(self) -> None:
        while True:
            try:
                await self.catch_up()
                await asyncio.sleep(POLL_S)
            except ObservabilityError as error:
                log.info("a stream or the correlator is away", reason=str(error))
                await asyncio.sleep(RETRY_S)
            except Exception:
                self._failed("a round failed")
                await asyncio.sleep(RETRY_S)

    async def _poll(self, stream: int) -> None:
        for _ in range(MAX_PAGES):
            epoch, cursor = self._cursors.get(stream, (0, 0))
            found: Increments = await self._ports.streams[stream].increments(epoch, cursor)
            if found.epoch != epoch:
                for key in [key for key in self._banks if key[0] == stream]:
                    del self._banks[key]
                    self._active.pop(key, None)
                for mesh in self._meshes.values():
                    mesh.restarted(stream)
            self._cursors[stream] = found.epoch, found.cursor
            for increment in found.items:
                try:
                    self._judge(stream, increment)
                except Exception:  # one source's odd data must not end the watch over all others
                    self._failed("an increment is not judged", stream=stream, tenant=increment.tenant)
            if not found.items:
                for tenant, mark_ns in found.watermarks.items():
                    if tenant in self._meshes:
                        self._meshes[tenant].come_to(stream, mark_ns)
                return

    def _judge(self, stream: int, increment: Increment) -> None:
        mesh = self._meshes.setdefault(increment.tenant, MeshWatch())
        mesh.add(stream, increment.red, increment.mesh)
        key = stream, increment.tenant
        self._bank(key).observe_metrics(increment.metrics)
        self._advance(key, increment.red, increment.watermark_ns)

    def _judge_meshes(self) -> None:
        """What meshes told in this round."""
        for tenant, mesh in self._meshes.items():
            due = mesh.take()
            if due is not None:
                try:
                    self._advance((MESH, tenant), *due)
                except Exception:
                    self._failed("what a mesh tells is not judged", tenant=tenant)

    def _bank(self, key: tuple[int, str]) -> DetectorBank:
        if key not in self._banks:
            self._banks[key] = DetectorBank(DetectionSettings(**asdict(self._settings.detection)))
        return self._banks[key]

    def _advance(self, key: tuple[int, str], bins: RedBins, watermark_ns: int) -> None:
        events = self._bank(key).advance(bins, watermark_ns)
        self._counts["bins"] += len(bins)
        self._counts["anomalies"] += sum(event.kind == "started" for event in events)
        if events:
            self._remember(key, events)
            self._queue(key[1], events)

    def _remember(self, key: tuple[int, str], events: Sequence[AnomalyEvent]) -> None:
        active = self._active.setdefault(key, {})
        for event in events:
            if event.kind is EventKind.ENDED:
                active.pop(event.anomaly.id, None)
            else:
                active[event.anomaly.id] = event

    def _queue(self, tenant: str, events: list[AnomalyEvent]) -> None:
        if len(self._unreported) >= MAX_UNREPORTED:
            self._unreported.popleft()
            self._counts["lost"] += 1
        self._unreported.append((tenant, events))

    async def _report(self) -> None:
        """Tell the correlator; what it did not take is told again."""
        while self._unreported:
            tenant, events = self._unreported[0]
            epoch: int | None = None
            try:
                epoch = await self._ports.correlator.report(tenant, events)
            except ObservabilityError:
                raise
            except Exception:  # it will not take them the next time either
                self._counts["lost"] += 1
                self._failed("a report was not taken", tenant=tenant)
            self._unreported.popleft()
            if epoch is not None:
                self._told(epoch)
        if time.monotonic() - self._told_s > EPOCH_S:
            self._told(await self._ports.correlator.epoch())

    def _told(self, epoch: int) -> None:
        """A correlator of another epoch may not know what is wrong now: it is told, and knows each by its id."""
        if self._told_epoch not in (None, epoch):
            for (_, tenant), active in self._active.items():
                if active:
                    self._queue(tenant, [replace(e, kind=EventKind.STARTED) for e in active.values()])
        self._told_epoch, self._told_s = epoch, time.monotonic()

    def _failed(self, what: str, **where: object) -> None:
        self._counts["failures"] += 1
        log.exception(what, **where)


DetectorActor = actor(Detector, max_concurrency=100)
