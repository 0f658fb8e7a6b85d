"""A query over several streams: what each of them can compute by itself is computed there.

A series lies in one stream. So a part of the tree that treats every series for itself (``rate(x[5m]) > 0``)
is evaluated where the series are, and its rows are put side by side; an aggregation over such a part travels
as one row a group and stream, and is aggregated once more. Everything else is evaluated here, over what
the parts gave. Raw samples travel only where a query's own value is a range vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from agent.promql.aggregate import aggregate, drop_marks, grouped
from agent.promql.annotations import Annotations
from agent.promql.errors import TOO_MANY_SAMPLES, QueryLimit
from agent.promql.evaluate import Evaluation, Value, nothing
from agent.promql.functions import FUNCTIONS
from agent.promql.groupkernels import partial_sums
from agent.promql.labelsets import merged
from agent.promql.options import EngineOptions, Token
from agent.promql.tree import (
    MATRIX,
    SCALAR,
    VECTOR,
    Aggregation,
    Binary,
    Call,
    Chain,
    Expr,
    MatrixSelector,
    Negation,
    NumberLiteral,
    Paren,
    StepInvariant,
    Subquery,
    VectorSelector,
    children,
    walk,
)
from agent.promql.values import Grid, Histograms, Matrix, Selection, Storage, Times
from agent.telemetry.frames import I64
from agent.telemetry.labels import concat_tables

# They look at all series together, at names that others may bear, or at no series at all.
_OF_ALL = frozenset(
    {
        "absent", "absent_over_time", "histogram_fraction", "histogram_quantile", "histogram_quantiles", "info",
        "label_join", "label_replace", "scalar", "sort", "sort_by_label", "sort_by_label_desc", "sort_desc",
        "time", "vector",
    }
)  # fmt: skip
# How the rows of the streams are aggregated once more.
_AGAIN = {"count": "sum", "min": "min", "max": "max", "group": "group", "topk": "topk", "bottomk": "bottomk"}
_SUMS = frozenset({"sum", "avg"})


@dataclass(frozen=True, slots=True)
class Part:
    """What one stream found: a matrix; of a sum or a mean the totals, what rounding took from them, and the counts,
    or nothing where native histograms are among the series. And the raw samples read, and annotations."""

    matrices: tuple[Matrix, ...]
    samples: int
    warnings: tuple[str, ...]
    infos: tuple[str, ...]


@runtime_checkable
class Streams(Storage, Protocol):
    """A storage in several places."""

    def parts(self, nodes: Sequence[Expr], grid: Grid, query: str) -> Sequence[Sequence[Part]]:
        """For each of some nodes that ``travel``, its ``part_of`` every place."""
        ...


def travels(node: Expr) -> bool:
    """Whether a node's value can be put together from those of the streams."""
    if isinstance(node, Aggregation):
        constant = node.param is None or isinstance(node.param, NumberLiteral)
        return (node.op in _AGAIN or node.op in _SUMS) and constant and _by_series(node.expr)
    return _by_series(node)


def _travellers(node: Expr) -> Iterator[Expr]:
    """The largest nodes that travel and are evaluated at the same steps as this one."""
    if travels(node):
        yield node
        return
    match node:
        case Paren(expr=expr) | Negation(expr=expr) | Aggregation(expr=expr):
            yield from _travellers(expr)
        case Binary(lhs=lhs, rhs=rhs):
            yield from _travellers(lhs)
            yield from _travellers(rhs)
        case Chain():
            for one in children(node):
                yield from _travellers(one)
        case Call(name=name, args=args) if name != "info":  # it looks at its second argument in its own way
            for arg in args:
                yield from _travellers(arg)


