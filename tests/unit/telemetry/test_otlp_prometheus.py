from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from agent.settings import OtlpSettings
from agent.telemetry.batch import STALE_NAN_BITS
from agent.telemetry.labels import METRIC_NAME, Labels, decode_labels, hash_labels
from agent.telemetry.otlp_metrics import decode_metrics
from agent.telemetry.otlp_prometheus import OtlpSeries
from agent.telemetry.otlp_prometheus_labels import Translation
from agent.telemetry.samples import SampleBatch
from agent.telemetry.unit_names import Strategy

T = 1_700_000_000_000
MS = 1_000_000
DELTA, CUMULATIVE = 1, 2
SHOP = {"service.name": "cart", "service.namespace": "shop", "service.instance.id": "cart-1"}


class Reader:
    """Knows the labels of what was defined, as a window does."""

    def __init__(self, translation: Translation | None = None, max_series: int = 1000) -> None:
        self.series = OtlpSeries(max_series, translation)
        self.labels: dict[int, Labels] = {}
        self.last: SampleBatch | None = None

    def feed(self, request: ExportMetricsServiceRequest) -> dict[str, list[tuple[int, float]]]:
        """The plain samples by series, as ``name{label="value"}`` without ``job`` and ``instance``."""
        batch = decode_metrics(request.SerializeToString())
        out = self.last = self.series.translate(batch, np.flatnonzero(batch.reject == 0))
        for series, off, length in zip(out.define_hash, out.define_off, out.define_len, strict=True):
            canonical = out.raw[off : off + length].tobytes()
            assert hash_labels(canonical) == series
            self.labels[int(series)] = decode_labels(canonical)
        found: dict[str, list[tuple[int, float]]] = {}
        at = 0
        for series, count in zip(out.series_hash.tolist(), out.sample_count.tolist(), strict=True):
            for i in range(at, at + count):
                shown = written(self.labels[series])
                found.setdefault(shown, []).append((int(out.time_ms[i]), float(out.value[i])))
            at += count
        return found


def written(labels: Labels) -> str:
    named = dict(labels)
    name = named.pop(METRIC_NAME)
    rest = ",".join(f'{k}="{v}"' for k, v in named.items() if k not in ("job", "instance"))
    return f"{name}{{{rest}}}" if rest else name


def request(
    *fill: Callable[[Metric], None], resource: Mapping[str, str] = SHOP, scope: str = ""
) -> ExportMetricsServiceRequest:
    built = ExportMetricsServiceRequest()
    block = built.resource_metrics.add()
    for key, value in resource.items():
        block.resource.attributes.add(key=key).value.string_value = value
    scoped = block.scope_metrics.add()
    scoped.scope.name = scope
    for one in fill:
        one(scoped.metrics.add())
    return built


def add_attributes(point: Any, attributes: Mapping[str, str]) -> None:
    for key, value in attributes.items():
        point.attributes.add(key=key).value.string_value = value


def gauge(value: float, name: str = "g", time_ms: int = T, **attributes: str) -> Callable[[Metric], None]:
    def fill(metric: Metric) -> None:
        metric.name = name
        point = metric.gauge.data_points.add(time_unix_nano=time_ms * MS, as_double=value)
        add_attributes(point, {k.replace("__", "."): v for k, v in attributes.items()})

    return fill


def total(
    value: float, time_ms: int = T, temporality: int = CUMULATIVE, name: str = "hits"
) -> Callable[[Metric], None]:
    def fill(metric: Metric) -> None:
        metric.name = name
        metric.sum.is_monotonic = True
        metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
        metric.sum.data_points.add(time_unix_nano=time_ms * MS, as_double=value)

    return fill


def histogram(
    counts: list[int], bounds: list[float], time_ms: int = T, temporality: int = CUMULATIVE
) -> Callable[[Metric], None]:
    def fill(metric: Metric) -> None:
        metric.name, metric.unit = "lat", "s"
        metric.histogram.aggregation_temporality = temporality  # type: ignore[assignment]
        point = metric.histogram.data_points.add(
            time_unix_nano=time_ms * MS,
            count=sum(counts),
            sum=1.5,
            bucket_counts=counts,
            explicit_bounds=bounds,
        )
        point.exemplars.add(
            time_unix_nano=time_ms * MS, as_double=0.3, trace_id=b"\x0a" * 16, span_id=b"\x0b" * 8
        )

    return fill


