"""A scrape in protobuf: families to samples and native histograms, series known again by their label bytes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import numpy as np

from agent.telemetry.exposition import canonical_float
from agent.telemetry.exposition_protobuf import (
    COUNTER,
    GAUGE,
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    SUMMARY,
    TYPES,
    families,
    histogram_field,
    is_native,
)
from agent.telemetry.labels import METRIC_NAME
from agent.telemetry.openmetrics_model import BadExposition, Exemplar
from agent.telemetry.scrape_cache import ExemplarRow, Metadata, Scraped, TextCache, Times
from agent.telemetry.scrape_series import Samples

FORGET_AFTER = 1000

# The end of the name, the label that a sample has more, its value, its exemplar.
Part = tuple[str, tuple[str, str] | None, float, Any]


class ProtobufCache:
    def __init__(self, cache: TextCache, classic: bool) -> None:
        """``classic``: the classic buckets of native histograms are wanted, too."""
        self._cache, self._classic = cache, classic
        self._series: dict[tuple[str, str, tuple[bytes, ...]], int] = {}

    def read(self, body: bytes, times: Times) -> Scraped:
        """The samples of an exposition. Raises ``BadExposition``, or what resolving a series raises."""
        reading = _Reading(times)
        for place, family in enumerate(families(body), 1):
            known = Metadata(TYPES[family.type], family.help, family.unit)
            self._cache.describe(family.name, known)
            try:
                for metric in family.metric:
                    self._metric(family, metric, reading)
            except ValueError as error:
                raise BadExposition(place, str(error)) from None
        if len(self._series) > 2 * reading.exposed + FORGET_AFTER:
            self._series.clear()
        return reading.scraped()

    def _metric(self, family: Any, metric: Any, reading: _Reading) -> None:
        native = metric.HasField("histogram") and is_native(metric.histogram)
        time_ms, tracked = reading.time_of(metric)
        if native:
            series = self._known(family.name, "", metric, None)
            reading.exposed += 1
            if series >= 0:
                is_gauge = family.type == GAUGE_HISTOGRAM
                field = histogram_field(metric.histogram, time_ms, is_gauge)
                reading.histograms.append((series, field))
                self._exemplars(series, metric.histogram.exemplars, time_ms, reading)
        if native and not self._classic:
            return
        for suffix, label, value, exemplar in _parts(family.type, metric):
            series = self._known(family.name, suffix, metric, label)
            reading.exposed += 1
            if series >= 0:
                reading.rows.append((series, time_ms, value, tracked))
                self._exemplars(series, [exemplar] if exemplar is not None else [], time_ms, reading)

    def _known(self, name: str, suffix: str, metric: Any, label: tuple[str, str] | None) -> int:
        pairs = tuple(pair.SerializeToString() for pair in metric.label)
        key = (name + suffix, label[1] if label else "", pairs)
        if key not in self._series:
            labels = {pair.name: pair.value for pair in metric.label}
            if len(labels) != len(pairs):
                raise ValueError(f"a metric of {name} has a label twice")
            labels |= {METRIC_NAME: name + suffix, **(dict([label]) if label else {})}
            self._series[key] = self._cache.resolve(labels)
        return self._series[key]

    def _exemplars(self, series: int, found: Iterable[Any], time_ms: int, reading: _Reading) -> None:
        for one in found:
            if not self._cache.is_new(series, one.SerializeToString()):
                continue
            own_s: Decimal | None = None
            if one.HasField("timestamp"):
                own_s = Decimal(one.timestamp.seconds) + Decimal(one.timestamp.nanos) / 10**9
                time_ms = int(own_s * 1000)
            labels = tuple((pair.name, pair.value) for pair in one.label)
            reading.exemplars.append(ExemplarRow(series, Exemplar(labels, one.value, own_s), time_ms))


class _Reading:
    """What one exposition comes to, row by row."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self.rows: list[tuple[int, int, float, bool]] = []
        self.exemplars: list[ExemplarRow] = []
        self.histograms: list[tuple[int, bytes]] = []
        self.exposed = 0

    def time_of(self, metric: Any) -> tuple[int, bool]:
        """The time of a metric, and whether its end is to be told by a stale marker."""
        if self._times.honor and metric.HasField("timestamp_ms"):
            return metric.timestamp_ms, self._times.track
        return self._times.now_ms, True

    def scraped(self) -> Scraped:
        series, time_ms, values, tracked = zip(*self.rows, strict=True) if self.rows else ((), (), (), ())
        bits = np.asarray(values, np.float64).view(np.uint64)
        samples = Samples(
            np.asarray(series, np.int64), np.asarray(time_ms, np.int64), bits, np.asarray(tracked, np.bool_)
        )
        return Scraped(samples, self.exposed, self.exemplars, self.histograms)


def _parts(kind: int, metric: Any) -> Iterator[Part]:
    """The float samples of a metric."""
    if kind == COUNTER:
        exemplar = metric.counter.exemplar if metric.counter.HasField("exemplar") else None
        yield "", None, metric.counter.value, exemplar
    elif kind == GAUGE:
        yield "", None, metric.gauge.value, None
    elif kind == SUMMARY:
        yield "_count", None, float(metric.summary.sample_count), None
        yield "_sum", None, metric.summary.sample_sum, None
        for one in metric.summary.quantile:
            yield "", ("quantile", canonical_float(one.quantile)), one.value, None
    elif kind in (HISTOGRAM, GAUGE_HISTOGRAM):
        yield from _buckets(metric.histogram)
    else:
        yield "", None, metric.untyped.value, None


def _buckets(histogram: Any) -> Iterator[Part]:
    """Count, sum and buckets; the last bucket is that of all, whether it was sent or not."""
    count = histogram.sample_count_float or float(histogram.sample_count)
    yield "_count", None, count, None
    yield "_sum", None, histogram.sample_sum, None
    bound = -math.inf
    for bucket in histogram.bucket:
        bound = bucket.upper_bound
        exemplar = bucket.exemplar if bucket.HasField("exemplar") else None
        value = bucket.cumulative_count_float or float(bucket.cumulative_count)
        yield "_bucket", ("le", canonical_float(bound)), value, exemplar
    if bound != math.inf:
        yield "_bucket", ("le", "+Inf"), count, None
