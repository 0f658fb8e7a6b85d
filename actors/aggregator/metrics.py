"""What ``/metrics`` shows: the figures of every actor, as the newest status has them, and those of this one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from actors.aggregator.live import LiveHub
from actors.ports import Health, Status

PREFIX = "kubechat_obs_"
BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
NS = 1e9
OWN_KIND = "aggregator"  # its figures are read from the hub, so that they are there without a status


@dataclass(frozen=True, slots=True)
class MetricName:
    """How a figure of ``Health`` is called in Prometheus: whole words for units."""

    name: str
    counter: bool

    @staticmethod
    def of(figure: str) -> MetricName:
        counter = figure.endswith("_total")
        base = re.sub(r"\W", "_", figure.removesuffix("_total"))
        base = re.sub(r"_per_s$", "_per_second", base)
        base = re.sub(r"_s$", "_seconds", base)
        base = re.sub(r"_ms$", "_milliseconds", base)
        return MetricName(PREFIX + base, counter)


class StatusCollector(Collector):
    def __init__(self) -> None:
        self.status: Status | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first status; the registry must not ask ``collect``."""
        return ()

    def collect(self) -> Iterable[Metric]:
        if self.status is None:
            return
        yield from _layer(self.status)
        yield from _figures(a for a in self.status.actors if a.kind != OWN_KIND)
        yield _refused(self.status.actors)


def _layer(status: Status) -> Iterable[Metric]:
    build = GaugeMetricFamily(PREFIX + "build_info", "The version that runs.", labels=["version"])
    build.add_metric([status.version], 1)
    up = GaugeMetricFamily(PREFIX + "actor_ready", "1 where the actor is ready.", labels=["actor", "kind"])
    started = GaugeMetricFamily(
        PREFIX + "actor_start_time_seconds", "When the actor's process started.", labels=["actor", "kind"]
    )
    for actor in status.actors:
        up.add_metric([actor.name, actor.kind], actor.state == "ready")
        started.add_metric([actor.name, actor.kind], actor.started_s)
    restarts = CounterMetricFamily(
        PREFIX + "actor_restarts", "Times an actor was restarted.", labels=["actor"]
    )
    for name, count in status.restarts.items():
        restarts.add_metric([name], count)
    event_time = GaugeMetricFamily(
        PREFIX + "event_time_seconds", "How far a tenant's event time has come.", labels=["tenant"]
    )
    for tenant, watermark_ns in status.event_time_ns.items():
        event_time.add_metric([tenant], watermark_ns / NS)
    return build, up, started, restarts, event_time


def _figures(actors: Iterable[Health]) -> Iterable[Metric]:
    families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
    for actor in actors:
        for figure, value in actor.figures.items():
            metric = MetricName.of(figure)
            if metric.name not in families:
                family = CounterMetricFamily if metric.counter else GaugeMetricFamily
                doc = f"The actors' {figure.removesuffix('_total').replace('_', ' ')}."
                families[metric.name] = family(metric.name, doc, labels=["actor", "kind"])
            families[metric.name].add_metric([actor.name, actor.kind], value)
    return families.values()


def _refused(actors: Iterable[Health]) -> Metric:
    refused = CounterMetricFamily(
        PREFIX + "refused", "What was refused, by reason.", labels=["actor", "kind", "reason"]
    )
    for actor in actors:
        for reason, count in actor.refused.items():
            refused.add_metric([actor.name, actor.kind, reason], count)
    return refused


class LiveCollector(Collector):
    def __init__(self, hub: LiveHub) -> None:
        self._hub = hub

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(PREFIX + "live_clients", "WebSocket clients.", self._hub.client_count)
        yield GaugeMetricFamily(
            PREFIX + "live_waiting_bytes", "What waits for WebSocket clients.", self._hub.waiting_bytes
        )
        yield CounterMetricFamily(
            PREFIX + "live_missed_rows", "Rows that slow WebSocket clients missed.", self._hub.missed_total
        )


class Metrics:
    """The registry of one aggregator."""

    def __init__(self, hub: LiveHub) -> None:
        self._registry = CollectorRegistry()
        self._of_actors = StatusCollector()
        self._registry.register(self._of_actors)
        self._registry.register(LiveCollector(hub))
        ProcessCollector(registry=self._registry)
        self._duration = Histogram(
            PREFIX + "http_request_duration_seconds",
            "Requests of the API, by route and status.",
            ["method", "route", "status"],
            buckets=BUCKETS_S,
            registry=self._registry,
        )

    def add(self, collector: Collector) -> None:
        """Show what another part of this process collects."""
        self._registry.register(collector)

    def observe(self, method: str, route: str, status: int, took_s: float) -> None:
        self._duration.labels(method, route, str(status)).observe(took_s)

    def render(self, status: Status | None, accept: str) -> tuple[bytes, str]:
        """The text and its content type, in the format that the reader's ``Accept`` asks for."""
        self._of_actors.status = status
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type