def exponential(
    counts: list[int], scale: int = 0, time_ms: int = T, temporality: int = CUMULATIVE, flags: int = 0
) -> Callable[[Metric], None]:
    def fill(metric: Metric) -> None:
        metric.name = "exp"
        metric.exponential_histogram.aggregation_temporality = temporality  # type: ignore[assignment]
        point = metric.exponential_histogram.data_points.add(
            time_unix_nano=time_ms * MS, count=sum(counts), sum=2.0, scale=scale, flags=flags
        )
        point.positive.bucket_counts.extend(counts)

    return fill


def test_a_gauge_has_job_and_instance() -> None:
    reader = Reader()
    assert reader.feed(request(gauge(2.5, "queue.size", kind="a"))) == {'queue_size{kind="a"}': [(T, 2.5)]}
    (labels,) = reader.labels.values()
    assert dict(labels)["job"] == "shop/cart"
    assert dict(labels)["instance"] == "cart-1"


def test_known_series_are_not_defined_again() -> None:
    reader = Reader()
    reader.feed(request(gauge(1.0)))
    reader.feed(request(gauge(2.0)))
    assert reader.last is not None
    assert len(reader.last.define_hash) == 0
    assert reader.last.value.tolist() == [2.0]


def test_series_are_defined_again_after_forget_and_keep_their_running_sum() -> None:
    reader = Reader()
    reader.feed(request(total(1, T, DELTA)))
    reader.series.forget()
    reader.labels.clear()
    assert reader.feed(request(total(2, T + 1, DELTA))) == {"hits_total": [(T + 1, 3.0)]}


def test_what_brings_nothing_between_two_forgets_is_let_go_of() -> None:
    reader = Reader()
    reader.feed(request(gauge(1.0, "gone"), gauge(1.0, "kept")))
    reader.series.forget()
    reader.feed(request(gauge(1.0, "kept")))
    reader.series.forget()
    assert len(reader.series) == 1
    assert reader.feed(request(gauge(3.0, "gone"), gauge(4.0, "kept"))) == {
        "gone": [(T, 3.0)],
        "kept": [(T, 4.0)],
    }


def test_attributes_that_become_one_label_are_joined_in_the_order_of_their_keys() -> None:
    attributes: Any = {"a_b": "2", "a__b": "1"}
    found = Reader().feed(request(gauge(1.0, **attributes)))
    assert list(found) == ['g{a_b="1;2"}']


def test_the_resource_is_stronger_than_an_attribute_named_job() -> None:
    reader = Reader()
    reader.feed(request(gauge(1.0, job="mine")))
    (labels,) = reader.labels.values()
    assert dict(labels)["job"] == "shop/cart"


def test_target_info_has_the_other_attributes_of_the_resource() -> None:
    found = Reader().feed(request(gauge(1.0), resource=SHOP | {"host.name": "h1"}))
    assert found['target_info{host_name="h1"}'] == [(T, 1.0)]


@pytest.mark.parametrize(
    "resource", [SHOP, {"host.name": "h1"}], ids=["nothing else to tell", "nobody to tell it of"]
)
def test_no_target_info(resource: dict[str, str]) -> None:
    assert list(Reader().feed(request(gauge(1.0), resource=resource))) == ["g"]


def test_target_info_is_there_all_through_a_long_batch() -> None:
    found = Reader().feed(
        request(gauge(1.0), gauge(2.0, time_ms=T + 400_000), resource=SHOP | {"host.name": "h1"})
    )
    times = [time_ms - T for time_ms, _ in found['target_info{host_name="h1"}']]
    assert times == [0, 150_000, 300_000, 400_000]


def test_a_century_in_one_batch_stays_bounded() -> None:
    found = Reader().feed(
        request(gauge(1.0, time_ms=1), gauge(2.0, time_ms=9_000_000_000_000), resource=SHOP | {"a": "b"})
    )
    assert len(found['target_info{a="b"}']) <= 1002


