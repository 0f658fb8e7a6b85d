from __future__ import annotations

import math

import numpy as np
import pytest

from agent.detection.histogram import quantile_of
from agent.detection.mesh import MeshAccumulator, MeshSeries, Part, mesh_series, spread
from agent.detection.red import RedBins, RedKey, RedKind

S = 1_000_000_000
CART = RedKey("cart", "shop", "t", "http", RedKind.SERVED)
ISTIO = {
    "__name__": "istio_requests_total", "reporter": "destination", "destination_workload": "cart",
    "destination_workload_namespace": "shop", "source_workload": "web", "source_workload_namespace": "front",
    "destination_canonical_service": "unknown", "request_protocol": "http", "response_code": "200",
}  # fmt: skip
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
        ISTIO | {"__name__": "istio_request_duration_milliseconds_bucket", "le": "x"},
    ],
)
def test_what_tells_nothing(labels: dict[str, str]) -> None:
    assert mesh_series(labels, "t") is None


def test_a_bucket_has_its_bound() -> None:
    found = mesh_series(LINKERD | {"__name__": "response_latency_ms_bucket", "le": "+Inf"}, "t")
    assert found == MeshSeries(CART, Part.BUCKET, math.inf)


def observe(mesh: MeshAccumulator, *rows: tuple[int, int, float]) -> RedBins:
    series, time_s, value = zip(*rows, strict=True)
    mesh.observe(
        np.asarray(series, np.int32), np.asarray(time_s, np.int64) * S, np.asarray(value, np.float64)
    )
    return mesh.drain()


def test_increments_by_bin_with_resets() -> None:
    mesh = MeshAccumulator()
    ok, failed = (mesh.add_series(MeshSeries(CART, part)) for part in (Part.REQUESTS, Part.ERRORS))
    assert len(observe(mesh, (ok, 0, 100.0), (failed, 0, 3.0))) == 0
    bins = observe(mesh, (ok, 11, 4.0), (ok, 6, 110.0), (failed, 6, 5.0))
    assert bins.keys == (CART,)
    assert bins.bin_start_ns.tolist() == [5 * S, 10 * S]
    assert (bins.count.tolist(), bins.errors.tolist()) == ([12, 4], [2, 0])


def test_what_is_late_or_no_number_is_left_out() -> None:
    mesh = MeshAccumulator()
    ok = mesh.add_series(MeshSeries(CART, Part.REQUESTS))
    observe(mesh, (ok, 10, 1.0))
    assert len(observe(mesh, (ok, 10, 5.0), (ok, 9, 7.0), (ok, 12, math.nan))) == 0
    assert observe(mesh, (ok, 13, 2.0)).count.tolist() == [1]


def test_latency_from_buckets_and_sum() -> None:
    mesh = MeshAccumulator()
    bounds = (10.0, 100.0, math.inf)
    codes = [mesh.add_series(MeshSeries(CART, Part.BUCKET, bound)) for bound in bounds]
    total = mesh.add_series(MeshSeries(CART, Part.SUM))
    observe(mesh, *((code, 0, 0.0) for code in (*codes, total)))
    bins = observe(mesh, (codes[0], 5, 90.0), (codes[1], 5, 100.0), (codes[2], 5, 100.0), (total, 5, 750.0))
    assert bins.sum_ns.tolist() == [750_000_000]
    assert bins.buckets.sum() == 100
    p95_ns = quantile_of(bins.buckets[0].astype(np.float64), 100.0, 0.95)
    assert 30e6 < p95_ns < 80e6


def test_a_bucket_that_got_nothing_bounds_the_one_above() -> None:
    mesh = MeshAccumulator()
    codes = [mesh.add_series(MeshSeries(CART, Part.BUCKET, bound)) for bound in (50.0, 100.0)]
    observe(mesh, *((code, 0, 7.0) for code in codes))
    bins = observe(mesh, (codes[0], 5, 7.0), (codes[1], 5, 17.0))
    assert quantile_of(bins.buckets[0].astype(np.float64), 10.0, 0.01) * 1.13 >= 50e6


def test_a_full_table_says_so_and_its_series_are_left_out() -> None:
    mesh = MeshAccumulator(max_series=1)
    assert [mesh.add_series(MeshSeries(CART, Part.REQUESTS)) for _ in range(2)] == [0, -1]
    assert len(observe(mesh, (-1, 0, 1.0), (-1, 5, 9.0))) == 0


def test_many_series_keep_their_own_values() -> None:
    mesh = MeshAccumulator()
    codes = [mesh.add_series(MeshSeries(CART, Part.REQUESTS)) for _ in range(1000)]
    observe(mesh, *((code, 0, float(code)) for code in codes))
    assert observe(mesh, *((code, 5, code + 2.0) for code in codes)).count.tolist() == [2000]


@pytest.mark.parametrize(
    "cumulative",
    [
        {1.0: 3.0, math.inf: 3.0},
        {5.0: 1.0, 10.0: 7.0, 1e9: 9.0},
        {math.inf: 4.0},
        {1.0: 2.0, 2.0: 1.0, 3.0: 5.0},
    ],
)
def test_spreading_keeps_the_total(cumulative: dict[float, float]) -> None:
    assert spread(cumulative).sum() == max(cumulative.values())
