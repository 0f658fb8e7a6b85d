"""All REST routes in one table: the application, the OpenAPI document and the docs' test read it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from actors.aggregator import evidence, metric_config, models, rest
from actors.aggregator.api import Api
from actors.aggregator.call import Call
from actors.aggregator.prometheus.routes import PASSED
from actors.aggregator.prometheus.routes import ROUTES as PROMETHEUS_ROUTES
from actors.ports import Status
from agent.rootcause.answer import Answer

PREFIX = "/api/v1"
LIVE_PATH = PREFIX + "/live"
OPENAPI_PATH = PREFIX + "/openapi.json"
METRICS_PATH = "/metrics"


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    doc: str
    kind: str = "string"
    choices: tuple[str, ...] = ()
    default: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """``path`` holds ``{name}`` for each path parameter. ``open`` routes ask for no token; ``traced`` ones
    leave a span; ``by_tenant`` ones read the tenant."""

    method: str
    path: str
    summary: str
    handler: Callable[[Api, Call], Awaitable[Any]]
    reply: Any
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    by_tenant: bool = True
    open: bool = False
    traced: bool = True


TIME = "RFC 3339, Unix seconds, `now` or `now-15m`"
START = Parameter("start", f"From when: {TIME}.", default="now-15m")
END = Parameter("end", f"Until when, exclusive: {TIME}.", default="now")
SERVICE = Parameter("service", "Only this service.")
METRIC = Parameter("metric", "Only this metric name, as it was set.")
PATH_DOCS = {
    "service": "The service's name, as `/api/v1/services` lists it.",
    "id": "The id of the incident, metric configuration or threshold.",
    "reference": "A reference as an answer gives it, percent-encoded, e.g. `trace:<32 hex digits>`.",
    "name": "The label's name; `U__...` where it is not of letters, digits and `_` (UTF-8 escaping).",
    "trace_id": "The trace's 32 hexadecimal digits.",
}


async def _docs(api: Api, call: Call) -> models.DocsReply:
    listed = {f"{route.method} {route.path}": route.summary for route in ROUTES} | {
        f"GET {path}": summary for path, summary in OTHER_ROUTES.items()
    }
    for one in PROMETHEUS_ROUTES:
        listed |= {f"{method} {one.path}": one.summary for method in one.methods}
    listed |= {f"POST {path}": summary for path, summary in PASSED.items()}
    return models.DocsReply("kubechat-obs", (await api.status()).version, listed)


# Those that answer something else than a handler's value in JSON; ``actors.aggregator.app`` adds them.
OTHER_ROUTES = {
    "/": "Links to what is here.",
    METRICS_PATH: "The layer's own metrics, for Prometheus.",
    LIVE_PATH: "WebSocket: telemetry and incidents as they come in.",
    OPENAPI_PATH: "This API as an OpenAPI 3.1 document.",
}

ROUTES: tuple[Route, ...] = (
    Route(
        "GET", "/healthz", "Whether the process is up.", rest.healthz, models.HealthReply,
        by_tenant=False, open=True, traced=False,
    ),
    Route(
        "GET", "/readyz", "Whether all actors are ready; 503 with the reasons until they are.",
        rest.readyz, models.ReadyReply, by_tenant=False, open=True, traced=False,
    ),
    Route(
        "GET", PREFIX + "/docs", "The routes of this API, a line each.", _docs, models.DocsReply,
        by_tenant=False, traced=False,
    ),
    Route(
        "GET", PREFIX + "/status", "Every actor of the layer: state, figures, restarts.",
        rest.status, Status, by_tenant=False,
    ),
    Route(
        "GET", PREFIX + "/sources", "Who sends telemetry, and how much.", rest.sources, models.SourcesReply,
        (SERVICE,),
    ),
    Route(
        "GET", PREFIX + "/services", "The services with their rate, errors and duration of the last minute.",
        rest.services, models.ServicesReply,
    ),
    Route(
        "GET", PREFIX + "/services/{service}/red", "Rate, errors and duration of a service over time.",
        rest.red, models.RedReply,
        (
            START, END,
            Parameter("step", "Seconds a point stands for, 1 to 86400.", "number", default="10"),
            Parameter("by", "One series for the service, or one an operation.", choices=("service", "operation"), default="service"),
        ),
    ),
    Route(
        "GET", PREFIX + "/topology", "Who calls whom, learned from spans.", rest.topology, models.TopologyReply,
    ),
    Route(
        "GET", PREFIX + "/incidents", "Incidents, newest first.", rest.incidents, models.IncidentsReply,
        (
            Parameter("status", "Only incidents in this state: `open`, `acknowledged`, `resolved`."),
            SERVICE,
            Parameter("severity", "Only incidents of this severity."),
            Parameter("since", f"Only incidents that began then or later: {TIME}."),
            Parameter("limit", "How many at most, 1 to 1000.", "integer", default="100"),
        ),
    ),
    Route("GET", PREFIX + "/incidents/{id}", "One incident.", rest.incident, dict[str, Any]),
    Route(
        "POST", PREFIX + "/incidents/{id}/acknowledge", "Somebody has taken the incident up.",
        rest.acknowledge, dict[str, Any], body=models.Decision,
    ),
    Route(
        "POST", PREFIX + "/incidents/{id}/resolve", "Somebody has solved the incident.",
        rest.resolve, dict[str, Any], body=models.Decision,
    ),
    Route(
        "POST", PREFIX + "/ask", "A question such as \"why is latency up?\", answered with causes and evidence.",
        rest.ask, Answer, body=models.Ask,
    ),
    Route(
        "GET", PREFIX + "/ask", "The same, for a browser's address bar.", rest.ask, Answer,
        (
            Parameter("q", "The question."),
            Parameter("service", "The service that the question is about."),
            Parameter("at", f"When it was bad: {TIME}. Without it: now."),
        ),
    ),
    Route(
        "GET", PREFIX + "/evidence/{reference}", "What a reference of an answer points at.",
        evidence.evidence, models.EvidenceReply,
    ),
    Route(
        "GET", PREFIX + "/traces/{trace_id}", "The spans of a trace, depth first.", rest.trace, models.TraceReply,
    ),
    Route(
        "GET", PREFIX + "/metrics/config", "Which metrics are kept, and how long.",
        metric_config.configs, metric_config.MetricConfigsReply,
        (
            METRIC, SERVICE,
            Parameter("enabled", "Only those that are switched on, or off.", choices=("true", "false")),
        ), by_tenant=False,
    ),
    Route(
        "POST", PREFIX + "/metrics/config", "Set how a metric is kept.", metric_config.create_config,
        metric_config.MetricConfigReply, body=metric_config.MetricConfigBody, by_tenant=False,
    ),
    Route(
        "GET", PREFIX + "/metrics/config/{id}", "How one metric is kept.", metric_config.config,
        metric_config.MetricConfigReply, by_tenant=False,
    ),
    Route(
        "PATCH", PREFIX + "/metrics/config/{id}", "Change how a metric is kept.", metric_config.change_config,
        metric_config.MetricConfigReply, body=metric_config.MetricConfigChange, by_tenant=False,
    ),
    Route(
        "DELETE", PREFIX + "/metrics/config/{id}", "Keep a metric as the settings say.",
        metric_config.delete_config, metric_config.Deleted, by_tenant=False,
    ),
    Route(
        "GET", PREFIX + "/metrics/thresholds", "From which values on metrics are bad.",
        metric_config.thresholds, metric_config.MetricThresholdsReply, (METRIC,), by_tenant=False,
    ),
    Route(
        "POST", PREFIX + "/metrics/thresholds", "Set a threshold.", metric_config.create_threshold,
        metric_config.MetricThresholdReply, body=metric_config.MetricThresholdBody, by_tenant=False,
    ),
    Route(
        "GET", PREFIX + "/metrics/thresholds/{id}", "One threshold.", metric_config.threshold,
        metric_config.MetricThresholdReply, by_tenant=False,
    ),
    Route(
        "PATCH", PREFIX + "/metrics/thresholds/{id}", "Change a threshold.", metric_config.change_threshold,
        metric_config.MetricThresholdReply, body=metric_config.MetricThresholdChange, by_tenant=False,
    ),
    Route(
        "DELETE", PREFIX + "/metrics/thresholds/{id}", "Take a threshold away.",
        metric_config.delete_threshold, metric_config.Deleted, by_tenant=False,
    ),
)  # fmt: skip
