"""Classic histograms: bucket series grouped by their labels without ``le``, then one kernel over groups and
steps.

Buckets are cumulative counts by upper bound. The kernels follow Prometheus 3 (promql/quantile.go): equal
bounds are added up, differences below SMALL_DELTA are rounding, any other decrease is lifted and told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from agent.telemetry.frames import F64, I64, U64, Bool
from agent.telemetry.labels import LabelTable

BUCKET = "le"
SMALL_DELTA = 1e-12  # relative
_CLEARLY = 1e-9  # relative: such a rise needs no closer look
_LEAST_NORMAL = 2.2250738585072014e-308
_GREATEST = 1.7976931348623157e308


@dataclass(frozen=True, slots=True)
class Buckets:
    """Bucket series by histogram: those of histogram ``g`` are rows ``row[offsets[g]:offsets[g + 1]]`` of the
    vector, their upper bounds ascend in ``bound`` at the same places. ``labels`` has a set a histogram."""

    labels: LabelTable
    offsets: I64
    row: I64
    bound: F64

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Repairs:
    """What had to be lifted, a row a histogram: in how many steps, the lowest and the highest bound, the
    greatest difference, the first and the last step."""

    steps: I64
    lowest: F64
    highest: F64
    difference: F64
    first: I64
    last: I64


def bounds_of(labels: LabelTable) -> tuple[F64, Bool]:
    """``(upper bound, whether it could be read)`` of every series; each distinct text is read once."""
    if BUCKET not in labels.names:
        return np.full(len(labels), math.nan), np.zeros(len(labels), np.bool_)
    place = labels.names.index(BUCKET)
    codes, texts = labels.codes[:, place], labels.values[place]
    used, inverse = np.unique(codes, return_inverse=True)
    read = [number(texts[code]) if code >= 0 else None for code in used.tolist()]
    bound = np.array([math.nan if n is None else n for n in read], np.float64)
    readable = np.array([n is not None for n in read], np.bool_)
    return bound[inverse.reshape(-1)], readable[inverse.reshape(-1)]


def number(text: str) -> float | None:
    """A bound as Go's ParseFloat reads it; None where it does not."""
    if not text or not text.isascii() or "_" in text or text != text.strip():
        return None
    try:
        return float.fromhex(text) if "0x" in text.lower() else float(text)
    except (ValueError, OverflowError):
        return None


def by_histogram(labels: LabelTable, bound: F64, rows: I64) -> Buckets:
    """The bucket series ``rows`` by what they are but for ``le``."""
    group, distinct = labels.take(rows).drop((BUCKET,)).group()
    order = np.lexsort((bound[rows], group))
    offsets = np.zeros(len(distinct) + 1, np.int64)
    np.cumsum(np.bincount(group, minlength=len(distinct)), out=offsets[1:])
    return Buckets(distinct, offsets, rows[order], bound[rows[order]])


def quantiles(q: F64, buckets: Buckets, value: F64, present: Bool) -> tuple[F64, Bool, Repairs]:
    """``(value, present, repairs)``, the first two of shape (histograms, steps); ``q`` has one a step."""
    out, found, q = _room(buckets, q)
    begin, value, present = _flat(buckets, value, present)
    counts = np.zeros((3, len(buckets)), np.int64)
    extremes = np.empty((3, len(buckets)))
    extremes[0], extremes[1], extremes[2] = math.inf, -math.inf, 0.0
    _quantiles(q, buckets.offsets, begin, buckets.bound, value, present, out, found, counts, extremes)
    return out, found, Repairs(counts[0], extremes[0], extremes[1], extremes[2], counts[1], counts[2])


def fractions(lower: F64, upper: F64, buckets: Buckets, value: F64, present: Bool) -> tuple[F64, Bool]:
    """The share of observations between two values, one each a step: ``(value, present)``."""
    out, found, lower = _room(buckets, lower)
    begin, value, present = _flat(buckets, value, present)
    upper = np.require(upper, requirements=("C", "W"))
    _fractions(lower, upper, buckets.offsets, begin, buckets.bound, value, present, out, found)
    return out, found


def _room(buckets: Buckets, scalar: F64) -> tuple[F64, Bool, F64]:
    """Room for the value and the presence of the result, and a scalar in the layout that is compiled."""
    shape = (len(buckets), len(scalar))
    return np.zeros(shape), np.zeros(shape, np.bool_), np.require(scalar, requirements=("C", "W"))


def _flat(buckets: Buckets, value: F64, present: Bool) -> tuple[U64, F64, Bool]:
    """Where each bucket series begins in the flat columns, and these, in the layout that is compiled."""
    flat = np.require(value, requirements=("C", "W")).reshape(-1)
    there = np.require(present, requirements=("C", "W")).reshape(-1)
    return (buckets.row * value.shape[1]).astype(np.uint64), flat, there


