"""Windows that slide: where the samples of each step's range begin and end.

The kernels of the range functions call ``first_after`` for both ends of a window. From one step to the
next it walks only over the samples between them, in either direction, so that ascending steps cost one
pass over a series, a constant end (``@``) nothing, and any other order stays right.

The compiler's cache looks at a function's own file only: after a change here, touch the files of the
kernels that call this.
"""

from __future__ import annotations

from numba import njit


@njit(cache=True, nogil=True)
def first_after(time_ms, at, start, stop, bound_ms):  # type: ignore[no-untyped-def]
    """The first row of ``start:stop`` whose time is after ``bound_ms``, ``stop`` if none is; ``at`` is
    where the search begins."""
    while at < stop and time_ms[at] <= bound_ms:
        at += 1
    while at > start and time_ms[at - 1] > bound_ms:
        at -= 1
    return at


@njit(cache=True, nogil=True)
def borders(i, offsets, times, ends_ms, range_ms, lo, hi):  # type: ignore[no-untyped-def]
    """The samples of series ``i`` in every window: its rows ``lo[j]`` to ``hi[j] - 1``. They stay where the series before
    has the same times, for which this was called last."""
    start, time_ms = times
    size = offsets[i + 1] - offsets[i]
    if i > 0 and start[i] == start[i - 1] and size == offsets[i] - offsets[i - 1]:
        return
    own = time_ms[start[i] : start[i] + size]
    first = behind = 0
    for j in range(len(ends_ms)):
        behind = first_after(own, behind, 0, size, ends_ms[j])
        first = first_after(own, first, 0, size, ends_ms[j] - range_ms)
        lo[j], hi[j] = first, behind


@njit(cache=True, nogil=True)
def longest(offsets):  # type: ignore[no-untyped-def]
    """The number of samples of the longest series: the size of the scratch space of a kernel."""
    most = 0
    for i in range(len(offsets) - 1):
        most = max(most, offsets[i + 1] - offsets[i])
    return most


@njit(cache=True, nogil=True)
def reach(time_ms, at, start, stop, begin_ms, end_ms, lookback_ms, is_smoothed):  # type: ignore[no-untyped-def]
    """``(first, last)`` of a range that is anchored or smoothed: the samples at its two borders, where
    those outside count up to ``lookback_ms``; last < first where there is no result."""
    behind = first_after(time_ms, at, start, stop, begin_ms)
    first = behind
    if behind > start and time_ms[behind - 1] > begin_ms - lookback_ms:
        first = behind - 1
    if is_smoothed:
        last = first_after(time_ms, behind, start, stop, end_ms - 1)
        if last >= stop or time_ms[last] > end_ms + lookback_ms:
            last -= 1
    else:
        last = first_after(time_ms, behind, start, stop, end_ms) - 1
    if last < behind or (is_smoothed and time_ms[first] > end_ms):
        return first, first - 1
    return first, last
