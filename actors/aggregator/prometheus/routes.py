"""The routes of Prometheus' API in one table: the application, the OpenAPI document and the docs' test read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from actors.aggregator.prometheus import about, federate, labels, queries
from actors.aggregator.prometheus.doors import Doors
from actors.aggregator.prometheus.form import Form
from actors.aggregator.prometheus.replies import Reply, TextReply

Handler = Callable[[Doors, web.Request, Form], Awaitable[Reply | TextReply]]
READ, FORM = ("GET",), ("GET", "POST")
PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class PrometheusRoute:
    """GET is HEAD as well. ``open`` routes ask for no token."""

    methods: tuple[str, ...]
    path: str
    summary: str
    handler: Handler
    open: bool = False


ROUTES: tuple[PrometheusRoute, ...] = (
    PrometheusRoute(FORM, PREFIX + "/query", "A PromQL query at one time.", queries.instant),
    PrometheusRoute(
        FORM, PREFIX + "/query_range", "A PromQL query over a range of time.", queries.over_range
    ),
    PrometheusRoute(
        FORM, PREFIX + "/query_exemplars", "The exemplars of a query's series.", queries.exemplars
    ),
    PrometheusRoute(FORM, PREFIX + "/format_query", "A query, laid out.", queries.format_query),
    PrometheusRoute(FORM, PREFIX + "/parse_query", "A query's syntax tree.", queries.parse_query),
    PrometheusRoute(FORM, PREFIX + "/series", "The series that selectors find.", labels.series),
    PrometheusRoute(FORM, PREFIX + "/labels", "The names of labels.", labels.names),
    PrometheusRoute(READ, PREFIX + "/label/{name}/values", "The values of a label.", labels.values),
    PrometheusRoute(READ, PREFIX + "/metadata", "Type, help and unit of metrics.", about.metadata),
    PrometheusRoute(READ, PREFIX + "/targets", "What is scraped, and how it went.", about.targets),
    PrometheusRoute(READ, PREFIX + "/targets/metadata", "Metadata by scrape target.", about.target_metadata),
    PrometheusRoute(READ, PREFIX + "/scrape_pools", "The names of the scrape jobs.", about.scrape_pools),
    PrometheusRoute(READ, PREFIX + "/rules", "The rule groups.", about.rules),
    PrometheusRoute(READ, PREFIX + "/alerts", "The active alerts.", about.alerts),
    PrometheusRoute(READ, PREFIX + "/alertmanagers", "Alertmanagers; none are used.", about.alertmanagers),
    PrometheusRoute(
        READ, PREFIX + "/status/buildinfo", "The Prometheus version spoken here.", about.build_info
    ),
    PrometheusRoute(READ, PREFIX + "/status/config", "The scrape configuration as YAML.", about.config),
    PrometheusRoute(
        READ, PREFIX + "/status/flags", "Settings by the names of Prometheus' flags.", about.flags
    ),
    PrometheusRoute(
        READ,
        PREFIX + "/status/runtimeinfo",
        "Since when it runs, and for how long it keeps.",
        about.runtime_info,
    ),
    PrometheusRoute(READ, PREFIX + "/status/tsdb", "Which names make the most series.", about.cardinality),
    PrometheusRoute(READ, "/federate", "The newest samples, for another Prometheus.", federate.federate),
    PrometheusRoute(READ, "/-/healthy", "Whether the process is up.", about.healthy, open=True),
    PrometheusRoute(READ, "/-/ready", "Whether all actors are ready.", about.ready, open=True),
)

# Bodies that go on to the gateway unread.
PASSED = {
    PREFIX + "/write": "Remote write 1.0 and 2.0, passed on to the gateway.",
    PREFIX + "/otlp/v1/metrics": "OTLP metrics, passed on to the gateway.",
}
PATHS = frozenset({route.path for route in ROUTES} | set(PASSED))
