"""The counter reset hints of the samples of one series, as Prometheus' storage gives them.

Its chunks begin anew at a reset, where the layout changes, after a stale marker and where gauges begin or end;
within one, every sample but the first is known not to be a reset. PromQL shows these hints and warns by
them, and range functions need not compare samples that say what they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.telemetry.native_buckets import lost
from agent.telemetry.native_histogram import CounterReset, FloatHistogram
from agent.telemetry.native_wire import decode_histogram


def decode_histograms(messages: Sequence[bytes]) -> list[FloatHistogram]:
    """The samples of a series, in time order, with the hints that Prometheus' storage gives them. Raises
    InvalidHistogram."""
    return hinted([decode_histogram(message) for message in messages])


def hinted(samples: Sequence[FloatHistogram]) -> list[FloatHistogram]:
    """The samples, in time order, with the hints that follow from them. Gauges stay gauges, and what came as a
    reset stays one; stale markers are as they were."""
    out: list[FloatHistogram] = []
    before: FloatHistogram | None = None
    for sample in samples:
        out.append(sample if sample.stale else sample.hinted(_hint(sample, before)))
        before = sample
    return out


def _hint(now: FloatHistogram, before: FloatHistogram | None) -> CounterReset:
    if now.hint in (CounterReset.GAUGE, CounterReset.RESET):
        return now.hint
    if before is None or before.stale or before.hint is CounterReset.GAUGE:
        return CounterReset.UNKNOWN
    if now.count < before.count:
        return CounterReset.RESET
    if (
        now.schema != before.schema
        or now.zero_threshold != before.zero_threshold
        or not np.array_equal(now.custom_values, before.custom_values)
    ):
        return CounterReset.UNKNOWN
    fell = (
        now.zero_count < before.zero_count
        or lost(before.positive, now.positive)
        or lost(before.negative, now.negative)
    )
    return CounterReset.RESET if fell else CounterReset.NOT_RESET
