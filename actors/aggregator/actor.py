"""The aggregator as a Ray actor."""

from __future__ import annotations

from typing import Any

import msgspec

from actors.aggregator.aggregator import Aggregator
from actors.aggregator.kept import KeptIncidents
from actors.direct import DirectClient
from actors.memory import keep_freed_memory, leave_to_stay
from actors.places import AGGREGATOR, query_socket, stream_name
from actors.placing import actor
from actors.ports import Health, Ports
from actors.progress import Progress
from agent.errors import Overloaded
from agent.observe import configure
from agent.promql.rule_groups import RuleSample
from agent.settings import Settings
from agent.store.database import Database
from agent.store.incidents import IncidentStore
from agent.telemetry.metric_policy import MetricPolicy


class RunningAggregator:
    def __init__(self, settings: Settings) -> None:
        keep_freed_memory()
        self._settings = settings
        self._progress = Progress(AGGREGATOR, "aggregator")
        self._aggregator: Aggregator | None = None
        self._database: Database | None = None

    def __repr__(self) -> str:
        return repr(self._aggregator) if self._aggregator else "Aggregator(starting)"

    async def start(self) -> Health:
        """Open the port; does nothing when it is open already."""
        async with self._progress.starting() as wanted:
            if wanted:
                await self._open()
                leave_to_stay()
        return await self.health()

    async def stop(self) -> None:
        if self._aggregator is not None:
            await self._aggregator.stop()
        await self._close_database()

    async def health(self) -> Health:
        health = self._progress.health({}, {})
        if self._aggregator is None:
            return health
        inner = self._aggregator.health()
        return msgspec.structs.replace(health, figures=inner.figures, listens=inner.listens)

    async def publish_incident(self, tenant: str, change: dict[str, Any]) -> None:
        if self._aggregator is not None:
            self._aggregator.publish_incident(tenant, change)

    async def metric_policy(self, version: int) -> MetricPolicy | None:
        """How metrics are kept; ``None`` where it is what ``version`` was, or nothing is set."""
        return self._aggregator.metric_policy(version) if self._aggregator is not None else None

    async def rule_query(self, tenant: str, expr: str, time_ms: int) -> list[RuleSample]:
        """What a rule's query gives. Raises QueryError."""
        if self._aggregator is None:
            raise Overloaded("the aggregator is starting")
        return await self._aggregator.rule_query(tenant, expr, time_ms)

    async def _open(self) -> None:
        from actors.aggregator.prometheus.streams import StreamMetrics
        from actors.handles import connect

        configure(self._settings.general.log_level, self._settings.general.log_format, AGGREGATOR)
        found = connect(self._settings)
        ports = Ports(found.supervisor, found.gateway, found.streams, found.correlator)
        try:
            lines = [
                DirectClient(query_socket(self._settings, i), stream_name(i))
                for i in range(len(found.streams))
            ]
            metrics = StreamMetrics(found.streams, lines, found.ruler, found.scraper)
            aggregator = Aggregator(self._settings, ports, await self._store(), metrics)
            await aggregator.start()
            if self._database is not None:
                aggregator.use_database(self._database)
        except BaseException:  # the next start begins anew
            await self._close_database()
            raise
        self._aggregator = aggregator

    async def _store(self) -> KeptIncidents | None:
        """``None`` where no database is set; then only incidents of this run are shown."""
        database = self._settings.database
        if not database.url:
            return None
        self._database = await Database.open(
            database.url.reveal(),
            max_connections=database.pool_size,
            statement_timeout_s=database.statement_timeout_s,
        )
        return KeptIncidents(IncidentStore(self._database))

    async def _close_database(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            await database.close()


AggregatorActor = actor(RunningAggregator, max_concurrency=1000)
