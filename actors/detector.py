"""The detector actor: polls the streams for what came in, judges it in event time, reports to the correlator.

A bank of detectors for each stream and tenant: a service lies in one stream, so a bank sees all of it, and
when a stream restarts its banks are made anew and fed its history again. Anomalies have ids that follow from
the data, so what is found twice is one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict
from typing import Any

import structlog

from actors.handles import connect
from actors.places import detector_name
from actors.placing import actor
from actors.ports import Health
from actors.progress import Progress
from actors.stream.actor import Increments
from agent.detection.anomaly import AnomalyEvent
from agent.detection.bank import DetectionSettings, DetectorBank
from agent.errors import ObservabilityError
from agent.observe import configure
from agent.settings import Settings

log = structlog.get_logger("detector")

POLL_S = 0.5
RETRY_S = 1.0


class Detector:
    def __init__(self, settings: Settings, number: int) -> None:
        self._settings = settings
        self._progress = Progress(detector_name(number), "detector")
        configure(settings.general.log_level, settings.general.log_format, detector_name(number))
        self._banks: dict[tuple[int, str], DetectorBank] = {}
        self._cursors: dict[int, tuple[int, int]] = {}
        self._counts: Counter[str] = Counter()
        self._polling = asyncio.Lock()
        self._unreported: list[tuple[str, list[AnomalyEvent]]] = []
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
            "requests_late_total": float(sum(bank.requests_late for bank in self._banks.values())),
        }
        return self._progress.health(figures, {})

    async def catch_up(self) -> None:
        """Judge what the streams have taken in until now."""
        async with self._polling:
            for stream in range(len(self._ports.streams)):
                await self._poll(stream)
            await self._report()

    async def _run(self) -> None:
        while True:
            try:
                await self.catch_up()
                await asyncio.sleep(POLL_S)
            except ObservabilityError as error:
                log.info("a stream or the correlator is away", reason=str(error))
                await asyncio.sleep(RETRY_S)
            except Exception:  # one source's odd data must not end the watch over all others
                self._counts["failures"] += 1
                log.exception("a round failed")
                await asyncio.sleep(RETRY_S)

    async def _poll(self, stream: int) -> None:
        epoch, cursor = self._cursors.get(stream, (0, 0))
        found: Increments = await self._ports.streams[stream].increments(epoch, cursor)
        if found.epoch != epoch:
            for key in [key for key in self._banks if key[0] == stream]:
                del self._banks[key]
        self._cursors[stream] = found.epoch, found.cursor
        for increment in found.items:
            key = stream, increment.tenant
            if key not in self._banks:
                self._banks[key] = DetectorBank(DetectionSettings(**asdict(self._settings.detection)))
            bank = self._banks[key]
            bank.observe_metrics(increment.metrics)
            events = bank.advance(increment.red, increment.watermark_ns)
            self._counts["bins"] += len(increment.red)
            self._counts["anomalies"] += sum(event.kind == "started" for event in events)
            if events:
                self._unreported.append((increment.tenant, events))

    async def _report(self) -> None:
        """Tell the correlator; what it did not take is told again."""
        while self._unreported:
            tenant, events = self._unreported[0]
            await self._ports.correlator.report(tenant, events)
            self._unreported.pop(0)


DetectorActor = actor(Detector, max_concurrency=100)
