"""The aggregations that keep some series of each group: topk, bottomk, limitk, limit_ratio."""

from __future__ import annotations

import numpy as np

from agent.promql import groupkernels
from agent.promql.annotations import Annotations
from agent.promql.errors import ExecutionError
from agent.promql.numbers import go_value, short
from agent.promql.ratio import offsets_of
from agent.promql.selectors import pruned, taken
from agent.promql.sets import masked, there
from agent.promql.tree import Aggregation
from agent.promql.values import Matrix
from agent.telemetry.frames import F64, I64, Bool

CHOOSERS = frozenset({"topk", "bottomk", "limitk", "limit_ratio"})
_INT64 = float(1 << 63)


def choose(node: Aggregation, matrix: Matrix, param: F64, group: I64, notes: Annotations) -> Matrix:
    """``param`` is the number or the share, step by step. Raises ExecutionError."""
    if node.op == "limit_ratio":
        return pruned(masked(matrix, _ratio(node, matrix, param, notes)))
    k = _count(param, len(matrix))
    if k is None:
        return taken(matrix, np.empty(0, np.int64))
    groups = int(group.max()) + 1 if len(group) else 0
    order = np.argsort(group, kind="stable")
    starts = np.zeros(groups + 1, np.int64)
    np.cumsum(np.bincount(group, minlength=groups), out=starts[1:])
    kept = np.zeros(matrix.value.shape, np.bool_)
    if node.op == "limitk":
        groupkernels.first(there(matrix), order, starts, k, kept)
        return pruned(masked(matrix, kept))
    if matrix.histogram is not None:
        notes.info(f"ignored histogram in {node.op} aggregation", node.pos)
    groupkernels.best(matrix.value, matrix.present, order, starts, k, node.op == "bottomk", kept)
    chosen = masked(matrix, kept)
    if matrix.value.shape[1] != 1:
        return pruned(chosen)
    return taken(chosen, _ranking(chosen, group, node.op == "bottomk"))


def _ranking(matrix: Matrix, group: I64, ascending: bool) -> I64:
    """The rows of an instant vector group by group, the best first, NaN last."""
    rows = np.flatnonzero(matrix.present[:, 0])
    value = matrix.value[rows, 0]
    by_value = value if ascending else -value
    return rows[np.lexsort([by_value, np.isnan(value), group[rows]])]


def _count(param: F64, series: int) -> I64 | None:
    """``param`` as whole numbers, at most the number of series; None where no step wants any."""
    if not len(param) or not (np.isnan(param) | (param >= 1)).any():
        return None
    if np.isnan(param).any():
        raise ExecutionError("Parameter value is NaN")
    if param.min() <= -_INT64:
        raise ExecutionError(f"Scalar value {go_value(float(param.min()))} underflows int64")
    if param.max() >= _INT64:
        raise ExecutionError(f"Scalar value {go_value(float(param.max()))} overflows int64")
    return np.minimum(param, float(series)).astype(np.int64)


def _ratio(node: Aggregation, matrix: Matrix, ratio: F64, notes: Annotations) -> Bool:
    """Which series lie in the share: by a hash of their labels, so that ``r`` and ``r - 1`` complement each
    other."""
    if np.isnan(ratio).any():
        raise ExecutionError("Ratio value is NaN")
    pos = node.param.pos if node.param is not None else node.pos
    for extreme, bound in ((ratio.max(initial=0), 1.0), (ratio.min(initial=0), -1.0)):
        if abs(extreme) > 1.0 and (extreme > 0) == (bound > 0):
            notes.warning(
                f"ratio value should be between -1 and 1, got {short(float(extreme))}, capping to {bound:g}",
                pos,
            )
    share = np.clip(ratio, -1.0, 1.0)
    place = offsets_of(matrix.labels).reshape(-1, 1)
    found: Bool = np.where(share >= 0, place < share, place >= 1.0 + share)
    chosen: Bool = found & there(matrix) & (share != 0)
    return chosen