def warm_up() -> None:
    """Compiles the kernels, or loads them from the cache."""
    labels = LabelTable((BUCKET,), np.array([[0], [1]], np.int32), (("1", "+Inf"),))
    bound, readable = bounds_of(labels)
    buckets = by_histogram(labels, bound, np.flatnonzero(readable))
    value, present = np.ones((2, 1)), np.ones((2, 1), np.bool_)
    quantiles(np.array([0.5]), buckets, value, present)
    fractions(np.array([0.0]), np.array([1.0]), buckets, value, present)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _insignificant(a, b):  # type: ignore[no-untyped-def]
    """Whether two different counts are the same but for rounding."""
    if np.isnan(a) and np.isnan(b):
        return True
    total = abs(a) + abs(b)
    difference = abs(a - b)
    if a == 0 or b == 0 or total < _LEAST_NORMAL:
        return difference < SMALL_DELTA * _LEAST_NORMAL
    return difference / min(total, _GREATEST) < SMALL_DELTA


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(begin, bound, start, stop, value, present, j, ends, counts):  # type: ignore[no-untyped-def]
    """The buckets that have a sample in step ``j``, equal bounds added up; returns how many. ``value`` and
    ``present`` are flat, ``begin`` is where each series begins in them; unsigned indices, as in ``wire``, save a
    third of the time."""
    size = 0
    for k in range(start, stop):
        at = begin[np.uint64(k)] + np.uint64(j)
        if not present[at]:
            continue
        end = bound[np.uint64(k)]
        if size > 0 and ends[np.uint64(size - 1)] == end:
            counts[np.uint64(size - 1)] += value[at]
            continue
        ends[np.uint64(size)] = end
        counts[np.uint64(size)] = value[at]
        size += 1
    return size


@njit(cache=True, nogil=True, error_model="numpy")
def _repair(g, j, size, ends, counts, told, extremes):  # type: ignore[no-untyped-def]
    """Makes the counts ascend."""
    before = counts[0]
    forced = False
    for k in range(1, size):
        now = counts[k]
        if now - before > _CLEARLY * now:
            before = now
            continue
        if now == before:
            continue
        if _insignificant(before, now):
            counts[k] = before
            continue
        if now < before:
            counts[k] = before
            forced = True
            extremes[0, g] = min(extremes[0, g], ends[k])
            extremes[1, g] = max(extremes[1, g], ends[k])
            extremes[2, g] = max(extremes[2, g], before - now)
            continue
        before = now
    if forced:
        if told[0, g] == 0:
            told[1, g] = j
        told[0, g] += 1
        told[2, g] = j


@njit(cache=True, nogil=True, error_model="numpy")
def _quantile(q, size, ends, counts):  # type: ignore[no-untyped-def]
    observations = counts[size - 1]
    if size < 2 or observations == 0:
        return np.nan
    rank = q * observations
    low, high = 0, size - 1
    while low < high:
        middle = (low + high) >> 1
        if counts[middle] >= rank:
            high = middle
        else:
            low = middle + 1
    if low == size - 1:
        return ends[size - 2]
    if low == 0 and ends[0] <= 0:
        return ends[0]
    begin, count = 0.0, counts[low]
    if low > 0:
        begin = ends[low - 1]
        count -= counts[low - 1]
        rank -= counts[low - 1]
    return begin + (ends[low] - begin) * (rank / count)


@njit(cache=True, nogil=True, error_model="numpy")
def _quantiles(q, offsets, begin, bound, value, present, out, found, told, extremes):  # type: ignore[no-untyped-def]
    most = 0
    for g in range(len(offsets) - 1):
        most = max(most, offsets[g + 1] - offsets[g])
    ends, counts = np.empty(most), np.empty(most)
    for g in range(len(offsets) - 1):
        start, stop = offsets[g], offsets[g + 1]
        for j in range(len(q)):
            size = _gather(begin, bound, start, stop, value, present, j, ends, counts)
            if size == 0:
                continue
            found[g, j] = True
            if np.isnan(q[j]):
                out[g, j] = np.nan
            elif q[j] < 0:
                out[g, j] = -np.inf
            elif q[j] > 1:
                out[g, j] = np.inf
            elif ends[size - 1] != np.inf:
                out[g, j] = np.nan
            else:
                _repair(g, j, size, ends, counts, told, extremes)
                out[g, j] = _quantile(q[j], size, ends, counts)


@njit(cache=True, nogil=True, error_model="numpy")
def _rank(target, size, ends, counts):  # type: ignore[no-untyped-def]
    """How many observations lie below ``target``; infinitely many means all."""
    rank = 0.0
    begin = -np.inf if ends[0] <= 0 else 0.0
    for k in range(size):
        if k > 0:
            begin = ends[k - 1]
        if begin >= target:
            return rank
        if ends[k] > target:
            if begin == -np.inf:
                return counts[k]
            return rank + (counts[k] - rank) * (target - begin) / (ends[k] - begin)
        rank = counts[k]
    return np.inf


@njit(cache=True, nogil=True, error_model="numpy")
def _fraction(lower, upper, size, ends, counts):  # type: ignore[no-untyped-def]
    total = counts[size - 1]
    if ends[size - 1] != np.inf or total == 0 or np.isnan(lower) or np.isnan(upper):
        return np.nan
    if lower >= upper:
        return 0.0
    below_lower, below_upper = _rank(lower, size, ends, counts), _rank(upper, size, ends, counts)
    if below_lower > total:
        below_lower = total
    if below_upper > total:
        below_upper = total
    return (below_upper - below_lower) / total


@njit(cache=True, nogil=True, error_model="numpy")
def _fractions(lower, upper, offsets, begin, bound, value, present, out, found):  # type: ignore[no-untyped-def]
    most = 0
    for g in range(len(offsets) - 1):
        most = max(most, offsets[g + 1] - offsets[g])
    ends, counts = np.empty(most), np.empty(most)
    for g in range(len(offsets) - 1):
        for j in range(len(lower)):
            size = _gather(begin, bound, offsets[g], offsets[g + 1], value, present, j, ends, counts)
            if size > 0:
                found[g, j] = True
                out[g, j] = _fraction(lower[j], upper[j], size, ends, counts)
