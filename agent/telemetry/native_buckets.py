"""The buckets of native histograms as sorted arrays: their bounds, and what merges, thins and compares them.

One side of a histogram is a pair of columns, the index of each bucket (ascending) and its count. Bucket
``i`` of an exponential schema ``s`` reaches from ``2 ** ((i - 1) / 2 ** s)`` to ``2 ** (i / 2 ** s)``, the
lower bound not included; on the negative side it is mirrored. With custom values, bucket ``i`` ends at
``custom[i]`` and the one behind the last is open. The rules are those of Prometheus' model/histogram.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from agent.telemetry.frames import F64, I32, I64
from agent.telemetry.native_log2 import exp2

MIN_SCHEMA, MAX_SCHEMA, CUSTOM_SCHEMA = -4, 8, -53
_MAX_FLOAT = float(np.finfo(np.float64).max)
_MAX_EXPONENT, _MIN_EXPONENT = 1024, -1100


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """``index`` ascends strictly; ``count`` has its length. Counts may be 0: the bucket is then known, but
    empty."""

    index: I32
    count: F64

    def __len__(self) -> int:
        return len(self.index)

    @classmethod
    def at(cls, offset: int, counts: F64) -> Side:
        """Buckets without a gap from index ``offset`` on."""
        return cls(np.arange(offset, offset + len(counts), dtype=np.int32), np.asarray(counts, np.float64))

    def scaled(self, factor: float) -> Side:
        return Side(self.index, self.count * factor) if len(self) else self

    def divided(self, divisor: float) -> Side:
        return Side(self.index, self.count / divisor) if len(self) else self

    def compact(self) -> Side:
        """Without empty buckets."""
        used = self.count != 0
        return self if used.all() else Side(self.index[used], self.count[used])

    def above(self, bound: float, schema: int) -> Side:
        """Without the buckets that end at ``bound`` or below (by absolute value)."""
        if not len(self) or bound <= 0:
            return self
        ends = bounds(self.index, schema)
        if ends[0] > bound:
            return self
        kept = ends > bound
        return Side(self.index[kept], self.count[kept])

    def reduced(self, schema: int, target: int) -> Side:
        """At a lower resolution: counts of buckets that become one are added up in their order."""
        if schema == target or not len(self):
            return self
        coarse = ((self.index - 1) >> (schema - target)) + 1
        index, place = np.unique(coarse, return_inverse=True)
        return Side(index.astype(np.int32), _added(place, self.count, len(index)))

    def mapped(self, bounds_from: F64, bounds_to: F64) -> F64:
        """The counts of custom buckets by the bounds ``bounds_to``, which are among ``bounds_from``: an array
        of one more, the last for what lies above."""
        ends = np.append(bounds_from, np.inf)[self.index]
        place = np.searchsorted(bounds_to, ends, side="left")
        return _added(place, self.count, len(bounds_to) + 1)

    def same(self, other: Side) -> bool:
        """Whether the populated buckets are the same, bit by bit."""
        a, b = self.compact(), other.compact()
        return np.array_equal(a.index, b.index) and np.array_equal(
            a.count.view(np.uint64), b.count.view(np.uint64)
        )


EMPTY_SIDE = Side(np.empty(0, np.int32), np.empty(0, np.float64))
NO_VALUES: F64 = np.empty(0, np.float64)


def _added(place: I64, counts: F64, size: int) -> F64:
    """Counts by their place, added up in their order."""
    return np.bincount(place, counts, size).astype(np.float64)


def merged(a: Side, b: Side, sign: float = 1.0) -> Side:
    """``a + sign * b``."""
    if not len(b):
        return a
    return Side(*_merged(a.index, a.count, b.index, b.count, sign))


@njit(cache=True, nogil=True)
def _merged(a_index, a_count, b_index, b_count, sign):  # type: ignore[no-untyped-def]
    room = len(a_index) + len(b_index)
    index, count = np.empty(room, np.int32), np.empty(room)
    i = j = size = 0
    while i < len(a_index) or j < len(b_index):
        if j == len(b_index) or (i < len(a_index) and a_index[i] < b_index[j]):
            index[size], count[size] = a_index[i], a_count[i]
            i += 1
        elif i == len(a_index) or b_index[j] < a_index[i]:
            index[size], count[size] = b_index[j], sign * b_count[j]
            j += 1
        else:
            index[size], count[size] = a_index[i], a_count[i] + sign * b_count[j]
            i += 1
            j += 1
        size += 1
    return index[:size].copy(), count[:size].copy()


def lost(before: Side, after: Side) -> bool:
    """Whether a bucket of ``before`` holds less in ``after``."""
    if not len(before):
        return False
    return bool(_lost(before.index, before.count, after.index, after.count))


@njit(cache=True, nogil=True)
def _lost(before_index, before_count, after_index, after_count):  # type: ignore[no-untyped-def]
    j = 0
    for i in range(len(before_index)):
        while j < len(after_index) and after_index[j] < before_index[i]:
            j += 1
        if j < len(after_index) and after_index[j] == before_index[i]:
            if after_count[j] < before_count[i]:
                return True
        elif before_count[i] != 0:
            return True
    return False


def bounds(index: I32 | I64, schema: int) -> F64:
    """The upper bounds of exponential buckets. The last bucket of finite numbers ends at the greatest of
    them, so that the one behind it holds the infinities alone."""
    ends: F64 = _bounds(index, schema, _FRACTIONS)
    return ends


@njit(cache=True, nogil=True)
def _bounds(index, schema, fractions):  # type: ignore[no-untyped-def]
    ends = np.empty(len(index))
    for k in range(len(index)):
        i = np.int64(index[k])
        if schema < 0:
            part, exponent = 0.5, (i << -schema) + 1
        else:
            part = fractions[(i & ((1 << schema) - 1)) << (MAX_SCHEMA - schema)]
            exponent = (i >> schema) + 1
        if part == 0.5 and exponent == _MAX_EXPONENT + 1:
            ends[k] = _MAX_FLOAT
        elif exponent > _MAX_EXPONENT:
            ends[k] = np.inf
        else:
            ends[k] = math.ldexp(part, int(max(_MIN_EXPONENT, exponent)))
    return ends


def custom_bounds(index: I32, values: F64) -> tuple[F64, F64]:
    """``(lower, upper)`` of custom buckets."""
    edges = np.concatenate([[-np.inf], values, [np.inf]])
    return edges[index], edges[index + 1]


def bucket_index(value: float, schema: int) -> int:
    """The index of the exponential bucket that a value above 0 falls into."""
    if math.isinf(value):
        return bucket_index(_MAX_FLOAT, schema) + 1
    fraction, exponent = math.frexp(value)
    if schema > 0:
        table = _FRACTIONS[:: 1 << (MAX_SCHEMA - schema)]
        return int(np.searchsorted(table, fraction, side="left")) + ((exponent - 1) << schema)
    whole = exponent - 1 if fraction == 0.5 else exponent
    return (whole + (1 << -schema) - 1) >> -schema


def _fractions() -> F64:
    """The bounds of schema 8 within [0.5, 1), to the last digit those that clients and servers of Prometheus
    agree on: each schema keeps the bounds of the one before and puts a multiple of each behind it, rounded
    anew."""
    table = np.array([0.5])
    for schema in range(1, MAX_SCHEMA + 1):
        table = np.column_stack([table, table * exp2(2.0**-schema)]).ravel()
    return table


_FRACTIONS = _fractions()
