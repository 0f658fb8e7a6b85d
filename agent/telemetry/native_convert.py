"""Histograms of other formats as native ones.

An exponential histogram of OTLP has the buckets of a native one under other numbers: its bucket ``i`` ends at
``base ** (i + 1)``, ours at ``base ** i``. Scales above 8 are merged down, those below -4 have no counterpart
(the rules of OpenTelemetry's "Prometheus and OpenMetrics compatibility" and of Prometheus' otlptranslator).
Explicit bounds become custom buckets.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.telemetry.frames import F64
from agent.telemetry.native_buckets import CUSTOM_SCHEMA, EMPTY_SIDE, MAX_SCHEMA, MIN_SCHEMA, Side
from agent.telemetry.native_histogram import FloatHistogram, InvalidHistogram

ZERO_THRESHOLD = 1e-128  # of a point that does not tell its own


@dataclass(frozen=True, slots=True)
class Totals:
    count: float
    sum: float
    zero_count: float = 0.0
    zero_threshold: float = ZERO_THRESHOLD


def from_exponential(
    scale: int, positive: tuple[int, F64], negative: tuple[int, F64], totals: Totals
) -> FloatHistogram:
    """``positive`` and ``negative`` are OTLP's offset and counts. Raises InvalidHistogram for a scale below
    -4."""
    if scale < MIN_SCHEMA:
        raise InvalidHistogram(
            f"cannot convert exponential to native histogram: scale must be >= {MIN_SCHEMA}, was {scale}"
        )
    sides = [_moved(offset, counts, max(0, scale - MAX_SCHEMA)) for offset, counts in (positive, negative)]
    return FloatHistogram(
        min(scale, MAX_SCHEMA),
        totals.count,
        totals.sum,
        totals.zero_threshold,
        totals.zero_count,
        sides[0],
        sides[1],
    )


def from_explicit(bounds: F64, counts: F64, total: float) -> FloatHistogram:
    """``counts`` has one more than ``bounds``, for what lies above the last; ``total`` is the sum of the
    observations. A last bound of +Inf is the open bucket's. Raises InvalidHistogram."""
    bounds, counts = np.asarray(bounds, np.float64), np.asarray(counts, np.float64)
    if len(bounds) and bounds[-1] == np.inf:
        bounds, counts = bounds[:-1], np.append(counts[: len(bounds) - 1], counts[len(bounds) - 1 :].sum())
    if len(counts) != len(bounds) + 1:
        raise InvalidHistogram(
            f"{len(bounds)} bounds make {len(bounds) + 1} buckets, got {len(counts)} counts"
        )
    positive = Side.at(0, counts).compact()
    return FloatHistogram(CUSTOM_SCHEMA, float(counts.sum()), total, positive=positive, custom_values=bounds)


def _moved(offset: int, counts: F64, finer: int) -> Side:
    used = np.flatnonzero(counts)
    if not len(used):
        return EMPTY_SIDE
    coarse, place = np.unique((offset + used) >> finer, return_inverse=True)
    return Side(
        (coarse + 1).astype(np.int32),
        np.bincount(place, np.asarray(counts, np.float64)[used]).astype(np.float64),
    )
