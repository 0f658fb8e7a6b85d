"""Native histograms made from observations, bucket by bucket, as the definition of the format has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from agent.telemetry.native import FloatHistogram, Side
from agent.telemetry.native_buckets import bucket_index


def observed(values: Sequence[float], schema: int = 2, zero_threshold: float = 0.01) -> FloatHistogram:
    outside = [value for value in values if abs(value) > zero_threshold]
    return FloatHistogram(
        schema,
        float(len(values)),
        float(sum(values)),
        zero_threshold,
        float(len(values) - len(outside)),
        _side([value for value in outside if value > 0], schema),
        _side([-value for value in outside if value < 0], schema),
    )


def _side(values: list[float], schema: int) -> Side:
    counts = Counter(bucket_index(value, schema) for value in values)
    index = sorted(counts)
    return Side(np.array(index, np.int32), np.array([counts[i] for i in index], np.float64))
