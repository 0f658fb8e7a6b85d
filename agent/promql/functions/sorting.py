"""sort, sort_desc, sort_by_label and sort_by_label_desc: the order of the rows of an instant query.

A range query is ordered by labels whatever is asked, which these functions say; there they keep the order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cmp_to_key

import numpy as np

from agent.promql.functions import texts
from agent.promql.functions.cells import occupied
from agent.promql.functions.elementwise import vector_of
from agent.promql.functions.kinds import Argument, Body, Call, Function, Result
from agent.promql.functions.labels import text_of
from agent.promql.values import Matrix
from agent.telemetry.frames import I64
from agent.telemetry.labels import LabelTable

_CHUNK = re.compile(r"[0-9]+|[^0-9]+")
_LARGEST = 2**63  # longer numbers are compared as texts


def natural_rank(values: Sequence[str]) -> dict[str, int]:
    """The places of texts in natural order: their runs of digits are compared as numbers."""
    ordered = sorted(set(values), key=cmp_to_key(_compare))
    return {value: rank for rank, value in enumerate(ordered)}


def _compare(one: str, other: str) -> int:
    """The order of ``natsort.Compare``, which Prometheus uses: chunk by chunk, the shorter one first."""
    left, right = _CHUNK.findall(one), _CHUNK.findall(other)
    for a, b in zip(left, right, strict=False):
        if _is_number(a) and _is_number(b):
            if int(a) != int(b):
                return -1 if int(a) < int(b) else 1
        elif a != b:
            return -1 if a < b else 1
    if len(left) != len(right):
        return -1 if len(left) < len(right) else 1
    return -1 if one < other else int(one > other)


def _is_number(chunk: str) -> bool:
    return chunk[0].isdigit() and chunk.isascii() and len(chunk) < 20 and int(chunk) < _LARGEST


def _by_value(descending: bool) -> Body:
    def body(call: Call, arguments: Sequence[Argument]) -> Result:
        vector = vector_of(arguments)
        floats = Matrix(vector.labels, vector.value, vector.present, None, vector.drop_name)
        if _is_range(call):
            return floats
        rows = np.flatnonzero(floats.present[:, 0])
        value = floats.value[rows, 0]
        order = np.argsort(-value if descending else value, kind="stable")  # NaN at the end
        return _taken(floats, rows[order])

    return body


def _by_label(descending: bool) -> Body:
    def body(call: Call, arguments: Sequence[Argument]) -> Result:
        vector = vector_of(arguments)
        if _is_range(call):
            return vector
        rows = np.flatnonzero(occupied(vector)[:, 0])
        names = [text_of(arguments, place) for place in range(1, len(arguments))]
        order = _label_order(vector.labels.take(rows), names)
        return _taken(vector, rows[order[::-1] if descending else order])

    return body


def _label_order(labels: LabelTable, names: Sequence[str]) -> I64:
    keys: list[list[int]] = []
    for name in names:
        column = labels.column(name)
        rank = natural_rank(column)
        keys.append([rank[value] for value in column])
    whole = labels.rows()
    order = sorted(range(len(labels)), key=lambda row: (*(key[row] for key in keys), whole[row]))
    return np.asarray(order, np.int64)


def _is_range(call: Call) -> bool:
    if call.grid.start_ms == call.grid.end_ms:
        return False
    call.notes.warning(texts.SORT_IN_RANGE, -1)
    return True


def _taken(vector: Matrix, rows: I64) -> Matrix:
    return Matrix(
        vector.labels.take(rows),
        vector.value[rows],
        vector.present[rows],
        None if vector.histogram is None else vector.histogram[rows],
        vector.drop_name[rows] if len(vector.drop_name) else vector.drop_name,
    )


SORTING = {
    "sort": Function(_by_value(descending=False), drops_name=False),
    "sort_desc": Function(_by_value(descending=True), drops_name=False),
    "sort_by_label": Function(_by_label(descending=False), drops_name=False, experimental=True),
    "sort_by_label_desc": Function(_by_label(descending=True), drops_name=False, experimental=True),
}