def part_of(
    node: Expr, grid: Grid, query: str, options: EngineOptions, storage: Storage, token: Token
) -> Part:
    """What a stream contributes to a node. Raises QueryError."""
    notes = Annotations(query)
    evaluation = Evaluation(options, storage, token, notes)
    if isinstance(node, Aggregation) and node.op in _SUMS:
        found = _partial_sums(node, evaluation.matrix(node.expr, grid))
    else:
        found = (evaluation.matrix(node, grid),)
    compact = tuple(replace(matrix, labels=matrix.labels.compacted()) for matrix in found)
    return Part(compact, evaluation.samples, tuple(notes.warnings), tuple(notes.infos))


def joined(found: Sequence[Selection]) -> Selection:
    """The series of all streams. One that two streams hold, because it came in by two protocols, stays two."""
    filled = [one for one in found if len(one)]
    if len(filled) <= 1:
        return filled[0] if filled else found[0]
    histograms = None
    if any(one.histograms is not None for one in filled):
        parts = [one.histograms or _none(len(one)) for one in filled]
        histograms = Histograms(
            _end_to_end([part.offsets for part in parts]),
            np.concatenate([part.time_ms for part in parts]),
            np.concatenate([part.sample for part in parts]),
        )
    return Selection(
        concat_tables([one.labels for one in filled]),
        _end_to_end([one.offsets for one in filled]),
        _joined_times([one.times for one in filled]),
        np.concatenate([one.value for one in filled]),
        histograms,
        stale=any(one.stale for one in filled),
    )


def _joined_times(parts: Sequence[Times]) -> Times:
    shifts = np.cumsum([0, *(len(part.ms) for part in parts)])
    starts = [part.start + shift for part, shift in zip(parts, shifts.tolist(), strict=False)]
    return Times(np.concatenate(starts), np.concatenate([part.ms for part in parts]))


def _none(series: int) -> Histograms:
    return Histograms(np.zeros(series + 1, np.int64), np.empty(0, np.int64), np.empty(0, np.object_))


def _end_to_end(offsets: Sequence[I64]) -> I64:
    counts = np.concatenate([np.diff(one) for one in offsets])
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])


class StreamsEvaluation(Evaluation):
    """An evaluation whose storage is ``Streams``. What the first node's steps are those of is asked for at once."""

    _asked: dict[int, Sequence[Part]] | None = None

    def evaluate(self, node: Expr, grid: Grid) -> Value:
        if grid.end_ms < grid.start_ms:
            return super().evaluate(node, grid)
        self.token.check()
        if self._asked is None:
            nodes = list(_travellers(node))
            found = self._streams().parts(nodes, grid, self.notes.query) if nodes else ()
            self._asked = {id(one): parts for one, parts in zip(nodes, found, strict=True)}
        if not travels(node):
            return super().evaluate(node, grid)
        parts = self._asked.pop(id(node), None)
        if parts is None:
            (parts,) = self._streams().parts([node], grid, self.notes.query)
        return self._put_together(node, grid, parts)

    def _put_together(self, node: Expr, grid: Grid, parts: Sequence[Part]) -> Value:
        if not isinstance(node, Aggregation):
            self._note(parts)
            return merged(side_by_side([part.matrices[0] for part in parts], grid))
        found = None if any(map(_unsettled, parts)) else self._aggregated(node, grid, parts)
        if found is None:
            return super().evaluate(node, grid)
        self._note(parts)
        return found

    def _aggregated(self, node: Aggregation, grid: Grid, parts: Sequence[Part]) -> Matrix | None:
        """None where only all of the series together tell."""
        if node.op not in _SUMS:
            rows = side_by_side([part.matrices[0] for part in parts], grid)
            param = None if node.param is None else self.scalar(node.param, grid)
            return aggregate(replace(node, op=_AGAIN[node.op]), rows, param, grid, self.notes)
        again = replace(node, op="sum")
        pieces = [matrix for part in parts for matrix in part.matrices[:2]]
        total = aggregate(again, side_by_side(pieces, grid), None, grid, self.notes)
        if node.op == "sum":
            return total
        if not np.isfinite(total.value[total.present]).all():
            return None  # the sum is too large for a number, the mean need not be
        count = aggregate(
            again, side_by_side([part.matrices[2] for part in parts], grid), None, grid, self.notes
        )
        return replace(total, value=total.value / np.maximum(count.value, 1.0))

    def _note(self, parts: Sequence[Part]) -> None:
        for part in parts:
            self.samples += part.samples
            self.notes.merge(part.warnings, part.infos)
        if self.samples > self.options.max_samples:
            raise QueryLimit(TOO_MANY_SAMPLES)

    def _streams(self) -> Streams:
        if not isinstance(self.storage, Streams):
            raise TypeError(f"expected a storage in streams, got {type(self.storage).__name__}")
        return self.storage


