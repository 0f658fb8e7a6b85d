"""What range functions and aggregations make of native histograms, as Prometheus 3 does.

Samples of one series and one window come in as arrays of times (Unix ms, ascending) and ``FloatHistogram``
objects, stale markers taken out; a histogram or None (no result) goes out, annotations go to ``notes``. A
result that is a difference is a gauge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from agent.promql.functions import texts
from agent.promql.functions.kinds import Notes
from agent.promql.values import Objects
from agent.telemetry.frames import I64
from agent.telemetry.native import CounterReset, FloatHistogram, IncompatibleSchemas
from agent.telemetry.native_kahan import KahanMean, KahanSum

ADDITION, SUBTRACTION, AGGREGATION = "addition", "subtraction", "aggregation"
_CLOSE = 1.1  # average intervals: a sample this near to the border of the range stands for all up to it


@dataclass(frozen=True, slots=True)
class Span:
    """The range of a window: ``start_ms`` is not in it, ``end_ms`` is."""

    start_ms: int
    end_ms: int

    @property
    def seconds(self) -> float:
        return (self.end_ms - self.start_ms) / 1000


@dataclass(frozen=True, slots=True)
class Voice:
    """Where annotations of a series go: the collector, the metric's name, the argument they point to."""

    notes: Notes
    metric: str
    argument: int = 0

    def not_a_counter(self) -> None:
        self.notes.warning(not_a_counter(self.metric), self.argument)

    def not_a_gauge(self) -> None:
        self.notes.warning(not_a_gauge(self.metric), self.argument)

    def mixed_schemas(self) -> None:
        self.notes.warning(mixed_schemas(self.metric), self.argument)

    def reconciled(self, operation: str) -> None:
        self.notes.info(reconciled(operation), self.argument)

    def collision(self, operation: str) -> None:
        self.notes.warning(collision(operation), self.argument)


def not_a_counter(metric: str) -> str:
    return f"this native histogram metric is not a counter: {texts.quoted(metric)}"


def not_a_gauge(metric: str) -> str:
    return f"this native histogram metric is not a gauge: {texts.quoted(metric)}"


def mixed_schemas(metric: str) -> str:
    return (
        "vector contains a mix of histograms with exponential and custom buckets schemas for metric name "
        f"{texts.quoted(metric)}"
    )


def reconciled(operation: str) -> str:
    """``operation`` is ADDITION, SUBTRACTION or AGGREGATION."""
    return f"mismatched custom buckets were reconciled during {operation}"


def collision(operation: str) -> str:
    return f"conflicting counter resets during histogram {operation}"


MIXED_AGGREGATION = "encountered a mix of histograms and floats for aggregation"


def rate(
    time_ms: I64, samples: Objects, span: Span, voice: Voice, *, per_second: bool
) -> FloatHistogram | None:
    """``rate``, or ``increase`` where not ``per_second``."""
    return _extrapolated(time_ms, samples, span, voice, is_counter=True, per_second=per_second)


def delta(time_ms: I64, samples: Objects, span: Span, voice: Voice) -> FloatHistogram | None:
    return _extrapolated(time_ms, samples, span, voice, is_counter=False, per_second=False)


def instant(time_ms: I64, samples: Objects, voice: Voice, *, is_rate: bool) -> FloatHistogram | None:
    """``irate``, or ``idelta`` where not ``is_rate``: the last two samples."""
    if len(samples) < 2 or time_ms[-1] == time_ms[-2]:
        return None
    before: FloatHistogram = samples[-2]
    last: FloatHistogram = samples[-1]
    gauges = [h.hint is CounterReset.GAUGE for h in (before, last)]
    if is_rate and any(gauges):
        voice.not_a_counter()
    if not is_rate and not all(gauges):
        voice.not_a_gauge()
    result = last
    if not is_rate or not last.detect_reset(before):
        try:
            difference = last.sub(before)
        except IncompatibleSchemas:
            voice.mixed_schemas()
            return None
        if difference.reconciled:
            voice.reconciled(SUBTRACTION)
        result = difference.histogram
    result = result.hinted(CounterReset.GAUGE).compact()
    return result.div(int(time_ms[-1] - time_ms[-2]) / 1000) if is_rate else result