def test_a_histogram_is_cumulative_buckets_sum_and_count() -> None:
    assert Reader().feed(request(histogram([1, 2, 3], [0.1, 1.0]))) == {
        "lat_seconds_count": [(T, 6.0)],
        "lat_seconds_sum": [(T, 1.5)],
        'lat_seconds_bucket{le="0.1"}': [(T, 1.0)],
        'lat_seconds_bucket{le="1"}': [(T, 3.0)],
        'lat_seconds_bucket{le="+Inf"}': [(T, 6.0)],
    }


def test_a_histogram_without_buckets_has_the_last_one() -> None:
    found = Reader().feed(request(histogram([], [])))
    assert set(found) == {"lat_seconds_count", "lat_seconds_sum", 'lat_seconds_bucket{le="+Inf"}'}


def test_an_exemplar_goes_to_its_bucket() -> None:
    reader = Reader()
    reader.feed(request(histogram([1, 2, 3], [0.1, 1.0])))
    out = reader.last
    assert out is not None
    (at,) = out.exemplar_series.tolist()
    assert written(reader.labels[int(out.series_hash[at])]) == 'lat_seconds_bucket{le="1"}'
    labels = decode_labels(out.raw[out.exemplar_off[0] :][: out.exemplar_len[0]].tobytes())
    assert labels == (("span_id", "0b" * 8), ("trace_id", "0a" * 16))
    assert (out.exemplar_value[0], out.exemplar_time_ms[0]) == (0.3, T)


def test_deltas_are_added_up() -> None:
    reader = Reader()
    steps = [
        reader.feed(request(total(v, T + i, DELTA)))["hits_total"][0][1] for i, v in enumerate([1, 4, 2])
    ]
    assert steps == [1.0, 5.0, 7.0]


def test_deltas_of_histograms_are_added_up_by_bucket() -> None:
    reader = Reader()
    reader.feed(request(histogram([1, 1], [0.5], T, DELTA)))
    found = reader.feed(request(histogram([2, 3], [0.5], T + 1, DELTA)))
    assert found['lat_seconds_bucket{le="0.5"}'] == [(T + 1, 3.0)]
    assert found['lat_seconds_bucket{le="+Inf"}'] == [(T + 1, 7.0)]


def test_a_delta_that_comes_late_is_refused() -> None:
    reader = Reader()
    reader.feed(request(total(1, T, DELTA)))
    assert reader.feed(request(total(1, T, DELTA))) == {}
    assert reader.series.refused == {"late_delta": 1}


def test_no_recorded_value_is_a_stale_marker_and_leaves_a_running_sum_alone() -> None:
    reader = Reader()
    reader.feed(request(total(1, T, DELTA)))
    gone = request(total(0, T + 1, DELTA))
    gone.resource_metrics[0].scope_metrics[0].metrics[0].sum.data_points[0].flags = 1
    reader.feed(gone)
    assert reader.last is not None
    assert reader.last.value.view(np.uint64).tolist() == [STALE_NAN_BITS]
    assert reader.feed(request(total(1, T + 2, DELTA))) == {"hits_total": [(T + 2, 2.0)]}


def test_unspecified_temporality_is_refused() -> None:
    reader = Reader()
    assert reader.feed(request(total(1, temporality=0))) == {}
    assert reader.series.refused == {"unspecified_temporality": 1}


def test_series_past_the_limit_are_refused_and_others_live_on() -> None:
    reader = Reader(max_series=1)
    assert reader.feed(request(gauge(1.0, "a"), gauge(1.0, "b"))) == {"a": [(T, 1.0)]}
    assert reader.series.refused == {"series_limit": 1}


def test_a_name_of_which_nothing_is_left_is_refused() -> None:
    reader = Reader()
    assert reader.feed(request(gauge(1.0, "###"))) == {}
    assert reader.series.refused == {"bad_metric_name": 1}


