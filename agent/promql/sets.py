"""Label signatures of two matrices, and the set operators ``and``, ``or`` and ``unless`` upon them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.promql import groupkernels
from agent.promql.labelsets import merged
from agent.promql.selectors import dropped, holds_histogram, pruned
from agent.promql.tree import Matching
from agent.promql.values import Matrix
from agent.telemetry.frames import I64, Bool
from agent.telemetry.labels import METRIC_NAME, LabelTable, concat_tables


def signature(table: LabelTable, matching: Matching) -> LabelTable:
    """The labels that are matched."""
    return table.keep(matching.labels) if matching.on else table.drop((METRIC_NAME, *matching.labels))


def signatures(lhs: LabelTable, rhs: LabelTable, matching: Matching) -> tuple[I64, I64, int]:
    """``(signature number of each left set, of each right set, how many there are)``."""
    if matching.on and not matching.labels:
        return np.zeros(len(lhs), np.int64), np.zeros(len(rhs), np.int64), 1
    both = concat_tables([signature(lhs, matching), signature(rhs, matching)])
    numbers, distinct = both.group()
    return numbers[: len(lhs)], numbers[len(lhs) :], len(distinct)


def there(matrix: Matrix) -> Bool:
    """Where a cell has anything."""
    return matrix.present if matrix.histogram is None else matrix.present | holds_histogram(matrix)


def any_of(numbers: I64, present: Bool, count: int) -> Bool:
    """For every signature and step, whether any row of it has a value."""
    out = np.zeros((count, present.shape[1]), np.bool_)
    groupkernels.marks(present, numbers, out)
    return out


def combine(op: str, lhs: Matrix, rhs: Matrix, matching: Matching) -> Matrix:
    """Raises ExecutionError."""
    left, right, count = signatures(lhs.labels, rhs.labels, matching)
    if op == "or":
        taken = any_of(left, there(lhs), count)[right]
        others = pruned(masked(rhs, ~taken))
        return merged(stacked(lhs, others)) if len(others) else lhs
    found = any_of(right, there(rhs), count)[left]
    return masked(lhs, found if op == "and" else ~found)


def masked(matrix: Matrix, kept: Bool) -> Matrix:
    histogram = matrix.histogram
    if histogram is not None:
        histogram = histogram.copy()
        histogram[~kept] = None
    return replace(matrix, present=matrix.present & kept, histogram=histogram)


def stacked(upper: Matrix, lower: Matrix) -> Matrix:
    """The rows of both."""
    histogram = None
    if upper.histogram is not None or lower.histogram is not None:
        parts = [
            one.histogram if one.histogram is not None else np.full(one.value.shape, None, np.object_)
            for one in (upper, lower)
        ]
        histogram = np.concatenate(parts)
    return Matrix(
        concat_tables([upper.labels, lower.labels]),
        np.concatenate([upper.value, lower.value]),
        np.concatenate([upper.present, lower.present]),
        histogram,
        np.concatenate([dropped(upper), dropped(lower)]),
    )
