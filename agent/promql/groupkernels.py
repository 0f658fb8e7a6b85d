"""The compiled loops of aggregation: (series, steps) to (groups, steps) by the group of each series.

Rows are added in their order with Neumaier's compensation, as Prometheus does, so that sums agree to the last digit.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
def kahan(increment, total, compensation):  # type: ignore[no-untyped-def]
    """``(total, compensation)`` after one addition."""
    new = total + increment
    if np.isinf(new):
        return new, 0.0
    if abs(total) >= abs(increment):
        return new, compensation + ((total - new) + increment)
    return new, compensation + ((increment - new) + total)


@njit(cache=True, nogil=True)
def partial_sums(value, present, group, total, lost, count):  # type: ignore[no-untyped-def]
    """``total``, what rounding took from it (``lost``), and ``count`` of every group and step, all zero at
    first."""
    for i in range(len(group)):
        g = group[i]
        _add_row(value[i], present[i], total[g], lost[g], count[g])


@njit(cache=True, nogil=True, error_model="numpy")
def _add_row(value, present, total, lost, count):  # type: ignore[no-untyped-def]
    """``kahan`` at every step that is present; without a branch, so that the processor takes several at once."""
    for j in range(len(value)):
        x, old, rest = value[j], total[j], lost[j]
        fresh = old + x
        larger = abs(old) >= abs(x)
        big, small = (old if larger else x), (x if larger else old)
        taken = rest + ((big - fresh) + small)
        taken = 0.0 if np.isinf(fresh) else taken
        first = count[j] == 0
        fresh, taken = (x if first else fresh), (rest if first else taken)
        total[j] = fresh if present[j] else old
        lost[j] = taken if present[j] else rest
    for j in range(len(value)):
        count[j] += present[j]


@njit(cache=True, nogil=True)
def sums(value, present, group, total, count):  # type: ignore[no-untyped-def]
    """``total`` and ``count`` (both zero at first) of every group and step."""
    lost = np.zeros_like(total)
    partial_sums(value, present, group, total, lost, count)
    for g in range(total.shape[0]):
        for j in range(total.shape[1]):
            total[g, j] += lost[g, j]


@njit(cache=True, nogil=True, error_model="numpy")
def means(value, present, group, mean, count):  # type: ignore[no-untyped-def]
    """By the sum as long as it is finite, from there on incrementally."""
    steps = value.shape[1]
    lost = np.zeros_like(mean)
    stepwise = np.zeros(mean.shape, np.bool_)
    for i in range(len(group)):
        g = group[i]
        for j in range(steps):
            if not present[i, j]:
                continue
            count[g, j] += 1
            n = np.float64(count[g, j])
            x = value[i, j]
            if n == 1:
                mean[g, j] = x
                continue
            if not stepwise[g, j]:
                total, rest = kahan(x, mean[g, j], lost[g, j])
                if not np.isinf(total):
                    mean[g, j] = total
                    lost[g, j] = rest
                    continue
                stepwise[g, j] = True
                mean[g, j] /= n - 1
                lost[g, j] /= n - 1
            q = (n - 1) / n
            mean[g, j], lost[g, j] = kahan(x / n, q * mean[g, j], q * lost[g, j])
    for g in range(mean.shape[0]):
        for j in range(steps):
            if stepwise[g, j]:
                mean[g, j] += lost[g, j]
            elif count[g, j]:
                mean[g, j] = mean[g, j] / count[g, j] + lost[g, j] / count[g, j]


@njit(cache=True, nogil=True, error_model="numpy")
def extremes(value, present, group, largest, out, count):  # type: ignore[no-untyped-def]
    """The largest or smallest number; NaN only where there is nothing else."""
    for i in range(len(group)):
        g = group[i]
        for j in range(value.shape[1]):
            if not present[i, j]:
                continue
            x = value[i, j]
            held = out[g, j]
            better = held < x if largest else held > x
            if count[g, j] == 0 or better or np.isnan(held):
                out[g, j] = x
            count[g, j] += 1


@njit(cache=True, nogil=True)
def counts(present, group, count):  # type: ignore[no-untyped-def]
    for i in range(len(group)):
        g = group[i]
        for j in range(present.shape[1]):
            count[g, j] += present[i, j]


@njit(cache=True, nogil=True)
def marks(present, group, out):  # type: ignore[no-untyped-def]
    """Whether any row of a group has a value, step by step."""
    for i in range(len(group)):
        g = group[i]
        for j in range(present.shape[1]):
            out[g, j] |= present[i, j]


@njit(cache=True, nogil=True)
def placed(value, present, group, out, filled):  # type: ignore[no-untyped-def]
    """The values of every row at the row of its group; no two of a group share a step."""
    for i in range(len(group)):
        g = group[i]
        for j in range(present.shape[1]):
            if present[i, j]:
                out[g, j] = value[i, j]
                filled[g, j] = True


@njit(cache=True, nogil=True, error_model="numpy")
def variances(value, present, group, out, count):  # type: ignore[no-untyped-def]
    """The population variance by Welford's method."""
    mean = np.zeros_like(out)
    for i in range(len(group)):
        g = group[i]
        for j in range(value.shape[1]):
            if not present[i, j]:
                continue
            x = value[i, j]
            count[g, j] += 1
            if count[g, j] == 1:
                mean[g, j] = x
                out[g, j] = 0.0 if np.isfinite(x) else np.nan
                continue
            delta = x - mean[g, j]
            mean[g, j] += delta / count[g, j]
            out[g, j] += delta * (x - mean[g, j])
    for g in range(out.shape[0]):
        for j in range(out.shape[1]):
            if count[g, j]:
                out[g, j] /= count[g, j]