def test_a_summary_has_quantiles() -> None:
    def fill(metric: Metric) -> None:
        metric.name = "wait"
        point = metric.summary.data_points.add(time_unix_nano=T * MS, count=4, sum=8.0)
        point.quantile_values.add(quantile=0.5, value=1.5)

    assert Reader().feed(request(fill)) == {
        "wait_count": [(T, 4.0)],
        "wait_sum": [(T, 8.0)],
        'wait{quantile="0.5"}': [(T, 1.5)],
    }


def test_an_exponential_histogram_is_one_native_histogram() -> None:
    reader = Reader()
    assert reader.feed(request(exponential([1, 2]))) == {}
    out = reader.last
    assert out is not None
    assert out.histogram_count.tolist() == [1]
    assert out.histogram_time_ms.tolist() == [T]
    assert [written(labels) for labels in reader.labels.values()] == ["exp"]


def test_deltas_of_exponential_histograms_are_added_up() -> None:
    reader = Reader()
    reader.feed(request(exponential([1, 2], time_ms=T, temporality=DELTA)))
    reader.feed(request(exponential([1, 2], time_ms=T + 1, temporality=DELTA)))
    out = reader.last
    assert out is not None
    message = out.raw[out.histogram_off[0] :][: out.histogram_len[0]].tobytes()
    assert message[:2] == b"\x08\x06"
    assert message[2:11] == b"\x19" + struct.pack("<d", 4.0)


def test_a_scale_that_prometheus_does_not_have_is_refused() -> None:
    reader = Reader()
    assert reader.feed(request(exponential([1], scale=-5))) == {}
    assert reader.series.refused == {"scale_too_coarse": 1}


def test_metadata_come_once_a_family() -> None:
    reader = Reader()
    reader.feed(request(gauge(1.0, kind="a"), gauge(1.0, kind="b")))
    assert reader.last is not None
    assert len(reader.last.metadata_off) == 1


def test_scopes_are_labels_where_they_are_promoted() -> None:
    found = Reader(Translation(promote_scope=True)).feed(request(gauge(1.0), scope="lib"))
    assert list(found) == ['g{otel_scope_name="lib"}']


def test_two_versions_of_a_scope_are_two_series_where_scopes_are_promoted() -> None:
    reader = Reader(Translation(promote_scope=True))
    built = request(gauge(1.0), scope="lib")
    second = built.resource_metrics[0].scope_metrics.add()
    second.scope.name, second.scope.version = "lib", "2"
    gauge(2.0)(second.metrics.add())
    assert set(reader.feed(built)) == {
        'g{otel_scope_name="lib"}',
        'g{otel_scope_name="lib",otel_scope_version="2"}',
    }


def test_promoted_attributes_of_the_resource_are_labels() -> None:
    translation = Translation(promote_resource_attributes=frozenset({"k8s.pod.name"}))
    found = Reader(translation).feed(request(gauge(1.0), resource=SHOP | {"k8s.pod.name": "p"}))
    assert 'g{k8s_pod_name="p"}' in found


def test_names_stay_as_they_are_without_translation() -> None:
    found = Reader(Translation(strategy=Strategy.UTF8)).feed(request(total(1, name="http.hits")))
    assert list(found) == ["http.hits"]


def test_the_order_of_attributes_makes_no_other_series() -> None:
    reader = Reader()
    reader.feed(request(gauge(1.0, a="1", b="2")))
    reader.feed(request(gauge(1.0, b="2", a="1")))
    assert len(reader.series) == 1


def test_the_settings_say_how() -> None:
    settings = OtlpSettings("NoTranslation", "a.b, c", promote_scope_metadata=True)
    expected = Translation(Strategy.UTF8, frozenset({"a.b", "c"}), promote_scope=True)
    assert Translation.of(settings) == expected
    assert Translation.of(OtlpSettings()) == Translation()


@pytest.mark.parametrize("room", range(6))
def test_an_exemplar_whose_bucket_has_no_room_is_left_out(room: int) -> None:
    reader = Reader(max_series=room)
    reader.feed(request(histogram([0, 0, 3], [0.1, 0.2])))
    out = reader.last
    assert out is not None
    shown = [written(reader.labels[int(out.series_hash[at])]) for at in out.exemplar_series]
    assert shown == (['lat_seconds_bucket{le="+Inf"}'] if room >= 2 else [])
