"""What OpenMetrics 1.0 asks of the samples of a family, by its type.

``check_sample`` looks at one line, ``FamilyCheck`` at their order: metrics (a label set without what tells
buckets, quantiles and states apart) and the points of a metric (one timestamp) must not be interleaved, and
a point must be whole. All raise ``ValueError``.
"""

from __future__ import annotations

import math
from decimal import Decimal
from itertools import pairwise

from agent.telemetry.openmetrics_lines import number
from agent.telemetry.openmetrics_model import LabelPairs, MetricType, Sample

SUFFIXES: dict[MetricType, tuple[str, ...]] = {
    MetricType.COUNTER: ("_total", "_created"),
    MetricType.SUMMARY: ("", "_count", "_sum", "_created"),
    MetricType.HISTOGRAM: ("_count", "_sum", "_bucket", "_created"),
    MetricType.GAUGEHISTOGRAM: ("_gcount", "_gsum", "_bucket"),
    MetricType.INFO: ("_info",),
}
HISTOGRAMS = (MetricType.HISTOGRAM, MetricType.GAUGEHISTOGRAM)
NO_UNIT = (MetricType.INFO, MetricType.STATESET)
NOT_NAN = ("_total", "_sum", "_count", "_bucket", "_gcount", "_gsum")
NOT_NEGATIVE = ("_total", "_sum", "_count", "_bucket", "_gcount")
WHOLE = ("_count", "_bucket", "_gcount")
WITH_EXEMPLARS = {
    MetricType.COUNTER: "_total",
    MetricType.HISTOGRAM: "_bucket",
    MetricType.GAUGEHISTOGRAM: "_bucket",
}


def suffixes(kind: MetricType) -> tuple[str, ...]:
    return SUFFIXES.get(kind, ("",))


def check_sample(kind: MetricType, family: str, sample: Sample) -> None:
    suffix = sample.name[len(family) :]
    _check_value(kind, suffix, sample.value)
    if sample.exemplar and WITH_EXEMPLARS.get(kind) != suffix:
        raise ValueError(f"{sample.name} of a {kind} cannot have an exemplar")
    if kind in HISTOGRAMS:
        _check_bucket(suffix, sample)
    elif kind is MetricType.SUMMARY:
        _check_quantile(suffix, sample)
    elif kind is MetricType.STATESET and sample.label(family) is None:
        raise ValueError(f"a state of {family} needs the label {family!r} that names it")


def _check_value(kind: MetricType, suffix: str, value: float) -> None:
    if kind is MetricType.STATESET and value not in (0, 1):
        raise ValueError(f"a state is 0 or 1, got {value}")
    if kind is MetricType.INFO and value != 1:
        raise ValueError(f"the value of an info is 1, got {value}")
    if suffix in NOT_NAN and math.isnan(value):
        raise ValueError(f"{suffix} must not be NaN")
    if suffix in NOT_NEGATIVE and value < 0:
        raise ValueError(f"{suffix} must not be negative, got {value}")
    if suffix in WHOLE and not (math.isinf(value) or value.is_integer()):
        raise ValueError(f"{suffix} must be a whole number, got {value}")
    if suffix == "_created" and not math.isfinite(value):
        raise ValueError(f"_created must be a time, got {value}")
    if kind is MetricType.SUMMARY and suffix == "" and value < 0:
        raise ValueError(f"a quantile must not be negative, got {value}")


def _check_bucket(suffix: str, sample: Sample) -> None:
    le = sample.label("le")
    if suffix != "_bucket":
        if le is not None:
            raise ValueError(f"{sample.name} must not have the label le")
        return
    bound = bound_of(le)
    if sample.exemplar and not sample.exemplar.value <= bound:
        raise ValueError(f"an exemplar of {sample.exemplar.value} does not lie in the bucket up to {le}")


def bound_of(le: str | None) -> float:
    if le is None:
        raise ValueError("a bucket needs the label le")
    bound = number(le)
    if math.isnan(bound) or (bound == math.inf and le != "+Inf"):
        raise ValueError(f"le: got {le!r}, expected a number or +Inf")
    return bound


def _check_quantile(suffix: str, sample: Sample) -> None:
    quantile = sample.label("quantile")
    if suffix:
        if quantile is not None:
            raise ValueError(f"{sample.name} must not have the label quantile")
        return
    if quantile is None or not 0 <= number(quantile) <= 1:
        raise ValueError(f"quantile: got {quantile!r}, expected a number from 0 to 1")


