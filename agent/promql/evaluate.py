"""The evaluation of one query: every node of the tree to a value at the steps of a grid.

``Evaluation.evaluate`` is the one way down the tree. A subclass may answer a node otherwise (ask the
streams for a subtree, say) and leave the rest to this class: nothing but the node, the grid and the
options bear on a value, and whatever was noted on the way is in ``notes`` and ``samples``. Nodes have
been through ``preprocess``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.promql.aggregate import aggregate
from agent.promql.annotations import Annotations, CallNotes
from agent.promql.binary import scalars, vector_and_scalar
from agent.promql.errors import TOO_MANY_SAMPLES, ExecutionError, QueryLimit
from agent.promql.functions import FUNCTIONS
from agent.promql.functions.kinds import Argument, Function, Windows
from agent.promql.functions.kinds import Call as Invocation
from agent.promql.info import with_info
from agent.promql.join import join
from agent.promql.labelsets import drop_now, labels_text, merged
from agent.promql.options import EngineOptions, Token
from agent.promql.selectors import (
    at_steps,
    holds_histogram,
    pruned,
    selection_of,
    stretched,
    subquery_grid,
    totals_only,
    without_stale,
)
from agent.promql.sets import combine
from agent.promql.smoothing import smoothed
from agent.promql.tree import (
    SET_OPERATORS,
    Aggregation,
    At,
    Binary,
    Call,
    Chain,
    Expr,
    MatrixSelector,
    Negation,
    NumberLiteral,
    Paren,
    StepInvariant,
    StringLiteral,
    Subquery,
    VectorSelector,
    children,
    unwrap,
)
from agent.promql.values import Grid, Matcher, Matrix, Objects, Selection, Storage
from agent.telemetry.frames import F64, I64
from agent.telemetry.labels import LabelTable

# The functions that know more than the samples of a range.
_EXTENSIBLE = {
    "anchored": ("changes", "delta", "increase", "rate", "resets"),
    "smoothed": ("delta", "increase", "rate"),
}

# A string, a number a step, an instant vector a step, a range vector a step.
Value = str | F64 | Matrix | Windows


class Evaluation:
    """Of one query, for one thread."""

    def __init__(self, options: EngineOptions, storage: Storage, token: Token, notes: Annotations) -> None:
        self.options, self.storage, self.token, self.notes = options, storage, token, notes
        self.samples = 0

    def evaluate(self, node: Expr, grid: Grid) -> Value:
        """Raises QueryError."""
        self.token.check()
        match node:
            case NumberLiteral(value=number):
                return np.full(self._steps(grid), number)
            case StringLiteral(value=text):
                return text
            case VectorSelector():
                return self._vector(node, grid)
            case MatrixSelector():
                return self._windows(node, grid)
            case Subquery():
                return self._subquery(node, grid)
            case StepInvariant():
                return self._invariant(node, grid)
            case Paren(expr=expr):
                return self.evaluate(expr, grid)
            case Negation():
                return self._negation(node, grid)
            case Binary():
                return self._binary(node, grid)
            case Chain():
                return self._chain(node, grid)
            case Aggregation():
                return self._aggregation(node, grid)
            case Call():
                return self._call(node, grid)

    def matrix(self, node: Expr, grid: Grid) -> Matrix:
        value = self.evaluate(node, grid)
        if not isinstance(value, Matrix):
            raise ExecutionError(f"expected an instant vector, got {node.type}")
        return value

    def scalar(self, node: Expr, grid: Grid) -> F64:
        value = self.evaluate(node, grid)
        if not isinstance(value, np.ndarray):
            raise ExecutionError(f"expected a scalar, got {node.type}")
        return value

    def select(self, matchers: tuple[Matcher, ...], start_ms: int, end_ms: int) -> Selection:
        """Raw samples, inclusive at both ends, counted. Raises QueryLimit."""
        selection = self.storage.select(matchers, start_ms, end_ms)
        self.samples += len(selection.value)
        if selection.histograms is not None:
            self.samples += len(selection.histograms.time_ms)
        if len(selection) > self.options.max_series:
            raise QueryLimit(
                f"a selector matches {len(selection)} series, at most {self.options.max_series} are read: "
                "add matchers"
            )
        if self.samples > self.options.max_samples:
            raise QueryLimit(TOO_MANY_SAMPLES)
        return selection

    def _steps(self, grid: Grid, series: int = 1) -> int:
        """The number of steps. Raises QueryLimit where so many series at them are too much."""
        steps = 0 if grid.end_ms < grid.start_ms else len(grid)
        if steps * series > self.options.max_samples:
            raise QueryLimit(TOO_MANY_SAMPLES)
        return steps

    def _ends(self, grid: Grid, at: At | None, offset_ms: int) -> I64:
        """The times that a selector looks at, step by step."""
        times = grid.times if self._steps(grid) else np.empty(0, np.int64)
        return (np.full_like(times, at.time_ms) if at is not None else times) - offset_ms

    def _vector(self, node: VectorSelector, grid: Grid, *, stamps: bool = False) -> Matrix:
        ends = self._ends(grid, node.at, _ms(node.offset))
        if not len(ends):
            return nothing(grid)
        lookback = self.options.lookback_ms
        ahead = lookback if node.extension == "smoothed" else 0
        selection = self.select(node.matchers, int(ends[0]) - lookback + 1, int(ends[-1]) + ahead)
        self._steps(grid, len(selection))
        if node.totals:
            selection = totals_only(selection)
        if node.extension == "anchored":
            raise ExecutionError("anchored modifier can only be used with range vectors")
        if node.extension == "smoothed":
            return smoothed(selection, ends, lookback, self.notes, node.pos)
        return at_steps(selection, ends, lookback, stamps=stamps)

    def _windows(self, node: MatrixSelector, grid: Grid) -> Windows:
        selector, length = node.selector, _ms(node.range)
        ends = self._ends(grid, selector.at, _ms(selector.offset))
        if not len(ends):
            return Windows(_no_samples(), ends, length)
        lookback = self.options.lookback_ms if selector.extension else 0
        ahead = lookback if selector.extension == "smoothed" else 0
        start = int(ends[0]) - length - lookback + 1
        selection = without_stale(self.select(selector.matchers, start, int(ends[-1]) + ahead))
        if selector.totals:
            selection = totals_only(selection)
        return Windows(selection, ends, length, selector.extension, lookback)

    def _subquery(self, node: Subquery, grid: Grid) -> Windows:
        length, step = _ms(node.range), _ms(node.step) or self.options.subquery_step_ms
        ends = self._ends(grid, node.at, _ms(node.offset))
        if not len(ends):
            return Windows(_no_samples(), ends, length)
        seen = Grid(int(ends[0]), int(ends[-1]), 0 if node.at is not None else grid.step_ms)
        inner = subquery_grid(seen, length, step, 0)
        value = self.evaluate(node.expr, inner)
        if not isinstance(value, Matrix):
            raise ExecutionError("subquery is only allowed on instant vector")
        times = inner.times if inner.end_ms >= inner.start_ms else np.empty(0, np.int64)
        return Windows(selection_of(value, times), ends, length, drop_name=value.drop_name)

    def _invariant(self, node: StepInvariant, grid: Grid) -> Value:
        steps = self._steps(grid)
        value = self.evaluate(node.expr, Grid(grid.start_ms, grid.start_ms, grid.step_ms))
        match value:
            case Matrix():
                self._steps(grid, len(value))
                return stretched(value, steps)
            case Windows():
                return replace(value, ends_ms=np.repeat(value.ends_ms, steps))
            case np.ndarray():
                return np.repeat(value, steps)
        return value

    def _negation(self, node: Negation, grid: Grid) -> Value:
        value = self.evaluate(node.expr, grid)
        if isinstance(value, np.ndarray):
            return -value
        if not isinstance(value, Matrix):
            raise ExecutionError(
                f"unary expression only allowed on expressions of type scalar or vector, got {node.type}"
            )
        return self.unnamed(replace(value, value=-value.value, histogram=_negative(value)))

    def unnamed(self, matrix: Matrix) -> Matrix:
        """A result that is no longer the metric that went in. Raises ExecutionError."""
        if self.options.delayed_name_removal:
            return replace(matrix, drop_name=np.ones(len(matrix), np.bool_))
        return drop_now(matrix)

    def _binary(self, node: Binary, grid: Grid) -> Value:
        return self._combined(node, self.evaluate(node.lhs, grid), self.evaluate(node.rhs, grid))

    def _chain(self, node: Chain, grid: Grid) -> Value:
        value = self.evaluate(node.first, grid)
        for link in node.links:
            whole = Binary(link.op, node.first, link.rhs, link.bool_modifier, link.matching)
            value = self._combined(whole, value, self.evaluate(link.rhs, grid))
        return value

    def _combined(self, node: Binary, lhs: Value, rhs: Value) -> Value:
        """The value of an operator by those of its sides."""
        self.token.check()
        match lhs, rhs:
            case np.ndarray(), np.ndarray():
                return scalars(node.op, lhs, rhs)
            case Matrix(), Matrix() if node.op in SET_OPERATORS:
                return pruned(merged(combine(node.op, lhs, rhs, node.matching)))
            case Matrix(), Matrix():
                return join(node, lhs, rhs, self.notes, self.options.delayed_name_removal)
            case Matrix(), np.ndarray():
                result, renamed = vector_and_scalar(node, lhs, rhs, self.notes, swapped=False)
            case np.ndarray(), Matrix():
                result, renamed = vector_and_scalar(node, rhs, lhs, self.notes, swapped=True)
            case _:
                raise ExecutionError("binary expression must contain only scalar and instant vector types")
        return pruned(self.unnamed(result) if renamed else result)

    def _aggregation(self, node: Aggregation, grid: Grid) -> Matrix:
        param: F64 | str | None = None
        if node.param is not None:
            value = self.evaluate(node.param, grid)
            if not isinstance(value, str | np.ndarray):
                raise ExecutionError("the parameter of an aggregation must be a scalar or a string")
            param = value
        matrix = self.matrix(node.expr, grid)
        self.token.check()
        return aggregate(node, matrix, param, grid, self.notes)

    def _call(self, node: Call, grid: Grid) -> Value:
        if node.name == "info":
            return self._info(node, grid)
        function = FUNCTIONS.get(node.name)
        if function is None:
            raise ExecutionError(f'unknown function with name "{node.name}"')
        first = unwrap(node.args[0]) if node.args else None
        if node.name == "timestamp" and isinstance(first, VectorSelector):
            return self.unnamed(self._vector(first, grid, stamps=True))
        args: list[Argument] = [self.evaluate(arg, grid) for arg in node.args]
        _check_extension(node.name, args)
        self.token.check()
        value = function.body(Invocation(node.name, grid, CallNotes(self.notes, node), node), args)
        return self._named(function, value, args) if isinstance(value, Matrix) else value

    def _named(self, function: Function, value: Matrix, args: list[Argument]) -> Matrix:
        """The names of a function's result: gone, to go later, or as the argument's. Raises ExecutionError."""
        changed = not any(value.labels is _labels(arg) for arg in args)
        for arg in args:
            if isinstance(arg, Windows) and value.labels is arg.selection.labels:
                value = replace(value, drop_name=arg.drop_name)
        value = pruned(value)
        if changed and len(value) > 1:
            value = merged(value)
        return self.unnamed(value) if function.drops_name else value

    def _info(self, node: Call, grid: Grid) -> Matrix:
        base = self.matrix(node.args[0], grid)
        selector = unwrap(node.args[1]) if len(node.args) > 1 else None
        matchers = selector.matchers if isinstance(selector, VectorSelector) else None

        def fetch(wanted: tuple[Matcher, ...]) -> Matrix:
            ends, lookback = self._ends(grid, None, 0), self.options.lookback_ms
            if not len(ends):
                return nothing(grid)
            # Read is what lies at the offset and time of the first selector, looked up at the steps all the same.
            selected = self._ends(grid, *_reference(node.args[0]))
            selection = self.select(wanted, int(selected[0]) - lookback + 1, int(selected[-1]))
            self._steps(grid, len(selection))
            _refuse_histograms(selection)
            return at_steps(selection, ends, lookback, stamps=True)

        return pruned(merged(with_info(base, matchers, fetch)))


def _negative(matrix: Matrix) -> Objects | None:
    if matrix.histogram is None:
        return None
    out = np.full(matrix.value.shape, None, np.object_)
    for i, j in np.argwhere(holds_histogram(matrix)).tolist():
        out[i, j] = matrix.histogram[i, j].neg()
    return out


def nothing(grid: Grid) -> Matrix:
    """No series at the steps of a grid."""
    steps = 0 if grid.end_ms < grid.start_ms else len(grid)
    return Matrix(LabelTable.empty(), np.empty((0, steps)), np.empty((0, steps), np.bool_))


def _no_samples() -> Selection:
    return Selection(LabelTable.empty(), np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0))


def _labels(value: Argument) -> LabelTable | None:
    match value:
        case Matrix():
            return value.labels
        case Windows():
            return value.selection.labels
    return None


def _ms(duration: object) -> int:
    if not isinstance(duration, int):
        raise ExecutionError("a duration expression was not resolved: evaluate what preprocess returns")
    return duration


def _check_extension(function: str, args: list[Argument]) -> None:
    for arg in args:
        if isinstance(arg, Windows) and arg.extension and function not in _EXTENSIBLE[arg.extension]:
            allowed = ", ".join(_EXTENSIBLE[arg.extension])
            raise ExecutionError(
                f"{arg.extension} modifier can only be used with: {allowed} - not with {function}"
            )


def _refuse_histograms(selection: Selection) -> None:
    if selection.histograms is not None and len(selection.histograms.time_ms):
        row = int(np.flatnonzero(np.diff(selection.histograms.offsets))[0])
        raise ExecutionError(
            f"this should be an info metric, with float samples: {labels_text(selection.labels.row(row))}"
        )


def _reference(node: Expr) -> tuple[At | None, int]:
    """Time and offset of the first selector below, at which info metrics are read; the parameter of an
    aggregation comes after what it aggregates."""
    below = [node]
    while below:
        one = below.pop()
        if isinstance(one, VectorSelector):
            return one.at, _ms(one.offset)
        inner = children(one)
        below += inner if isinstance(one, Aggregation) else reversed(inner)
    return None, 0
