"""Arithmetic, comparisons and trims between two instant vectors: rows meet by the signature of their labels.

Every pair of rows with one signature is a row of the result, present where both are; a pair costs no Python.
A fill value is a further row of the side that lacks a partner, present where the partner is missing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numba import njit

from agent.promql import groupkernels
from agent.promql.annotations import Annotations
from agent.promql.cells import CellOperator
from agent.promql.errors import ExecutionError
from agent.promql.labelsets import METADATA, SAME_LABELS, labels_text, merged
from agent.promql.selectors import holds_histogram, pruned
from agent.promql.sets import any_of, signature, signatures, stacked, there
from agent.promql.tree import ARITHMETIC, TRIMS, Binary, Matching
from agent.promql.values import Matrix
from agent.telemetry.frames import I64, Bool
from agent.telemetry.labels import LabelTable

_OPERATORS = ("+", "-", "*", "/", "^", "%", "atan2", "==", "!=", ">", "<", ">=", "<=")


@dataclass(frozen=True, slots=True)
class _Sides:
    """``many`` and ``one`` with the signature number of each row; one to one, ``many`` is the left side."""

    many: Matrix
    one: Matrix
    many_number: I64
    one_number: I64
    count: int


def join(node: Binary, lhs: Matrix, rhs: Matrix, notes: Annotations, delayed: bool) -> Matrix:
    """``delayed``: the name that ``bool`` takes away goes at the end of the query. Raises ExecutionError."""
    matching, swapped = node.matching, node.matching.group == "right"
    left, right, count = signatures(lhs.labels, rhs.labels, matching)
    sides = _Sides(lhs, rhs, left, right, count)
    if swapped:
        sides = _Sides(rhs, lhs, right, left, count)
    _check_one(sides, matching)
    sides = _filled(sides, matching)
    many, one = _pairs(sides)
    if not matching.group:
        _check_many(sides, many, one)
    result = _computed(node, sides, many, one, notes)
    labels = _result_labels(node, sides, many, one)
    if node.bool_modifier and delayed:
        result = replace(result, labels=labels, drop_name=np.ones(len(many), np.bool_))
    else:
        result = replace(result, labels=labels.drop(METADATA) if node.bool_modifier else labels)
    return pruned(_unique(result, sides, many, one, matching))


def _check_one(sides: _Sides, matching: Matching) -> None:
    """On the "one" side a signature has one row at most at a step, where there is anything to match."""
    if len(np.unique(sides.one_number)) == len(sides.one_number):
        return
    asked = there(sides.many).any(axis=0)
    if matching.fill_left is not None or matching.fill_right is not None:
        asked = np.ones_like(asked)
    present = there(sides.one) & asked
    counts = np.zeros((sides.count, present.shape[1]), np.int64)
    groupkernels.counts(present, sides.one_number, counts)
    if not (counts > 1).any():
        return
    step = int(np.flatnonzero((counts > 1).any(axis=0))[0])
    seen: dict[int, int] = {}
    for row in np.flatnonzero(present[:, step]).tolist():
        number = int(sides.one_number[row])
        if number in seen:
            _raise_duplicate(sides.one.labels, row, seen[number], matching)
        seen[number] = row


def _raise_duplicate(table: LabelTable, row: int, earlier: int, matching: Matching) -> None:
    side = "left" if matching.group == "right" else "right"
    group = signature(table.take([row]), matching).row(0)
    first, second = sorted((table.row(row), table.row(earlier)))
    raise ExecutionError(
        f"found duplicate series for the match group {labels_text(group)} on the {side} hand-side of the operation: "
        f"[{labels_text(first)}, {labels_text(second)}]"
        ";many-to-many matching not allowed: matching labels must be unique on one side"
    )


def _filled(sides: _Sides, matching: Matching) -> _Sides:
    """With a row of the fill value for every signature, where one side of it is there and the other is not."""
    if matching.fill_left is None and matching.fill_right is None:
        return sides
    # By sides as matched, which under group_right are not those of the text: so it is in Prometheus.
    many, one = sides.many, sides.one
    many_number, one_number = sides.many_number, sides.one_number
    some_many = any_of(many_number, there(many), sides.count)
    some_one = any_of(one_number, there(one), sides.count)
    if matching.fill_right is not None and len(sides.many):
        numbers, rows = np.unique(sides.many_number, return_index=True)
        lonely = (some_many & ~some_one)[numbers]
        one = stacked(one, _fill(sides.many.labels.take(rows), lonely, matching.fill_right, matching))
        one_number = np.concatenate([one_number, numbers])
    if matching.fill_left is not None and len(sides.one):
        numbers, rows = np.unique(sides.one_number, return_index=True)
        lonely = (some_one & ~some_many)[numbers]
        many = stacked(many, _fill(sides.one.labels.take(rows), lonely, matching.fill_left, matching))
        many_number = np.concatenate([many_number, numbers])
    return _Sides(many, one, many_number, one_number, sides.count)


def _fill(labels: LabelTable, present: Bool, value: float, matching: Matching) -> Matrix:
    return Matrix(signature(labels, matching), np.full(present.shape, value), present)


def _pairs(sides: _Sides) -> tuple[I64, I64]:
    """Rows of ``many`` and ``one`` that share a signature."""
    order = np.argsort(sides.one_number, kind="stable")
    sizes = np.bincount(sides.one_number, minlength=sides.count)
    starts = np.cumsum(sizes) - sizes
    partners = sizes[sides.many_number]
    many = np.repeat(np.arange(len(sides.many_number)), partners)
    within = np.arange(len(many)) - np.repeat(np.cumsum(partners) - partners, partners)
    one = order[np.repeat(starts[sides.many_number], partners) + within]
    return many, one


def _check_many(sides: _Sides, many: I64, one: I64) -> None:
    if len(np.unique(sides.many_number)) == len(sides.many_number):
        return
    present = there(sides.many)[many] & there(sides.one)[one]
    counts = np.zeros((sides.count, present.shape[1]), np.int64)
    groupkernels.counts(present, sides.many_number[many], counts)
    if (counts > 1).any():
        raise ExecutionError(
            "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
        )


def _computed(node: Binary, sides: _Sides, many: I64, one: I64, notes: Annotations) -> Matrix:
    swapped = node.matching.group == "right"
    left, right = (sides.one, sides.many) if swapped else (sides.many, sides.one)
    left_row, right_row = (one, many) if swapped else (many, one)
    shape = (len(many), sides.many.value.shape[1])
    value, present = np.zeros(shape), np.zeros(shape, np.bool_)
    if node.op in TRIMS:
        operator = CellOperator(node.op, notes, node.pos)
        for step in np.flatnonzero((left.present[left_row] & right.present[right_row]).any(axis=0)).tolist():
            operator(0.0, 0.0, step)
        operator.tell()
    else:
        code = _OPERATORS.index(node.op)
        _pair_values(
            code, node.bool_modifier, left.value, left.present, right.value, right.present, left_row, right_row,
            value, present,
        )  # fmt: skip
    result = Matrix(LabelTable.empty(len(many)), value, present)
    if left.histogram is None and right.histogram is None:
        return result
    return _with_histograms(node, left, right, (left_row, right_row), result, notes)


def _with_histograms(
    node: Binary, left: Matrix, right: Matrix, rows: tuple[I64, I64], result: Matrix, notes: Annotations
) -> Matrix:
    operator = CellOperator(node.op, notes, node.pos)
    left_has, right_has = holds_histogram(left)[rows[0]], holds_histogram(right)[rows[1]]
    both = (left_has | left.present[rows[0]]) & (right_has | right.present[rows[1]])
    histogram = np.full(result.value.shape, None, np.object_)
    for i, j in np.argwhere(both & (left_has | right_has)).tolist():
        a, b = int(rows[0][i]), int(rows[1][i])
        lhs = (
            left.histogram[a, j] if left_has[i, j] and left.histogram is not None else float(left.value[a, j])
        )
        rhs = (
            right.histogram[b, j]
            if right_has[i, j] and right.histogram is not None
            else float(right.value[b, j])
        )
        found = operator(lhs, rhs, j)
        if found is None:
            continue
        if node.bool_modifier:
            result.value[i, j], result.present[i, j] = float(found[1]), True
        elif found[1] and isinstance(found[0], float):
            result.value[i, j], result.present[i, j] = found[0], True
        elif found[1]:
            histogram[i, j] = found[0]
    operator.tell()
    return replace(result, histogram=histogram)


def _result_labels(node: Binary, sides: _Sides, many: I64, one: I64) -> LabelTable:
    matching, table = node.matching, sides.many.labels.take(many)
    if node.op in ARITHMETIC:
        table = table.drop(METADATA)
    if not matching.group:
        table = table.keep(matching.labels) if matching.on else table.drop(matching.labels)
    for name in matching.include:
        table = _with_label(table, name, sides.one.labels, one)
    return table


def _with_label(table: LabelTable, name: str, source: LabelTable, rows: I64) -> LabelTable:
    """``table`` with the values that other sets have for a name."""
    rest = table.drop((name,))
    if name not in source.names:
        return rest
    k = source.names.index(name)
    names = (*rest.names, name)
    order = sorted(range(len(names)), key=names.__getitem__)
    codes = np.concatenate([rest.codes, source.codes[rows, k : k + 1]], axis=1)
    values = (*rest.values, source.values[k])
    return LabelTable(tuple(names[i] for i in order), codes[:, order], tuple(values[i] for i in order))


def _unique(result: Matrix, sides: _Sides, many: I64, one: I64, matching: Matching) -> Matrix:
    """Rows with the same labels as one. Within a signature none may meet, kept by a comparison or not."""
    group, table = result.labels.group()
    if len(table) == len(result):
        return result
    if matching.group:
        met = there(sides.many)[many] & there(sides.one)[one]
        number = np.unique(np.stack([group, sides.many_number[many]]), axis=1, return_inverse=True)[
            1
        ].reshape(-1)
        counts = np.zeros((int(number.max()) + 1, met.shape[1]), np.int64)
        groupkernels.counts(met, number, counts)
        if (counts > 1).any():
            raise ExecutionError("multiple matches for labels: grouping labels must ensure unique matches")
    return merged(result, SAME_LABELS)


@njit(cache=True, nogil=True, error_model="numpy")
def _value(code, a, b):  # type: ignore[no-untyped-def]
    if code == 0:
        return a + b
    if code == 1:
        return a - b
    if code == 2:
        return a * b
    if code == 3:
        return a / b
    if code == 4:
        return a**b
    if code == 5:
        return np.fmod(a, b)
    return np.arctan2(a, b)


@njit(cache=True, nogil=True, error_model="numpy")
def _holds(code, a, b):  # type: ignore[no-untyped-def]
    if code == 7:
        return a == b
    if code == 8:
        return a != b
    if code == 9:
        return a > b
    if code == 10:
        return a < b
    if code == 11:
        return a >= b
    return a <= b


@njit(cache=True, nogil=True, error_model="numpy")
def _pair_values(  # type: ignore[no-untyped-def]
    code, as_bool, left, left_there, right, right_there, left_row, right_row, value, present
):
    """One operator over all pairs and steps. ``code`` is the place in ``_OPERATORS``."""
    for i in range(len(left_row)):
        a_row = left_row[i]
        b_row = right_row[i]
        for j in range(value.shape[1]):
            if not (left_there[a_row, j] and right_there[b_row, j]):
                continue
            a = left[a_row, j]
            b = right[b_row, j]
            if code < 7:
                value[i, j] = _value(code, a, b)
                present[i, j] = True
            elif as_bool:
                value[i, j] = 1.0 if _holds(code, a, b) else 0.0
                present[i, j] = True
            elif _holds(code, a, b):
                value[i, j] = a
                present[i, j] = True
