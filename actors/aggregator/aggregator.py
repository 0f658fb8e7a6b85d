"""The aggregator: where people and their tools meet the layer. REST, the live WebSocket and ``/metrics``.

It holds nothing that is not elsewhere: a restart loses the WebSocket connections and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

import structlog
from aiohttp import web

from actors.aggregator.api import Api, IncidentStore
from actors.aggregator.app import make_app
from actors.aggregator.live import LiveHub
from actors.aggregator.metric_policy import PolicyKeeper
from actors.aggregator.metrics import Metrics
from actors.aggregator.prometheus.backend import MetricBackend, QueryOptions
from actors.aggregator.prometheus.language import engine_options
from actors.exporter import DatabaseExporter
from actors.places import AGGREGATOR
from actors.ports import Health, Ports
from actors.tracing import Tracing
from agent.errors import ObservabilityError, Overloaded, SettingsError
from agent.promql.errors import ExecutionError
from agent.promql.rule_groups import RuleSample, vector_of
from agent.promql.values import Matrix
from agent.settings import Settings
from agent.store.database import Database
from agent.store.metrics_config import MetricConfigStore
from agent.telemetry.metric_policy import MetricPolicy

SHUTDOWN_S = 2.0
LOOK_S = 0.5  # how often the gateway's address is asked for until it listens
OTLP_HTTP = "otlp/http"

log = structlog.get_logger("aggregator")


class Aggregator:
    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        store: IncidentStore | None = None,
        backend: MetricBackend | None = None,
    ) -> None:
        """``backend`` answers Prometheus' API."""
        self._settings = settings
        self._ports = ports
        self._hub = LiveHub(ports.streams, settings.aggregator.live_queue_bytes)
        self._api = Api(settings, ports, store)
        self._backend = backend
        self._runner: web.AppRunner | None = None
        self._state, self._detail, self._address = "starting", "", ""
        self._tracing: Tracing | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._metrics = Metrics(self._hub)
        self._beside: list[asyncio.Task[None]] = []
        self._started_s = time.time()

    def __repr__(self) -> str:
        return f"Aggregator({self._address or self._state})"

    @property
    def address(self) -> str:
        """Where it listens, e.g. ``http://127.0.0.1:8400``; empty before ``start``."""
        return self._address

    async def start(self) -> None:
        where = self._settings.aggregator
        app = make_app(self._api, self._hub, self._metrics, self._backend)
        # Bodies that are passed on to the gateway stay as they were sent.
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_S, auto_decompress=False)
        await runner.setup()
        try:
            await web.TCPSite(runner, where.host, where.port).start()
        except OSError as error:
            await runner.cleanup()
            self._state, self._detail = "failed", str(error)
            raise SettingsError("aggregator.port", where.port, f"a port that is free ({error})") from None
        self._runner = runner
        host = f"[{where.host}]" if ":" in where.host else where.host
        self._address = f"http://{host}:{runner.addresses[0][1]}"
        self._state = "ready"
        if self._settings.general.self_tracing:
            self._connecting = asyncio.create_task(self._trace())
        log.info("listening", address=self._address)

    def use_database(self, database: Database) -> None:
        """Serve the policy of metrics from it, and its statistics on ``/metrics``. To be called once."""
        store = MetricConfigStore(database)
        exporter, keeper = DatabaseExporter(database), PolicyKeeper(store)
        self._api.metric_config, self._api.metric_policy = store, keeper
        self._metrics.add(exporter)
        self._beside += [asyncio.create_task(exporter.run()), asyncio.create_task(keeper.run())]

    def metric_policy(self, version: int) -> MetricPolicy | None:
        """The policy of metrics, where it is another one than that of ``version``."""
        keeper = self._api.metric_policy
        return keeper.newer_than(version) if keeper is not None else None

    async def rule_query(self, tenant: str, expr: str, time_ms: int) -> list[RuleSample]:
        """The samples of a rule's query. Raises QueryError."""
        if self._backend is None:
            raise Overloaded("metrics are not served here")
        where = self._settings.aggregator
        options = QueryOptions(where.query_timeout_s, engine_options(where))
        result = await self._backend.instant(tenant, expr, time_ms, options)
        if not isinstance(result.value, Matrix | float):
            raise ExecutionError(f"rule result is not a vector or scalar, but a {result.type}")
        return vector_of(result.value)

    async def stop(self) -> None:
        self._state = "stopped"
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()
        await self._hub.close()
        if self._tracing is not None:
            await asyncio.to_thread(self._tracing.stop)

    def health(self) -> Health:
        return Health(
            name=AGGREGATOR,
            kind="aggregator",
            pid=os.getpid(),
            incarnation=0,
            state=self._state,
            detail=self._detail,
            started_s=self._started_s,
            figures={
                "live_clients": float(self._hub.client_count),
                "live_waiting_bytes": float(self._hub.waiting_bytes),
                "live_missed_rows_total": float(self._hub.missed_total),
            },
            listens={"http": self._address} if self._address else {},
        )

    def publish_incident(self, tenant: str, change: dict[str, Any]) -> None:
        """Tell the live clients that an incident began, changed or ended."""
        self._hub.publish_incident(tenant, change)

    async def _trace(self) -> None:
        """Send own traces as soon as the gateway listens."""
        while self._tracing is None:
            try:
                status = await self._ports.supervisor.status()
            except ObservabilityError:
                status = None
            url = (
                next((a.listens[OTLP_HTTP] for a in status.actors if OTLP_HTTP in a.listens), "")
                if status
                else ""
            )
            if status is not None and url:
                token = self._settings.gateway.auth_token.reveal()
                url = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
                self._tracing = Tracing(AGGREGATOR, status.version, url, token)
                self._api.tracer = self._tracing.tracer()
            else:
                await asyncio.sleep(LOOK_S)
