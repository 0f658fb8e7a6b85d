"""The door of PromQL: a query's text, times and a storage in, a result with its annotations out.

The engine keeps nothing between queries but what the parser remembers of texts. Whoever wants to evaluate
subtrees elsewhere gives an ``Evaluation`` of their own (``agent.promql.evaluate``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agent.promql.annotations import Annotations
from agent.promql.errors import ExecutionError, QueryLimit
from agent.promql.evaluate import Evaluation, Value
from agent.promql.functions.kinds import Windows
from agent.promql.labelsets import drop_marked, label_order, unmarked
from agent.promql.options import FREE, EngineOptions, Token
from agent.promql.parse import parse
from agent.promql.preprocess import preprocess
from agent.promql.selectors import cut, reordered, taken
from agent.promql.tree import MATRIX, STRING, Expr
from agent.promql.values import Grid, Matrix, Selection, Storage
from agent.telemetry.frames import F64
from agent.telemetry.labels import LabelTable


@dataclass(frozen=True, slots=True)
class Query:
    """A text that is known to be a query. ``type`` is scalar, vector, matrix or string."""

    text: str
    root: Expr

    @property
    def type(self) -> str:
        return self.root.type


@dataclass(frozen=True, slots=True)
class Result:
    """``type`` is what the HTTP API calls it: ``vector`` and ``matrix`` of a range query are a Matrix at
    ``grid``, the matrix of an instant query is a Selection, a scalar of an instant query is a float.
    Series of a matrix are sorted by labels, those of an instant vector stand as the query puts them.
    ``samples`` counts raw samples read from the storage."""

    type: str
    value: Matrix | Selection | float | str
    grid: Grid
    warnings: list[str]
    infos: list[str]
    samples: int


@dataclass(frozen=True, slots=True)
class Engine:
    options: EngineOptions = field(default_factory=EngineOptions)
    evaluation: type[Evaluation] = Evaluation

    def prepare(self, text: str) -> Query:
        """Raises ParseError."""
        return Query(text, parse(text, self.options.dialect))

    def instant(self, text: str | Query, time_ms: int, storage: Storage, token: Token = FREE) -> Result:
        """Raises QueryError."""
        query = self.prepare(text) if isinstance(text, str) else text
        grid = Grid(time_ms, time_ms, 0)
        value, notes, samples = self._evaluated(query, grid, storage, token)
        kind = query.type
        shown: Matrix | Selection | float | str
        match value:
            case Windows():
                window = cut(unmarked(value))
                shown = reordered(window, label_order(window.labels))
            case np.ndarray():
                shown = float(value[0])
            case _:
                shown = value
        return Result(kind, shown, grid, notes.warnings, notes.infos, samples)

    def range(
        self,
        text: str | Query,
        start_ms: int,
        end_ms: int,
        step_ms: int,
        storage: Storage,
        token: Token = FREE,
    ) -> Result:
        """The query at every step from ``start_ms`` to ``end_ms``, inclusive. Raises QueryError."""
        query = self.prepare(text) if isinstance(text, str) else text
        times = Grid(start_ms, end_ms, step_ms)
        self._check_range(query, times)
        value, notes, samples = self._evaluated(query, times, storage, token)
        if isinstance(value, np.ndarray):
            value = _constant(value)
        if not isinstance(value, Matrix):
            raise ExecutionError(f"a range query cannot have a value of type {query.type}")
        order = label_order(value.labels)
        if (np.diff(order) < 0).any():
            value = taken(value, order)
        return Result(MATRIX, value, times, notes.warnings, notes.infos, samples)

    def _check_range(self, query: Query, times: Grid) -> None:
        if query.type in (MATRIX, STRING):
            shown = {MATRIX: "range vector", STRING: "string"}[query.type]
            raise ExecutionError(
                f'invalid expression type "{shown}" for range query, must be Scalar or instant Vector'
            )
        if times.step_ms <= 0:
            raise ExecutionError(f"zero or negative query resolution step: {times.step_ms} ms")
        if times.end_ms < times.start_ms:
            raise ExecutionError("end timestamp must not be before start time")
        if len(times) > self.options.max_steps:
            raise QueryLimit(
                f"exceeded maximum resolution of {self.options.max_steps:,} points per timeseries. "
                "Try decreasing the query resolution (?step=XX)"
            )

    def _evaluated(
        self, query: Query, grid: Grid, storage: Storage, token: Token
    ) -> tuple[Value, Annotations, int]:
        notes = Annotations(query.text)
        evaluation = self.evaluation(self.options, storage, token, notes)
        try:
            value = evaluation.evaluate(preprocess(query.root, grid), grid)
        except RecursionError:
            raise ExecutionError("the query is nested too deeply to be evaluated") from None
        if isinstance(value, Matrix) and self.options.delayed_name_removal:
            value = drop_marked(value)
        return value, notes, evaluation.samples


def _constant(value: F64) -> Matrix:
    """A scalar of a range query: one series without labels."""
    return Matrix(LabelTable.empty(1), value.reshape(1, -1), np.ones((1, len(value)), np.bool_))