def metric_of(kind: MetricType, family: str, sample: Sample) -> LabelPairs:
    """The labels of the metric that a sample belongs to. The labels of an info cannot be told apart into
    those of the metric and those of the point, so that all infos of a family are one."""
    if kind is MetricType.INFO:
        return ()
    own = ""
    if kind in HISTOGRAMS:
        own = "le"
    elif kind is MetricType.SUMMARY:
        own = "quantile"
    elif kind is MetricType.STATESET:
        own = family
    return tuple(sorted((name, value) for name, value in sample.labels if name != own))


class FamilyCheck:
    """Fed with the samples of one family in their order; ``close`` ends it."""

    def __init__(self, kind: MetricType, name: str) -> None:
        self._kind, self._name = kind, name
        self._metric: LabelPairs | None = None
        self._time_s: Decimal | None = None
        self._ended: set[LabelPairs] = set()
        self._seen: set[tuple[str, LabelPairs]] = set()
        self._point: list[Sample] = []

    def add(self, sample: Sample) -> None:
        check_sample(self._kind, self._name, sample)
        metric = metric_of(self._kind, self._name, sample)
        if metric != self._metric:
            self._next_metric(metric)
        elif sample.time_s != self._time_s:
            self._next_point(sample.time_s)
        self._time_s = sample.time_s
        series = sample.name, tuple(sorted(sample.labels))
        if series not in self._seen:
            self._point.append(sample)
        elif sample.time_s is None:
            raise ValueError(f"{sample.name} is there twice with the same labels")
        self._seen.add(series)

    def close(self) -> None:
        if self._point:
            _check_point(self._kind, self._name, self._point)
        self._point, self._seen = [], set()

    def _next_metric(self, metric: LabelPairs) -> None:
        self.close()
        if metric in self._ended:
            raise ValueError(f"the samples of a metric of {self._name} do not stand together")
        if self._metric is not None:
            self._ended.add(self._metric)
        self._metric = metric

    def _next_point(self, time_s: Decimal | None) -> None:
        self.close()
        if (time_s is None) != (self._time_s is None):
            raise ValueError(f"some samples of a metric of {self._name} have a timestamp and some have none")
        if self._kind is MetricType.INFO or time_s is None or self._time_s is None:
            return
        if time_s < self._time_s:
            raise ValueError(f"timestamps of a metric of {self._name} go backwards")


def _check_point(kind: MetricType, name: str, point: list[Sample]) -> None:
    if kind is MetricType.COUNTER and not any(sample.name == f"{name}_total" for sample in point):
        raise ValueError(f"a point of the counter {name} has no {name}_total")
    if kind in HISTOGRAMS:
        _check_histogram(name, point)


def _check_histogram(name: str, point: list[Sample]) -> None:
    by_suffix = {sample.name[len(name) :]: sample.value for sample in point}
    buckets = [(bound_of(s.label("le")), s.value) for s in point if s.name == f"{name}_bucket"]
    for (bound, below), (next_bound, next_count) in pairwise(buckets):
        if next_bound <= bound:
            raise ValueError(f"buckets of {name} are not in the order of le: {next_bound} after {bound}")
        if next_count < below:
            raise ValueError(f"buckets of {name} must be cumulative: {next_count} after {below}")
    if not buckets or buckets[-1][0] != math.inf:
        raise ValueError(f'a point of the histogram {name} has no bucket with le="+Inf"')
    count, total = by_suffix.get("_count", by_suffix.get("_gcount")), by_suffix.get("_sum")
    gauge_total = by_suffix.get("_gsum")
    if count is not None and count != buckets[-1][1]:
        raise ValueError(f"the count of {name} is {count}, but its +Inf bucket {buckets[-1][1]}")
    if (count is None) != (total is None and gauge_total is None):
        raise ValueError(f"a point of {name} must have both count and sum, or none")
    negative = buckets[0][0] < 0
    if negative and total is not None:
        raise ValueError(f"{name} has buckets below 0, so that it cannot have a sum")
    if not negative and gauge_total is not None and gauge_total < 0:
        raise ValueError(f"{name}_gsum is negative without a bucket below 0")
