"""Series of a mesh in a stream: from remote write to the RED rows of the services that they name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from actors.stream.core import Stream
from actors.stream.rebuild import rebuilt
from agent.detection.red import NO_BINS, RedBins, RedKey, RedKind, concat_bins
from agent.telemetry.batch import Signal
from agent.telemetry.labels import Labels
from tests.otlp import NOW_NS
from tests.unit.stream.feeding import Fed
from tests.unit.windows.metrics.building import series

S = 10**9
START_MS = NOW_NS // 10**6 - 600_000
CART = RedKey("cart", "shop", "default", "http", RedKind.SERVED)
CALLS = RedKey("web", "shop", "default", "cart", RedKind.CALLS)


def istio(metric: str, reporter: str = "destination", **labels: str) -> Labels:
    return series(
        metric, reporter=reporter, job="mesh", instance=f"{reporter}:15020",
        source_workload="web", source_workload_namespace="shop",
        destination_workload="cart", destination_workload_namespace="shop", request_protocol="http", **labels,
    )  # fmt: skip


def scrape(number: int) -> dict[Labels, list[tuple[int, float]]]:
    """The totals of the proxies of two services: a hundred requests in 15 s, ten of which fail."""
    at_ms, n = START_MS + number * 15_000, float(number)
    totals = {
        istio("istio_requests_total", response_code="200"): 90 * n,
        istio("istio_requests_total", response_code="503"): 10 * n,
        istio("istio_requests_total", "source", response_code="200"): 100 * n,
        istio("istio_request_duration_milliseconds_sum"): 2000 * n,
        istio("istio_request_duration_milliseconds_bucket", le="10"): 0.0,
        istio("istio_request_duration_milliseconds_bucket", le="50"): 100 * n,
        istio("istio_request_duration_milliseconds_bucket", le="+Inf"): 100 * n,
        series("up", job="mesh", instance="a:15020"): 1.0,
    }
    return {labels: [(at_ms, value)] for labels, value in totals.items()}


def drained(stream: Stream) -> RedBins:
    return concat_bins([NO_BINS, *(increment.mesh for increment in stream.drain())])


def same(one: RedBins, other: RedBins) -> bool:
    return one.keys == other.keys and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("series", "bin_start_ns", "count", "errors", "sum_ns", "buckets")
    )


@pytest.fixture
def fed(tmp_path: Path) -> Fed:
    found = Fed(tmp_path, metric_block_s=60.0)
    for number in range(21):
        found.write(scrape(number))
    return found


def test_the_services_named_have_red_rows(fed: Fed) -> None:
    bins = drained(fed.stream)
    assert set(bins.keys) == {CART, CALLS}
    served = bins.series == bins.keys.index(CART)
    assert bins.count[served].tolist() == [100] * 19  # the last bin is not over
    assert bins.errors[served].tolist() == [10] * 19
    assert bins.sum_ns[served].tolist() == [2 * S] * 19
    assert bins.buckets[served].sum(axis=1).tolist() == [100] * 19
    assert bins.bin_start_ns[served][0] == (START_MS + 15_000) * 10**6 // (5 * S) * 5 * S
    assert bins.count[~served].tolist() == [100] * 19


def test_nothing_of_spans_is_made_up(fed: Fed) -> None:
    assert all(len(increment.red) == 0 for increment in fed.stream.drain())


def test_a_restart_gives_the_same_rows(fed: Fed) -> None:
    assert same(drained(fed.restarted()), drained(fed.stream))


def test_a_restart_gives_the_same_rows_when_samples_were_sealed(fed: Fed) -> None:
    before = drained(fed.stream)
    for feed, cut_ms in fed.stream.seals():
        feed.seal(cut_ms)
    assert same(drained(fed.restarted()), before)


def test_draining_often_gives_the_same_rows(tmp_path: Path) -> None:
    fed, parts = Fed(tmp_path), []
    for number in range(21):
        for labels, samples in scrape(number).items():  # a request each, as the shards of a sender do
            fed.write({labels: samples})
            parts.append(drained(fed.stream))
    bins = concat_bins(parts)
    served = bins.series == bins.keys.index(CART)
    assert bins.buckets[served].sum(axis=1).tolist() == [100] * 19
    assert bins.count[served].tolist() == [100] * 19


def test_samples_sent_again_count_once(fed: Fed) -> None:
    before = int(drained(fed.stream).count.sum())
    fed.written.forget()  # the gateway restarted
    fed.write(scrape(20))
    fed.write(scrape(22))
    assert (before, int(drained(fed.stream).count.sum())) == (3800, 200)  # scrape 20, which is over now


def test_a_window_made_anew_counts_nothing_twice_and_goes_on(fed: Fed) -> None:
    drained(fed.stream)
    fed.stream.tenants["default"] = rebuilt(fed.stream, "default", fed.settings, fed.stream._reader)
    fed.write(scrape(21))
    fed.write(scrape(22))
    assert int(drained(fed.stream).count.sum()) == 400


def test_totals_that_come_by_otlp(tmp_path: Path) -> None:
    fed = Fed(tmp_path)
    for number in range(4):
        request = ExportMetricsServiceRequest()
        block = request.resource_metrics.add()
        block.resource.attributes.add(key="service.name").value.string_value = "edge"
        total = block.scope_metrics.add().metrics.add(name="envoy_cluster_upstream_rq_xx").gauge
        at_ns = START_MS * 10**6 + number * 15 * S
        point = total.data_points.add(time_unix_nano=at_ns, as_double=60.0 * number)
        for name, value in (("envoy_cluster_name", "cart"), ("envoy_response_code_class", "5")):
            point.attributes.add(key=name).value.string_value = value
        fed.send(Signal.METRICS, request.SerializeToString())
    bins = drained(fed.stream)
    assert bins.keys == (RedKey("edge", "", "default", "cart", RedKind.CALLS),)
    assert (bins.count.tolist(), bins.errors.tolist()) == ([60, 60], [60, 60])
