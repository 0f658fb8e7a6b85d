"""Binary operators with a scalar on at least one side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.promql.annotations import Annotations
from agent.promql.cells import CellOperator, arithmetic, compare
from agent.promql.selectors import holds_histogram
from agent.promql.tree import ARITHMETIC, COMPARISONS, TRIMS, Binary
from agent.promql.values import Matrix
from agent.telemetry.frames import F64


def scalars(op: str, lhs: F64, rhs: F64) -> F64:
    """A comparison gives 1 or 0."""
    if op in COMPARISONS:
        return compare(op, lhs, rhs).astype(np.float64)
    return arithmetic(op, lhs, rhs)


def vector_and_scalar(
    node: Binary, vector: Matrix, scalar: F64, notes: Annotations, *, swapped: bool
) -> tuple[Matrix, bool]:
    """``(result, whether its metric name goes)``; ``swapped``: the scalar is on the left. A comparison keeps
    the vector's value."""
    lhs, rhs = (scalar, vector.value) if swapped else (vector.value, scalar)
    renamed = node.op in ARITHMETIC or node.bool_modifier
    present, value = vector.present, vector.value
    if node.op in TRIMS:
        operator = CellOperator(node.op, notes, node.pos)
        for step in np.flatnonzero(present.any(axis=0)).tolist():
            operator(0.0, 0.0, step)
        operator.tell()
        present = np.zeros_like(present)
    elif node.op in ARITHMETIC:
        value = arithmetic(node.op, np.asarray(lhs), np.asarray(rhs))
    else:
        kept = compare(node.op, lhs, rhs)
        if node.bool_modifier:
            value = kept.astype(np.float64)
        else:
            present = present & kept
    result = replace(vector, value=value, present=present)
    if vector.histogram is not None:
        result = _histograms(node, vector, scalar, result, notes, swapped=swapped)
    return result, renamed


def _histograms(
    node: Binary, vector: Matrix, scalar: F64, result: Matrix, notes: Annotations, *, swapped: bool
) -> Matrix:
    assert vector.histogram is not None  # the caller looked  # noqa: S101
    operator = CellOperator(node.op, notes, node.pos)
    histogram = np.full(result.value.shape, None, np.object_)
    for i, j in np.argwhere(holds_histogram(vector)).tolist():
        cell, number = vector.histogram[i, j], float(scalar[j])
        found = operator(number, cell, j) if swapped else operator(cell, number, j)
        if found is not None and found[1]:
            histogram[i, j] = found[0]
    operator.tell()
    return replace(result, histogram=histogram)