def total(samples: Iterable[FloatHistogram], voice: Voice) -> FloatHistogram | None:
    """``sum_over_time`` and the ``sum`` of one group: the compensated sum."""
    return _folded(KahanSum, samples, voice)


def mean(samples: Iterable[FloatHistogram], voice: Voice) -> FloatHistogram | None:
    """``avg_over_time`` and the ``avg`` of one group."""
    return _folded(KahanMean, samples, voice)


def _folded(kind: type[KahanSum], samples: Iterable[FloatHistogram], voice: Voice) -> FloatHistogram | None:
    state: KahanSum | None = None
    try:
        for sample in samples:
            if state is None:
                state = kind(sample)
            else:
                state.add(sample)
    except IncompatibleSchemas:
        voice.mixed_schemas()
        return None
    if state is None:
        return None
    if state.collision:
        voice.collision(AGGREGATION)
    if state.reconciled:
        voice.reconciled(AGGREGATION)
    return state.result().compact()


def _extrapolated(
    time_ms: I64, samples: Objects, span: Span, voice: Voice, *, is_counter: bool, per_second: bool
) -> FloatHistogram | None:
    if len(samples) < 2:
        return None
    rise = _rise(samples, voice) if is_counter else _difference(samples, voice)
    if rise is None:
        return None
    first = samples[0].count if is_counter and rise.count > 0 else -1.0
    factor = _covered(time_ms, span, rise.count, first)
    return rise.mul(factor / span.seconds if per_second else factor)


def _covered(time_ms: I64, span: Span, rise: float, first: float) -> float:
    """By what the rise from the first to the last sample is multiplied to stand for the range. ``first`` is the
    first count of a counter, negative where zero does not bound."""
    to_start = (int(time_ms[0]) - span.start_ms) / 1000
    to_end = (span.end_ms - int(time_ms[-1])) / 1000
    sampled = (int(time_ms[-1]) - int(time_ms[0])) / 1000
    average = sampled / (len(time_ms) - 1)
    if to_start >= average * _CLOSE:
        to_start = average / 2
    if first >= 0:
        to_start = min(to_start, sampled * (first / rise))
    if to_end >= average * _CLOSE:
        to_end = average / 2
    return (sampled + to_start + to_end) / sampled


def _difference(samples: Objects, voice: Voice) -> FloatHistogram | None:
    """Last minus first, of gauges."""
    first: FloatHistogram = samples[0]
    last: FloatHistogram = samples[-1]
    try:
        result = last.sub(first)
    except IncompatibleSchemas:
        voice.mixed_schemas()
        return None
    if result.reconciled:
        voice.reconciled(SUBTRACTION)
    if first.hint is not CounterReset.GAUGE or last.hint is not CounterReset.GAUGE:
        voice.not_a_gauge()
    return result.histogram.hinted(CounterReset.GAUGE).compact()


def _rise(samples: Objects, voice: Voice) -> FloatHistogram | None:
    """Last minus first of counters, and what they held at each reset."""
    first: FloatHistogram = samples[0]
    second: FloatHistogram = samples[1]
    last: FloatHistogram = samples[-1]
    if second.detect_reset(first):
        # The layout of what was before the reset does not matter.
        first = FloatHistogram(second.schema, custom_values=second.custom_values)
    if any(h.hint is CounterReset.GAUGE for h in samples):
        voice.not_a_counter()
    if any(h.custom != first.custom for h in samples[1:]):
        voice.mixed_schemas()
        return None
    schema = min(first.schema, *(h.schema for h in samples[1:]))
    result = last.copy_to_schema(schema).sub(first)
    if result.reconciled:
        voice.reconciled(SUBTRACTION)
    rise, before = result.histogram, first
    for sample in samples[1:]:
        if sample.detect_reset(before):
            more = rise.add(before)
            if more.reconciled:
                voice.reconciled(ADDITION)
            rise = more.histogram
        before = sample
    return rise.hinted(CounterReset.GAUGE).compact()
