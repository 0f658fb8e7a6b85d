from __future__ import annotations

import math

import pytest

from agent.detection.mesh import METRICS, UNKNOWN, MeshSeries, Part, mesh_series
from agent.detection.red import RedKey, RedKind

CART = RedKey("cart", "shop", "t", "http", RedKind.SERVED)
ISTIO = {
    "__name__": "istio_requests_total", "reporter": "destination", "destination_workload": "cart",
    "destination_workload_namespace": "shop", "source_workload": "web", "source_workload_namespace": "front",
    "destination_canonical_service": "unknown", "request_protocol": "http", "response_code": "200",
}  # fmt: skip
OUT = ISTIO | {"reporter": "source"}
ENVOY = {
    "__name__": "envoy_cluster_upstream_rq_xx", "job": "edge", "namespace": "front", "envoy_cluster_name": "cart",
    "envoy_response_code_class": "2",
}  # fmt: skip
EDGE = RedKey("edge", "front", "t", "cart", RedKind.CALLS)
LINKERD = {"__name__": "response_total", "direction": "inbound", "deployment": "cart", "namespace": "shop"}


@pytest.mark.parametrize(
    ("labels", "key", "part"),
    [
        (ISTIO, CART, Part.REQUESTS),
        (ISTIO | {"response_code": "503"}, CART, Part.ERRORS),
        (ISTIO | {"response_code": "0"}, CART, Part.ERRORS),
        (ISTIO | {"grpc_response_status": "14"}, CART, Part.ERRORS),
        (ISTIO | {"grpc_response_status": "5"}, CART, Part.REQUESTS),
        (
            ISTIO | {"reporter": "source", "destination_service_name": "cart"},
            RedKey("web", "front", "t", "cart", RedKind.CALLS),
            Part.REQUESTS,
        ),
        (ISTIO | {"reporter": "waypoint"}, CART, Part.REQUESTS),
        (
            OUT | {"destination_workload": "unknown", "destination_service_name": "PassthroughCluster"},
            RedKey("web", "front", "t", UNKNOWN, RedKind.CALLS),
            Part.REQUESTS,
        ),
        (ENVOY, EDGE, Part.REQUESTS),
        (ENVOY | {"envoy_response_code_class": "5"}, EDGE, Part.ERRORS),
        (ENVOY | {"envoy_response_code_class": "4"}, EDGE, Part.REQUESTS),
        (ENVOY | {"__name__": "envoy_cluster_upstream_rq_total"}, EDGE, Part.STARTED),
        (ENVOY | {"__name__": "envoy_cluster_upstream_rq_time_sum"}, EDGE, Part.SUM),
        (LINKERD | {"classification": "success"}, CART, Part.REQUESTS),
        (LINKERD | {"classification": "failure"}, CART, Part.ERRORS),
        (LINKERD | {"__name__": "request_total"}, CART, Part.STARTED),
        (
            LINKERD | {"direction": "outbound", "dst_deployment": "pay"},
            RedKey("cart", "shop", "t", "pay", RedKind.CALLS),
            Part.REQUESTS,
        ),
    ],
)
def test_what_a_series_tells(labels: dict[str, str], key: RedKey, part: Part) -> None:
    assert mesh_series(labels, "t") == MeshSeries(key, part)


@pytest.mark.parametrize(
    "labels",
    [
        {"__name__": "up"},
        {"__name__": "request_total", "job": "somebody's own counter"},
        {"__name__": "istio_requests_total", "reporter": "destination", "destination_workload": "unknown"},
        ISTIO | {"reporter": "somebody else"},
        ENVOY | {"envoy_cluster_name": "outbound|9080||cart.shop.svc.cluster.local"},
        ENVOY | {"envoy_cluster_name": "xds-grpc"},
        {name: value for name, value in ENVOY.items() if name != "job"},
        ISTIO | {"__name__": "istio_request_duration_milliseconds_bucket", "le": "x"},
    ],
)
def test_what_tells_nothing(labels: dict[str, str]) -> None:
    assert mesh_series(labels, "t") is None


def test_a_bucket_has_its_bound() -> None:
    found = mesh_series(LINKERD | {"__name__": "response_latency_ms_bucket", "le": "+Inf"}, "t")
    assert found == MeshSeries(CART, Part.BUCKET, math.inf)


def test_the_names_that_may_be_of_a_mesh_are_known() -> None:
    assert {"istio_requests_total", "response_total", "envoy_cluster_upstream_rq_xx"} <= METRICS
    assert "up" not in METRICS