@njit(cache=True, nogil=True, error_model="numpy")
def quantiles(value, present, order, starts, q, out, filled):  # type: ignore[no-untyped-def]
    """``q[j]`` of each group at step ``j``; the rows of group ``g`` are ``order[starts[g]:starts[g + 1]]``.
    NaN sorts before all numbers."""
    for g in range(len(starts) - 1):
        rows = order[starts[g] : starts[g + 1]]
        held = np.empty(len(rows))
        for j in range(value.shape[1]):
            n = 0
            nans = 0
            for k in range(len(rows)):
                if present[rows[k], j]:
                    x = value[rows[k], j]
                    if np.isnan(x):
                        nans += 1
                    else:
                        held[n] = x
                        n += 1
            filled[g, j] = n + nans > 0
            if n + nans:
                out[g, j] = _quantile(held[:n], nans, q[j])


@njit(cache=True, nogil=True, error_model="numpy")
def _quantile(numbers, nans, q):  # type: ignore[no-untyped-def]
    n = len(numbers) + nans
    if np.isnan(q):
        return np.nan
    if q < 0:
        return -np.inf
    if q > 1:
        return np.inf
    rank = q * (n - 1)
    lower = max(0, int(np.floor(rank)))
    upper = min(n - 1, lower + 1)
    weight = rank - np.floor(rank)
    if lower < nans:
        return np.nan
    parted = np.partition(numbers, upper - nans)
    high = parted[upper - nans]
    low = high
    if lower < upper:
        low = np.max(parted[: upper - nans])
    return low * (1 - weight) + high * weight


@njit(cache=True, nogil=True)
def _less(a, b, smallest):  # type: ignore[no-untyped-def]
    if np.isnan(a):
        return True
    return a > b if smallest else a < b


@njit(cache=True, nogil=True)
def best(value, present, order, starts, k, smallest, kept):  # type: ignore[no-untyped-def]
    """The ``k[j]`` largest (or smallest) values of each group at step ``j``, marked in ``kept``. The heap is that
    of Go's container/heap, so that among equal values the same ones stay."""
    room = 0
    for j in range(len(k)):
        room = max(room, k[j])
    steps = value.shape[1]
    heap = np.empty((steps, room), np.int64)
    size = np.empty(steps, np.int64)
    worst = np.empty(steps)  # the value at each heap's top
    for g in range(len(starts) - 1):
        size[:] = 0
        for at in range(starts[g], starts[g + 1]):
            i = order[at]
            for j in range(steps):
                if not present[i, j] or k[j] < 1:
                    continue
                x = value[i, j]
                if size[j] < k[j]:
                    heap[j, size[j]] = i
                    size[j] += 1
                    _up(heap[j], size[j] - 1, value, j, smallest)
                    worst[j] = value[heap[j, 0], j]
                    continue
                held = worst[j]
                better = held > x if smallest else held < x
                if better or (np.isnan(held) and not np.isnan(x)):
                    heap[j, 0] = i
                    _down(heap[j], size[j], value, j, smallest)
                    worst[j] = value[heap[j, 0], j]
        for j in range(steps):
            for m in range(size[j]):
                kept[heap[j, m], j] = True


@njit(cache=True, nogil=True)
def _up(heap, at, value, j, smallest):  # type: ignore[no-untyped-def]
    while at > 0:
        parent = (at - 1) // 2
        if not _less(value[heap[at], j], value[heap[parent], j], smallest):
            break
        heap[at], heap[parent] = heap[parent], heap[at]
        at = parent


@njit(cache=True, nogil=True)
def _down(heap, size, value, j, smallest):  # type: ignore[no-untyped-def]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        right = child + 1
        if right < size and _less(value[heap[right], j], value[heap[child], j], smallest):
            child = right
        if not _less(value[heap[child], j], value[heap[at], j], smallest):
            break
        heap[at], heap[child] = heap[child], heap[at]
        at = child


@njit(cache=True, nogil=True)
def first(present, order, starts, k, kept):  # type: ignore[no-untyped-def]
    """The first ``k[j]`` rows of each group that have a value at step ``j``."""
    for g in range(len(starts) - 1):
        for j in range(present.shape[1]):
            size = 0
            for at in range(starts[g], starts[g + 1]):
                if size >= k[j]:
                    break
                i = order[at]
                if present[i, j]:
                    kept[i, j] = True
                    size += 1
