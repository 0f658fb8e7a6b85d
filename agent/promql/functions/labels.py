"""label_replace and label_join. Both work on the distinct values of the labels, not on the samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.promql.errors import ExecutionError
from agent.promql.functions.cells import occupied
from agent.promql.functions.elementwise import vector_of
from agent.promql.functions.kinds import Argument, Call, Function, Result
from agent.promql.functions.regex import compile_or_fail
from agent.promql.values import Matrix
from agent.telemetry.frames import I64, Bool
from agent.telemetry.labels import METRIC_NAME, LabelTable

DUPLICATE = "vector cannot contain metrics with the same labelset"


def text_of(arguments: Sequence[Argument], place: int) -> str:
    text = arguments[place]
    if not isinstance(text, str):
        raise TypeError(f"argument {place}: got {type(text).__name__}, expected a string")
    return text


def _label_replace(call: Call, arguments: Sequence[Argument]) -> Result:
    vector = vector_of(arguments)
    target, replacement, source, expression = (text_of(arguments, place) for place in range(1, 5))
    pattern = compile_or_fail(expression, call.name)
    _check_name(target, "destination", call.name)
    texts = vector.labels.column(source)
    expanded = pattern.expand(replacement, list(dict.fromkeys(texts)))
    if not expanded:
        return vector
    old = vector.labels.column(target)
    changed = np.fromiter((text in expanded for text in texts), np.bool_, len(texts))
    new = [expanded.get(text, kept) for text, kept in zip(texts, old, strict=True)]
    return _relabelled(vector, target, new, changed)


def _label_join(call: Call, arguments: Sequence[Argument]) -> Result:
    vector = vector_of(arguments)
    target, separator = text_of(arguments, 1), text_of(arguments, 2)
    sources = [text_of(arguments, place) for place in range(3, len(arguments))]
    for source in sources:
        _check_name(source, "source", call.name)
    _check_name(target, "destination", call.name)
    columns = [vector.labels.column(source) for source in sources]
    joined = [separator.join(parts) for parts in zip(*columns, strict=True)]
    if not columns:
        joined = [""] * len(vector)
    return _relabelled(vector, target, joined, np.ones(len(vector), np.bool_))


def _check_name(name: str, role: str, function: str) -> None:
    if not name or not _is_utf8(name):
        raise ExecutionError(f"invalid {role} label name in {function}(): {name}")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _relabelled(vector: Matrix, target: str, texts: list[str], changed: Bool) -> Matrix:
    drop_name = vector.drop_name
    if target == METRIC_NAME and len(drop_name):
        drop_name = drop_name & ~changed
    labels = vector.labels.with_column(target, texts)
    return merged(Matrix(labels, vector.value, vector.present, vector.histogram, drop_name))


def merged(matrix: Matrix) -> Matrix:
    """The matrix with one row a label set. Raises ExecutionError where two rows of one label set have a
    sample at the same step."""
    groups, labels = matrix.labels.group()
    if len(labels) == len(matrix):
        return matrix
    there = occupied(matrix)
    rows = np.flatnonzero(there.any(axis=1))  # a row without a sample is no series
    return _folded(matrix, groups, labels, rows, there)


def _folded(matrix: Matrix, groups: I64, labels: LabelTable, rows: I64, there: Bool) -> Matrix:
    shape = (len(labels), matrix.present.shape[1])
    value, present, taken = np.zeros(shape), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    histogram = None if matrix.histogram is None else np.full(shape, None, np.object_)
    drop_name = np.zeros(len(labels), np.bool_) if len(matrix.drop_name) else matrix.drop_name
    for row in rows.tolist():
        into, cells = groups[row], there[row]
        if (taken[into] & cells).any():
            raise ExecutionError(DUPLICATE)
        taken[into] |= cells
        value[into, cells] = matrix.value[row, cells]
        present[into, cells] = matrix.present[row, cells]
        if histogram is not None and matrix.histogram is not None:
            histogram[into, cells] = matrix.histogram[row, cells]
        if len(matrix.drop_name):
            drop_name[into] |= matrix.drop_name[row]
    return Matrix(labels, value, present, histogram, drop_name)


LABELS = {
    "label_replace": Function(_label_replace, drops_name=False),
    "label_join": Function(_label_join, drops_name=False),
}
