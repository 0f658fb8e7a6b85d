"""What a service mesh measures: the series of Istio, Linkerd and plain Envoy, by the names of their metrics.

A proxy beside a service counts what the service itself may not tell. What the proxy of the answering side
reports is **served**, what that of the asking side reports are **calls**, as with spans; the operation of calls is
the service that is called. Names and labels are those that the three projects document.

| metric | what is taken |
| --- | --- |
| ``istio_requests_total`` | requests, errors by ``response_code`` and ``grpc_response_status`` |
| ``istio_request_duration_milliseconds`` (bucket, sum) | latency |
| ``response_total`` | Linkerd: requests, errors by ``classification`` |
| ``response_latency_ms`` (bucket, sum) | Linkerd: latency |
| ``envoy_cluster_upstream_rq_xx`` | Envoy: requests, errors by ``envoy_response_code_class`` |
| ``envoy_cluster_upstream_rq_time`` (bucket, sum) | Envoy: latency, in ms |

Linkerd's ``request_total`` and Envoy's ``envoy_cluster_upstream_rq_total`` count the same requests when they begin,
and are known but not added. A plain Envoy tells calls of its own source (``job``) to the cluster named; clusters
that Istio made (``outbound|9080||cart.shop...``) or needs for itself are passed over, since ``istio_*`` tells
of the same requests.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from agent.detection.red import RedKey, RedKind
from agent.telemetry.labels import METRIC_NAME

UNKNOWN = "unknown"  # what the proxies say of somebody they do not know, and the operation of calls to them
_ISTIO_SERVED = ("destination", "waypoint")
# Of gRPC's statuses those that the server is to blame for: unknown, deadline, unimplemented, internal,
# unavailable, data loss.
_GRPC_ERRORS = frozenset({"2", "4", "12", "13", "14", "15"})


class Part(IntEnum):
    REQUESTS = 0
    ERRORS = 1  # requests that failed
    SUM = 2  # of latencies, in milliseconds
    BUCKET = 3
    STARTED = 4  # not added


@dataclass(frozen=True, slots=True)
class MeshSeries:
    """What a series tells about; ``bound_ms`` is the upper bound of a bucket."""

    key: RedKey
    part: Part
    bound_ms: float = math.inf


def mesh_series(labels: Mapping[str, str], tenant: str) -> MeshSeries | None:
    """What a mesh tells by a series of these labels; None where it is none of a mesh, or of nobody known."""
    name = labels.get(METRIC_NAME, "")
    istio = _ISTIO.get(name)
    if istio is not None:
        return _of(istio, _istio_key(labels, tenant), _istio_failed(labels), labels)
    linkerd = _LINKERD.get(name)
    if linkerd is not None and "direction" in labels:
        return _of(linkerd, _linkerd_key(labels, tenant), labels.get("classification") == "failure", labels)
    envoy = _ENVOY.get(name)
    if envoy is not None:
        failed = labels.get("envoy_response_code_class") == "5"
        return _of(envoy, _envoy_key(labels, tenant), failed, labels)
    return None


_ISTIO = {
    "istio_requests_total": Part.REQUESTS,
    "istio_request_duration_milliseconds_bucket": Part.BUCKET,
    "istio_request_duration_milliseconds_sum": Part.SUM,
}
_LINKERD = {
    "request_total": Part.STARTED,
    "response_total": Part.REQUESTS,
    "response_latency_ms_bucket": Part.BUCKET,
    "response_latency_ms_sum": Part.SUM,
}
_ENVOY = {
    "envoy_cluster_upstream_rq_total": Part.STARTED,
    "envoy_cluster_upstream_rq_xx": Part.REQUESTS,
    "envoy_cluster_upstream_rq_time_bucket": Part.BUCKET,
    "envoy_cluster_upstream_rq_time_sum": Part.SUM,
}
METRICS = frozenset([*_ISTIO, *_LINKERD, *_ENVOY])  # the names that may be of a mesh
# Clusters that Istio's proxies have for themselves.
_ISTIO_CLUSTERS = frozenset(
    {"xds-grpc", "sds-grpc", "prometheus_stats", "agent", "zipkin", "BlackHoleCluster", "PassthroughCluster",
     "InboundPassthroughCluster"}
)  # fmt: skip


def _of(part: Part, key: RedKey | None, failed: bool, labels: Mapping[str, str]) -> MeshSeries | None:
    if key is None:
        return None
    if part is Part.BUCKET:
        bound = _number(labels.get("le", ""))
        return None if math.isnan(bound) else MeshSeries(key, part, bound)
    return MeshSeries(key, Part.ERRORS if part is Part.REQUESTS and failed else part)


def _istio_key(labels: Mapping[str, str], tenant: str) -> RedKey | None:
    reporter = labels.get("reporter", "")
    if reporter not in _ISTIO_SERVED and reporter != "source":
        return None
    served = reporter in _ISTIO_SERVED
    answering = _first(
        labels, "destination_canonical_service", "destination_workload", "destination_app", "destination_service_name"
    )  # fmt: skip
    if served:
        service, namespace = answering, _first(labels, "destination_workload_namespace")
        operation = _first(labels, "request_operation", "request_protocol") or "http"
    else:
        service = _first(labels, "source_canonical_service", "source_workload", "source_app")
        namespace = _first(labels, "source_workload_namespace")
        operation = answering if answering not in _ISTIO_CLUSTERS else ""
    return _key(service, namespace, tenant, operation or UNKNOWN, served) if service else None


def _istio_failed(labels: Mapping[str, str]) -> bool:
    """A code of 0 is an answer that never came."""
    code = labels.get("response_code", "")
    return code == "0" or code.startswith("5") or labels.get("grpc_response_status", "") in _GRPC_ERRORS


def _linkerd_key(labels: Mapping[str, str], tenant: str) -> RedKey | None:
    served = labels["direction"] == "inbound"
    service = _first(labels, "deployment", "statefulset", "daemonset", "workload_name", "app")
    if not service:
        return None
    if served:
        operation = _first(labels, "rt_route") or "http"
    else:
        operation = (
            _first(labels, "dst_deployment", "dst_statefulset", "dst_daemonset", "dst_service") or UNKNOWN
        )
    return _key(service, _first(labels, "namespace"), tenant, operation, served)


def _envoy_key(labels: Mapping[str, str], tenant: str) -> RedKey | None:
    service, cluster = _first(labels, "job"), _first(labels, "envoy_cluster_name")
    if not service or not cluster or "|" in cluster or cluster in _ISTIO_CLUSTERS:
        return None
    return _key(service, _first(labels, "namespace"), tenant, cluster, served=False)


def _key(service: str, namespace: str, tenant: str, operation: str, served: bool) -> RedKey:
    return RedKey(service, namespace, tenant, operation, RedKind.SERVED if served else RedKind.CALLS)


def _first(labels: Mapping[str, str], *names: str) -> str:
    return next((labels[name] for name in names if labels.get(name, "") not in ("", UNKNOWN)), "")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