def side_by_side(matrices: Sequence[Matrix], grid: Grid) -> Matrix:
    """The rows of all."""
    filled = [matrix for matrix in matrices if len(matrix)]
    if len(filled) <= 1:
        return filled[0] if filled else nothing(grid)
    shape = (sum(len(matrix) for matrix in filled), filled[0].value.shape[1])
    histogram = None
    if any(matrix.histogram is not None for matrix in filled):
        cells = [
            np.full(m.value.shape, None, np.object_) if m.histogram is None else m.histogram for m in filled
        ]
        histogram = np.concatenate(cells)
    marks = [m.drop_name if len(m.drop_name) else np.zeros(len(m), np.bool_) for m in filled]
    drop_name = np.concatenate(marks)
    return Matrix(
        concat_tables([matrix.labels for matrix in filled]),
        np.concatenate([matrix.value for matrix in filled], out=np.empty(shape)),
        np.concatenate([matrix.present for matrix in filled]),
        histogram,
        drop_name if drop_name.any() else np.empty(0, np.bool_),
    )


def _by_series(node: Expr) -> bool:
    """Whether every series of the node's value comes of one series, whatever else there is."""
    match node:
        case VectorSelector():
            return True
        case Paren(expr=expr) | StepInvariant(expr=expr) | Negation(expr=expr):
            return node.type == VECTOR and _by_series(expr)
        case Binary(lhs=lhs, rhs=rhs):
            sides = ((lhs, rhs), (rhs, lhs))
            return any(
                _by_series(one) and other.type == SCALAR and _of_no_series(other) for one, other in sides
            )
        case Chain():
            about = [one for one in children(node) if one.type == VECTOR]
            return (
                len(about) == 1
                and _by_series(about[0])
                and all(_of_no_series(one) for one in children(node) if one.type == SCALAR)
            )
        case Call(name=name, args=args):
            about = [arg for arg in args if arg.type in (VECTOR, MATRIX)]
            rest = [arg for arg in args if arg.type not in (VECTOR, MATRIX)]
            return (
                name in FUNCTIONS
                and name not in _OF_ALL
                and len(about) == 1
                and (_range_by_series(about[0]) if about[0].type == MATRIX else _by_series(about[0]))
                and all(_of_no_series(arg) for arg in rest)
            )
    return False


def _range_by_series(node: Expr) -> bool:
    while isinstance(node, Paren | StepInvariant):
        node = node.expr
    if isinstance(node, Subquery):
        return _by_series(node.expr)
    return isinstance(node, MatrixSelector)


def _of_no_series(node: Expr) -> bool:
    return not any(isinstance(one, VectorSelector) for one in walk(node))


def _unsettled(part: Part) -> bool:
    """What is left out of a group of floats and histograms can be told only from all of its series."""
    return not part.matrices or bool(part.warnings) or any(m.histogram is not None for m in part.matrices)


def _partial_sums(node: Aggregation, matrix: Matrix) -> tuple[Matrix, ...]:
    if matrix.histogram is not None:
        return ()
    group, labels = grouped(node, matrix.labels)
    shape = len(labels), matrix.value.shape[1]
    total, lost, count = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.int64)
    partial_sums(matrix.value, matrix.present, group, total, lost, count)
    present = count > 0
    marks = drop_marks(matrix, group, len(labels))
    columns = (total, lost, count.astype(np.float64))
    return tuple(Matrix(labels, value, present, None, marks) for value in columns)
