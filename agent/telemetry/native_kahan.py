"""Sums of native histograms that carry what rounding lost, as Prometheus' KahanAdd does it.

Neumaier's method (Kahan-Babuska; A. Neumaier, 1974) on count, sum, zero count and every bucket. The
compensation is kept in a histogram of the same layout as the running total; ``total.add(compensation)`` is
the result. Where buckets become one (coarser schema, wider zero bucket, custom bounds that only one has) the
compensation goes the same way.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numba import njit

from agent.telemetry.frames import F64
from agent.telemetry.native_buckets import EMPTY_SIDE, Side, bounds
from agent.telemetry.native_histogram import CounterReset, FloatHistogram, IncompatibleSchemas, combined_hint

_Pair = tuple[Side, F64]  # buckets and their compensation


class KahanSum:
    """A running sum. ``reconciled`` tells that bounds of custom buckets differed, ``collision`` that one
    histogram's hint said reset and another's not_reset."""

    __slots__ = ("compensation", "hints", "reconciled", "total")

    def __init__(self, first: FloatHistogram) -> None:
        self.total = first
        self.compensation: FloatHistogram | None = None
        self.reconciled = False
        self.hints = {first.hint}

    @property
    def collision(self) -> bool:
        return CounterReset.RESET in self.hints and CounterReset.NOT_RESET in self.hints

    def add(self, other: FloatHistogram) -> None:
        """Raises IncompatibleSchemas; the sum is then as it was."""
        self.hints.add(other.hint)
        self.total, self.compensation, reconciled = kahan_add(self.total, self.compensation, other)
        self.reconciled |= reconciled

    def result(self) -> FloatHistogram:
        if self.compensation is None:
            return self.total
        return self.total.add(self.compensation).histogram


class KahanMean(KahanSum):
    """A running mean: by the sum, and from where that would overflow on by the incremental mean."""

    __slots__ = ("incremental", "seen")

    def __init__(self, first: FloatHistogram) -> None:
        super().__init__(first)
        self.seen = 1
        self.incremental = False  # then ``total`` is the mean

    def add(self, other: FloatHistogram) -> None:
        self.hints.add(other.hint)
        self.seen += 1
        count = float(self.seen)
        if not self.incremental:
            total, compensation, reconciled = kahan_add(self.total, self.compensation, other)
            self.reconciled |= reconciled
            if not overflowed(total):
                self.total, self.compensation = total, compensation
                return
            self.incremental = True
            self.total = self.total.div(count - 1)
            self.compensation = self.compensation.div(count - 1) if self.compensation else None
        part = (count - 1) / count
        kept = self.compensation.mul(part) if self.compensation else None
        added = kahan_add(self.total.mul(part), kept, other.div(count))
        self.total, self.compensation = added[0], added[1]
        self.reconciled |= added[2]

    def result(self) -> FloatHistogram:
        if self.incremental:
            return super().result()
        mean = self.total.div(self.seen)
        if self.compensation is None:
            return mean
        return mean.add(self.compensation.div(self.seen)).histogram


def overflowed(h: FloatHistogram) -> bool:
    """Whether any number of it is infinite."""
    numbers = np.concatenate([[h.count, h.sum, h.zero_count], h.positive.count, h.negative.count])
    return bool(np.isinf(numbers).any())


def kahan_add(
    total: FloatHistogram, compensation: FloatHistogram | None, other: FloatHistogram
) -> tuple[FloatHistogram, FloatHistogram, bool]:
    """``(total + other, its compensation, whether custom bounds were reconciled)``. ``compensation`` has the
    layout of ``total``; None is zero. Raises IncompatibleSchemas."""
    if total.custom != other.custom:
        raise IncompatibleSchemas
    hint, _ = combined_hint(total.hint, other.hint)
    if compensation is None:
        compensation = _zeros(total, hint)
    with np.errstate(all="ignore"):
        if total.custom:
            return _added_custom(total, compensation, other, hint)
        return (*_added_exponential(total, compensation, other, hint), False)


def inc(total: float, lost: float, add: float) -> tuple[float, float]:
    """One step: ``(total, what rounding lost)``."""
    fresh = total + add
    if math.isinf(fresh):
        return fresh, 0.0
    if abs(total) >= abs(add):
        return fresh, lost + ((total - fresh) + add)
    return fresh, lost + ((add - fresh) + total)


_inc = njit(cache=True, nogil=True)(inc)


def _zeros(h: FloatHistogram, hint: CounterReset) -> FloatHistogram:
    sides = [Side(side.index, np.zeros(len(side))) for side in (h.positive, h.negative)]
    return replace(h, count=0.0, sum=0.0, zero_count=0.0, positive=sides[0], negative=sides[1], hint=hint)


def _added_custom(
    total: FloatHistogram, lost: FloatHistogram, other: FloatHistogram, hint: CounterReset
) -> tuple[FloatHistogram, FloatHistogram, bool]:
    count, lost_count = inc(total.count, lost.count, other.count)
    added, lost_sum = inc(total.sum, lost.sum, other.sum)
    values = total.custom_values
    reconciled = not np.array_equal(values, other.custom_values)
    mine, mine_lost = total.positive, lost.positive.count
    its, its_lost = other.positive, np.zeros(len(other.positive))
    if reconciled:
        shared = np.intersect1d(values, other.custom_values, assume_unique=True)
        mine, mine_lost = _mapped(mine, mine_lost, values, shared)
        its, its_lost = _mapped(its, its_lost, other.custom_values, shared)
        values = shared
    positive, positive_lost = _merged((mine, mine_lost), (its, its_lost))
    return (
        FloatHistogram(total.schema, count, added, positive=positive, custom_values=values, hint=hint),
        FloatHistogram(
            total.schema, lost_count, lost_sum, positive=positive_lost, custom_values=values, hint=lost.hint
        ),
        reconciled,
    )


def _added_exponential(
    total: FloatHistogram, lost: FloatHistogram, other: FloatHistogram, hint: CounterReset
) -> tuple[FloatHistogram, FloatHistogram]:
    total, lost, zero, zero_lost = _reconciled(total, lost, other)
    zero_count, lost_zero = inc(*inc(total.zero_count, lost.zero_count, zero), zero_lost)
    count, lost_count = inc(total.count, lost.count, other.count)
    added, lost_sum = inc(total.sum, lost.sum, other.sum)
    schema, threshold = min(total.schema, other.schema), total.zero_threshold
    sides = []
    for mine, mine_lost, its in (
        (total.positive, lost.positive.count, other.positive),
        (total.negative, lost.negative.count, other.negative),
    ):
        ours = _reduced((mine, mine_lost), total.schema, schema)
        theirs = _reduced((its, np.zeros(len(its))), other.schema, schema)
        if threshold > 0:
            kept = bounds(theirs[0].index, schema) > threshold
            theirs = Side(theirs[0].index[kept], theirs[0].count[kept]), theirs[1][kept]
        sides.append(_merged(ours, theirs))
    (positive, positive_lost), (negative, negative_lost) = sides
    return (
        FloatHistogram(schema, count, added, threshold, zero_count, positive, negative, hint=hint),
        FloatHistogram(
            schema, lost_count, lost_sum, threshold, lost_zero, positive_lost, negative_lost, hint=lost.hint
        ),
    )


def _merged(ours: _Pair, theirs: _Pair) -> tuple[Side, Side]:
    """The sum of two sides, and its compensation as a side of the same buckets."""
    index, count, lost = _united(
        ours[0].index, ours[0].count, ours[1], theirs[0].index, theirs[0].count, theirs[1]
    )
    return Side(index, count), Side(index, lost)


@njit(cache=True, nogil=True)
def _united(index, count, lost, more_index, more_count, more_lost):  # type: ignore[no-untyped-def]
    room = len(index) + len(more_index)
    places, sums, missed = np.empty(room, np.int32), np.empty(room), np.empty(room)
    i = j = size = 0
    while i < len(index) or j < len(more_index):
        if j == len(more_index) or (i < len(index) and index[i] < more_index[j]):
            places[size], sums[size], missed[size] = index[i], count[i], lost[i]
            i += 1
        elif i == len(index) or more_index[j] < index[i]:
            places[size], sums[size], missed[size] = more_index[j], more_count[j], more_lost[j]
            j += 1
        else:
            total, rest = _inc(count[i], lost[i], more_count[j])
            places[size] = index[i]
            sums[size], missed[size] = _inc(total, rest, more_lost[j])
            i += 1
            j += 1
        size += 1
    return places[:size].copy(), sums[:size].copy(), missed[:size].copy()


def _reduced(pair: _Pair, schema: int, target: int) -> _Pair:
    side, lost = pair
    if schema == target or not len(side):
        return pair
    coarse = ((side.index - 1) >> (schema - target)) + 1
    return _gathered(coarse.tolist(), side.count, lost)


def _mapped(side: Side, lost: F64, values: F64, shared: F64) -> _Pair:
    ends = np.append(values, np.inf)[side.index]
    return _gathered(np.searchsorted(shared, ends, side="left").tolist(), side.count, lost)


def _gathered(places: list[int], counts: F64, lost: F64) -> _Pair:
    """Buckets by their new, ascending places."""
    index: list[int] = []
    sums: list[tuple[float, float]] = []
    for place, count, missed in zip(places, counts.tolist(), lost.tolist(), strict=True):
        if index and index[-1] == place:
            sums[-1] = inc(*inc(*sums[-1], count), missed)
        else:
            index.append(place)
            sums.append((count, missed))
    table = np.array(sums, np.float64).reshape(-1, 2)
    return Side(np.array(index, np.int32), table[:, 0].copy()), table[:, 1].copy()


def _reconciled(
    total: FloatHistogram, lost: FloatHistogram, other: FloatHistogram
) -> tuple[FloatHistogram, FloatHistogram, float, float]:
    """Total and compensation with a zero bucket that holds both zero buckets, and what the other's zero
    bucket then holds."""
    threshold, zero, zero_lost = other.zero_threshold, other.zero_count, 0.0
    while threshold != total.zero_threshold:
        if total.zero_threshold > threshold:
            zero, zero_lost, threshold = _widened(other, None, total.zero_threshold)
        if threshold > total.zero_threshold:
            count, missed, threshold_now = _widened(total, lost, threshold)
            total, lost = (
                _trimmed(replace(total, zero_count=count), total, lost, threshold_now),
                _trimmed(replace(lost, zero_count=missed), total, lost, threshold_now),
            )
    return total, lost, zero, zero_lost


def _widened(h: FloatHistogram, lost: FloatHistogram | None, threshold: float) -> tuple[float, float, float]:
    """As ``FloatHistogram.widened``: ``(count, what rounding lost, threshold)``."""
    while True:
        state, grown = (h.zero_count, lost.zero_count if lost else 0.0), threshold
        for side, missed in (
            (h.positive, lost.positive if lost else None),
            (h.negative, lost.negative if lost else None),
        ):
            threshold = max(threshold, grown)
            state, grown = _swallowed(side, missed, h.schema, threshold, state)
        if grown <= threshold:
            return (*state, threshold)
        threshold = grown


def _swallowed(
    side: Side, lost: Side | None, schema: int, threshold: float, state: tuple[float, float]
) -> tuple[tuple[float, float], float]:
    inner, outer = bounds(side.index - 1, schema).tolist(), bounds(side.index, schema).tolist()
    for k, count in enumerate(side.count.tolist()):
        if inner[k] >= threshold:
            break
        state = inc(*state, count)
        if lost is not None:
            state = inc(*state, float(lost.count[k]))
        if outer[k] > threshold and count != 0:
            return state, outer[k]
    return state, threshold


def _trimmed(
    h: FloatHistogram, total: FloatHistogram, lost: FloatHistogram, threshold: float
) -> FloatHistogram:
    """Without the buckets within the threshold and those that are empty in total and compensation."""
    sides = []
    for side, count, missed in (
        (h.positive, total.positive.count, lost.positive.count),
        (h.negative, total.negative.count, lost.negative.count),
    ):
        kept = (bounds(side.index, h.schema) > threshold) & ((count != 0) | (missed != 0))
        sides.append(Side(side.index[kept], side.count[kept]) if len(side) else EMPTY_SIDE)
    return replace(h, zero_threshold=threshold, positive=sides[0], negative=sides[1])
