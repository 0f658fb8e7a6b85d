"""The aggregations that make one series of a group; those that choose among its series are in ``choose``."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.promql import groupkernels
from agent.promql.annotations import Annotations
from agent.promql.choose import CHOOSERS, choose
from agent.promql.errors import ExecutionError
from agent.promql.histograms import add_histograms
from agent.promql.labelsets import quoted
from agent.promql.numbers import plain_number, short
from agent.promql.selectors import dropped, holds_histogram, pruned
from agent.promql.sets import there
from agent.promql.tree import Aggregation
from agent.promql.values import Grid, Matrix
from agent.telemetry.frames import F64, I64, Bool
from agent.telemetry.labels import METRIC_NAME, LabelTable

_FLOATS_ONLY = frozenset({"min", "max", "stddev", "stdvar", "quantile"})


def aggregate(
    node: Aggregation, matrix: Matrix, param: F64 | str | None, grid: Grid, notes: Annotations
) -> Matrix:
    """``param``: a number a step, or the label of count_values. Raises ExecutionError."""
    if node.op == "count_values":
        return _count_values(node, matrix, str(param))
    group, labels = grouped(node, matrix.labels)
    if node.op in CHOOSERS:
        assert isinstance(param, np.ndarray)  # the grammar saw to it  # noqa: S101
        return choose(node, matrix, param, group, notes)
    if node.op == "quantile":
        _check_quantile(node, np.asarray(param), notes)
    if matrix.histogram is not None and node.op in _FLOATS_ONLY:
        notes.info(f"ignored histogram in {node.op} aggregation", node.expr.pos)
    value, present = _floats(node.op, matrix, group, len(labels), param)
    result = Matrix(labels, value, present, None, drop_marks(matrix, group, len(labels)))
    if matrix.histogram is not None and node.op in ("sum", "avg"):
        result = add_histograms(node, matrix, group, result, notes)
    return pruned(result)


def grouped(node: Aggregation, table: LabelTable) -> tuple[I64, LabelTable]:
    """``(group of each series, labels of each group)``."""
    if not node.without and not node.labels:
        return np.zeros(len(table), np.int64), LabelTable.empty(min(1, len(table)))
    chosen = table.drop((*node.labels, METRIC_NAME)) if node.without else table.keep(node.labels)
    return chosen.group()


def _floats(op: str, matrix: Matrix, group: I64, groups: int, param: F64 | str | None) -> tuple[F64, Bool]:
    shape = (groups, matrix.value.shape[1])
    out, count = np.zeros(shape), np.zeros(shape, np.int64)
    value, present = matrix.value, matrix.present
    match op:
        case "sum":
            groupkernels.sums(value, present, group, out, count)
        case "avg":
            groupkernels.means(value, present, group, out, count)
        case "min" | "max":
            groupkernels.extremes(value, present, group, op == "max", out, count)
        case "count" | "group":
            groupkernels.counts(there(matrix), group, count)
            out = count.astype(np.float64) if op == "count" else np.ones(shape)
        case "stddev" | "stdvar":
            groupkernels.variances(value, present, group, out, count)
            out = np.sqrt(out) if op == "stddev" else out
        case "quantile":
            filled = np.zeros(shape, np.bool_)
            order, starts = by_group(group, groups)
            groupkernels.quantiles(value, present, order, starts, np.asarray(param, np.float64), out, filled)
            return out, filled
        case _:
            raise ExecutionError(f"expected aggregation operator but got {op!r}")
    return out, count > 0


def by_group(group: I64, groups: int) -> tuple[I64, I64]:
    """``(rows in the order of their groups, where each group begins)``."""
    order = np.argsort(group, kind="stable")
    starts = np.zeros(groups + 1, np.int64)
    np.cumsum(np.bincount(group, minlength=groups), out=starts[1:])
    return order, starts


def drop_marks(matrix: Matrix, group: I64, groups: int) -> Bool:
    """``drop_name`` of every group: that of any of its series."""
    marks = np.zeros(groups, np.bool_)
    if len(matrix.drop_name):
        np.logical_or.at(marks, group, dropped(matrix))
    return marks


def _check_quantile(node: Aggregation, q: F64, notes: Annotations) -> None:
    pos = node.param.pos if node.param is not None else node.pos
    if np.isnan(q).any():
        notes.warning("quantile value should be between 0 and 1, got NaN", pos)
    for outside in (q[q > 1], q[q < 0]):
        if len(outside):
            worst = outside.max() if outside[0] > 1 else outside.min()
            notes.warning(f"quantile value should be between 0 and 1, got {short(float(worst))}", pos)


def _count_values(node: Aggregation, matrix: Matrix, label: str) -> Matrix:
    if not label or any(0xDC80 <= ord(letter) <= 0xDCFF for letter in label):
        raise ExecutionError(f"invalid label name {quoted(label)}")
    cells = holds_histogram(matrix)
    rows, steps = np.nonzero(matrix.present | cells)
    numbers = np.where(cells, 0.0, matrix.value)[rows, steps]
    bits, code = np.unique(np.where(np.isnan(numbers), np.nan, numbers).view(np.int64), return_inverse=True)
    texts = [plain_number(x) for x in bits.view(np.float64).tolist()]
    code = code.reshape(-1).astype(np.int64)
    if matrix.histogram is not None:
        known: dict[str, int] = {}
        for at in np.flatnonzero(cells[rows, steps]).tolist():
            text = str(matrix.histogram[rows[at], steps[at]])
            code[at] = len(texts) + known.setdefault(text, len(known))
        texts += list(known)
    pairs, pair = np.unique(rows * max(1, len(texts)) + code, return_inverse=True)
    source, which = pairs // max(1, len(texts)), pairs % max(1, len(texts))
    labelled = matrix.labels.take(source).with_column(label, [texts[k] for k in which.tolist()])
    wanted = node if node.without else replace(node, labels=(*node.labels, label))
    group, table = grouped(wanted, labelled)
    out = np.zeros((len(table), matrix.value.shape[1]))
    np.add.at(out, (group[pair.reshape(-1)], steps), 1.0)
    return pruned(Matrix(table, out, out > 0))
