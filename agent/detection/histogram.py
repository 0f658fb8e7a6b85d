"""The one latency histogram of the layer: 130 log-spaced buckets, the same for every series.

Bucket 0 holds what is below 50 us, bucket ``i`` of 1..128 holds ``[50 us * 2^((i-1)/6), 50 us * 2^(i/6))``
(12.2 % wide, up to 132 s), bucket 129 the rest. A constant scheme means that histograms of any two
series, instances or bins are added bucket by bucket, and that a bin costs 520 bytes whatever its load.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from agent.telemetry.frames import F64

BUCKETS = 130
LOWEST_NS = 50_000.0
PER_OCTAVE = 6

_INNER = LOWEST_NS * 2.0 ** (np.arange(BUCKETS - 1) / PER_OCTAVE)
UPPER_NS: F64 = np.append(_INNER, _INNER[-1] * 2.0 ** (1 / PER_OCTAVE))
"""Exclusive upper edges; the last bucket is given one more step so that quantiles stay finite."""
LOWER_NS: F64 = np.append(0.0, _INNER)
_UPPER, _LOWER = UPPER_NS, LOWER_NS


@njit(cache=True, nogil=True, inline="always")
def bucket_of(duration_ns: float) -> int:
    """The bucket of a duration; negative ones (a clock that went back) count as 0."""
    if duration_ns < LOWEST_NS:
        return 0
    bucket = 1 + int(math.log2(duration_ns / LOWEST_NS) * PER_OCTAVE)
    return min(bucket, BUCKETS - 1)


@njit(cache=True, nogil=True)
def quantile_of(buckets: npt.NDArray[np.float64], total: float, q: float) -> float:
    """The ``q`` quantile (ns) of one histogram, linear inside the bucket it falls into; NaN if empty."""
    if total <= 0:
        return math.nan
    rank = q * total
    below = 0.0
    for i in range(buckets.shape[0]):
        inside = buckets[i]
        if inside > 0 and below + inside >= rank:
            return float(_LOWER[i] + (_UPPER[i] - _LOWER[i]) * (rank - below) / inside)
        below += inside
    return float(_UPPER[-1])


def quantiles(buckets: npt.NDArray[np.generic], q: float) -> F64:
    """The ``q`` quantile (ns) of each row of ``buckets[n, BUCKETS]``; NaN where a row is empty."""
    return _quantiles(np.ascontiguousarray(buckets, np.float64), q)


@njit(cache=True, nogil=True)
def _quantiles(buckets: npt.NDArray[np.float64], q: float) -> npt.NDArray[np.float64]:
    out = np.empty(buckets.shape[0])
    for row in range(buckets.shape[0]):
        out[row] = quantile_of(buckets[row], buckets[row].sum(), q)
    return out
