"""The layer as one thing to start and stop: PostgreSQL, migrations, Ray, actors.

``Layer`` is what ``kubechat-obs up``, the demo, the benchmarks and the integration tests use. With no
``database.url`` it runs its own PostgreSQL, with no ``ray.address`` its own Ray node, both below the data
folder and ended with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import RayError

from actors.handles import Handles, connect
from actors.places import (
    AGGREGATOR,
    CORRELATOR,
    GATEWAY,
    RULER,
    SCRAPER,
    SUPERVISOR,
    database_folder,
    detector_name,
    settle_streams,
    stream_count,
    stream_name,
)  # fmt: skip
from actors.placing import on_this_node
from actors.ports import Health, Status
from actors.supervisor import Place, SupervisorActor
from actors.warm import is_warm, warm_in_subprocess
from agent.errors import ObservabilityError, SettingsError
from agent.secret import Secret
from agent.settings import Settings
from agent.store.embedded import EmbeddedPostgres
from agent.store.migrations import migrate_up

READY_S = 120.0
FAILED_S = 5.0  # a start that fails is tried again: a port may be about to be freed
END_S = 30.0

# A line for each thing that is started: what it is, and where it listens or what it does.
OnProgress = Callable[[str, str], None]

# Ray keeps these for clusters; on one node they cost memory and processor time for nothing. It would also let its
# workers stand back behind everything else on the machine (nice 15), and a query with them.
RAY_ENVIRONMENT = {
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    # The log monitor looks for new files ten times a second, to pass their lines on to a driver that wants none.
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "10",
    # Every actor tells the dashboard each second which of its methods ran.
    "RAY_task_events_report_interval_ms": "10000",
    "RAY_worker_niceness": "0",
    # How often Ray's own processes look around: on one node that is most of what they do.
    "METRICS_RECORD_INTERVAL_S": "60",
    "REPORTER_UPDATE_INTERVAL_MS": "15000",
    "RAY_metrics_report_interval_ms": "30000",
    "RAY_raylet_report_resources_period_milliseconds": "1000",
    "RAY_kill_idle_workers_interval_ms": "5000",
    "RAY_memory_monitor_refresh_ms": "1000",
    "RAY_io_context_event_loop_lag_collection_interval_ms": "10000",
    "RAY_io_context_monitor_probe_interval_ms": "10000",
    "RAY_report_worker_backlog_interval_ms": "5000",
}


class StartError(ObservabilityError):
    """The layer did not become ready; the message says which part and why."""


def places(settings: Settings) -> list[Place]:
    """The actors of a node."""
    from actors.aggregator.actor import AggregatorActor
    from actors.correlator.actor import CorrelatorActor
    from actors.detector import DetectorActor
    from actors.gateway.actor import GatewayActor
    from actors.ruler import RulerActor
    from actors.scraper.actor import ScraperActor
    from actors.stream.actor import StreamActor

    return [
        *(Place(stream_name(i), "stream", StreamActor, (settings, i)) for i in range(stream_count(settings))),
        Place(GATEWAY, "gateway", GatewayActor, (settings, GATEWAY)),
        Place(detector_name(0), "detector", DetectorActor, (settings, 0)),
        Place(CORRELATOR, "correlator", CorrelatorActor, (settings,)),
        Place(AGGREGATOR, "aggregator", AggregatorActor, (settings,)),
        *([Place(RULER, "ruler", RulerActor, (settings,))] if settings.rules.files else []),
        *(
            [Place(SCRAPER, "scraper", ScraperActor, (settings, SCRAPER))]
            if settings.scrape.config_file
            else []
        ),
    ]


class Layer:
    def __init__(self, settings: Settings, on_progress: OnProgress | None = None) -> None:
        self._settings = settings
        self._say = on_progress or (lambda what, detail: None)
        self._postgres: EmbeddedPostgres | None = None
        self._supervisor: Any = None
        self._own_ray = False
        self.ports: Handles | None = None

    def __enter__(self) -> Layer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Status:
        """Returns when every actor is ready. Raises ``StartError`` otherwise."""
        if not is_warm():
            self._say("kernels", "compiling them, once; this takes a minute")
            warm_in_subprocess()
        settings = self._settings = self._open_database(_settled(self._settings))
        dashboard = self._open_ray(settings)
        self._supervisor = _new_supervisor(settings, dashboard)
        self.ports = connect(settings)
        return self._wait_ready()

    def status(self) -> Status:
        status: Status = ray.get(self._supervisor.status.remote(), timeout=30)
        return status

    def address(self, protocol: str) -> str:
        """Where a protocol (``otlp/http``, ``otlp/grpc``, ``http``) is served. Waits for an actor, or the
        supervisor, that is just coming back; raises ``StartError`` when none serves it."""
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            for health in self.status().actors:
                if protocol in health.listens:
                    return health.listens[protocol]
            time.sleep(0.2)
        raise StartError(f"nothing serves {protocol}; `kubechat-obs status` tells what is amiss")

    def stop(self) -> None:
        """End what was started, the last first; each part whatever became of the others."""
        with contextlib.ExitStack() as ending:
            if self._postgres:
                ending.callback(self._postgres.stop)
            if self._own_ray:
                ending.callback(ray.shutdown)
            if self._supervisor is not None and ray.is_initialized():
                ending.callback(_end_actors, self._supervisor)
        self._postgres, self._own_ray, self._supervisor = None, False, None

    def _open_database(self, settings: Settings) -> Settings:
        if not settings.database.url:
            self._postgres = EmbeddedPostgres(database_folder(settings))
            url = self._postgres.start()
            self._say("PostgreSQL", f"embedded, in {database_folder(settings)}")
            settings = replace(settings, database=replace(settings.database, url=Secret(url)))
        applied = asyncio.run(migrate_up(settings.database.url.reveal()))
        self._say("migrations", f"{len(applied)} applied" if applied else "up to date")
        return settings

    def _open_ray(self, settings: Settings) -> str:
        os.environ |= {key: value for key, value in RAY_ENVIRONMENT.items() if key not in os.environ}
        options: dict[str, Any] = {
            "namespace": settings.ray.namespace,
            "log_to_driver": False,
            "logging_level": "error",
        }
        if settings.ray.address:
            try:
                context = ray.init(address=settings.ray.address, **options)
            except ConnectionError as error:
                raise SettingsError(
                    "ray.address", settings.ray.address, f"a Ray cluster that answers ({error})"
                ) from None
            self._say("Ray", f"joined {settings.ray.address}")
        else:
            # "local": without it Ray joins whatever cluster `ray start` once made on this machine.
            context = ray.init(
                address="local",
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                dashboard_port=settings.ray.dashboard_port or None,
                object_store_memory=settings.ray.object_store_bytes,
                num_cpus=max(2, stream_count(settings)),
                **options,
            )
            self._say(
                "Ray",
                f"one node here, dashboard http://{context.dashboard_url} (its token: ray get-auth-token)",
            )
        self._own_ray = True
        return f"http://{context.dashboard_url}" if context.dashboard_url else ""

    def _wait_ready(self) -> Status:
        began_s, failing = time.monotonic(), Failing()
        said: set[str] = set()
        while True:
            status = self._ask_supervisor()
            for health in status.actors if status else ():
                if health.state == "ready" and health.name not in said:
                    said.add(health.name)
                    self._say(
                        health.name, ", ".join(f"{k} {v}" for k, v in health.listens.items()) or "ready"
                    )
            if status and status.state == "ready":
                return status
            now_s = time.monotonic()
            waiting = failing.for_long(status, now_s)
            if not waiting and now_s - began_s > READY_S:
                if status is None:
                    raise StartError("the supervisor does not answer; look at the Ray logs")
                waiting = [health for health in status.actors if health.state != "ready"]
            if waiting:
                raise StartError(
                    "; ".join(f"{h.name} is {h.state}: {h.detail or 'no answer yet'}" for h in waiting)
                )
            time.sleep(0.1)

    def _ask_supervisor(self) -> Status | None:
        try:
            return self.status()
        except RayError:  # it is restarting
            return None


def _settled(settings: Settings) -> Settings:
    """With the data folder there and the number of streams decided, which every actor must agree on."""
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return replace(settings, streams=replace(settings.streams, count=settle_streams(settings)))


def _new_supervisor(settings: Settings, dashboard: str) -> Any:
    """Raises ``StartError`` where a layer runs already: its actors have other settings, and its owner."""
    namespace, actors = settings.ray.namespace, places(settings)
    placed = SupervisorActor.options(
        name=SUPERVISOR, namespace=namespace, lifetime="detached", **on_this_node(settings)
    )
    try:
        return placed.remote(settings, actors, dashboard)
    except ValueError:  # Ray's word for a name that is taken
        raise StartError(
            f"a layer already runs in namespace {namespace} of this Ray cluster; stop it, or set ray.namespace"
        ) from None


class Failing:
    """Which actors have been failed since ``FAILED_S``, without a break."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}

    def for_long(self, status: Status | None, now_s: float) -> list[Health]:
        failed = [health for health in status.actors if health.state == "failed"] if status else []
        self._since_s = {health.name: self._since_s.get(health.name, now_s) for health in failed}
        return [health for health in failed if now_s - self._since_s[health.name] >= FAILED_S]


def _end_actors(supervisor: Any) -> None:
    """A supervisor that does not answer is ended with the node; where the node is another's, its actors stay."""
    with contextlib.suppress(RayError, TimeoutError):
        ray.get(supervisor.stop.remote(), timeout=END_S)
        ray.kill(supervisor, no_restart=True)
