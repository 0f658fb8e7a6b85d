"""The counter reset hints of the samples of one series, as Prometheus' storage gives them.

Its chunks begin anew at a reset, where the layout changes, after a stale marker and where gauges begin or end.
Within one, every sample but the first is known not to be a reset; of the first it says nothing, because the
chunk before may be another one by the time it is read. PromQL shows these hints and warns by them, and range
functions need not compare samples that say what they are.
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
    """The samples, in time order, with the hints that follow from them. Gauges stay gauges, stale markers are as
    they were."""
    out: list[FloatHistogram] = []
    before: FloatHistogram | None = None
    for sample in samples:
        out.append(sample if sample.stale else sample.hinted(_hint(sample, before)))
        before = sample
    return out


def _hint(now: FloatHistogram, before: FloatHistogram | None) -> CounterReset:
    if now.hint is CounterReset.GAUGE:
        return now.hint
    begins = (
        now.hint is CounterReset.RESET
        or before is None
        or before.stale
        or before.hint is CounterReset.GAUGE
        or now.count < before.count
        or now.schema != before.schema
        or now.zero_threshold != before.zero_threshold
        or not np.array_equal(now.custom_values, before.custom_values)
        or now.zero_count < before.zero_count
        or lost(before.positive, now.positive)
        or lost(before.negative, now.negative)
    )
    return CounterReset.UNKNOWN if begins else CounterReset.NOT_RESET
