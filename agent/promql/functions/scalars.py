"""Functions between scalars and vectors, and those of the query's own times.

``start``, ``end``, ``step`` and ``range`` tell of the grid they are called with: whoever evaluates a subquery
replaces them by their values for the whole query before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from agent.promql.functions.elementwise import larger, smaller, vector_of
from agent.promql.functions.kinds import Argument, Call, Function, Result
from agent.promql.functions.ranges import numbers
from agent.promql.values import Matrix
from agent.telemetry.frames import F64
from agent.telemetry.labels import LabelTable


def constant(call: Call, value: float) -> F64:
    return np.full(len(call.grid), value)


def single_row(value: F64) -> Matrix:
    """One series without labels, there at every step."""
    return Matrix(LabelTable.empty(1), value.reshape(1, -1), np.ones((1, len(value)), np.bool_))


def _scalar(call: Call, arguments: Sequence[Argument]) -> Result:
    """The only float of each step; NaN where there is none or more than one."""
    vector = vector_of(arguments)
    with np.errstate(invalid="ignore"):  # the sum of infinities, where there are several
        total = np.where(vector.present, vector.value, 0.0).sum(axis=0)
    return np.where(vector.present.sum(axis=0) == 1, total, np.nan)


def _vector(call: Call, arguments: Sequence[Argument]) -> Result:
    return single_row(numbers(arguments, 0))


def _time(call: Call, arguments: Sequence[Argument]) -> Result:
    return call.grid.times / 1000


def _pi(call: Call, arguments: Sequence[Argument]) -> Result:
    return constant(call, math.pi)


def _start(call: Call, arguments: Sequence[Argument]) -> Result:
    return constant(call, call.grid.start_ms / 1000)


def _end(call: Call, arguments: Sequence[Argument]) -> Result:
    return constant(call, call.grid.end_ms / 1000)


def _step(call: Call, arguments: Sequence[Argument]) -> Result:
    return constant(call, call.grid.step_ms / 1000)


def _range(call: Call, arguments: Sequence[Argument]) -> Result:
    return constant(call, (call.grid.end_ms - call.grid.start_ms) / 1000)


def _min_of(call: Call, arguments: Sequence[Argument]) -> Result:
    return smaller(numbers(arguments, 0), numbers(arguments, 1))


def _max_of(call: Call, arguments: Sequence[Argument]) -> Result:
    return larger(numbers(arguments, 0), numbers(arguments, 1))


SCALARS = {
    "scalar": Function(_scalar),
    "vector": Function(_vector),
    "time": Function(_time),
    "pi": Function(_pi),
    "start": Function(_start, experimental=True),
    "end": Function(_end, experimental=True),
    "step": Function(_step, experimental=True),
    "range": Function(_range, experimental=True),
    "min_of": Function(_min_of, experimental=True),
    "max_of": Function(_max_of, experimental=True),
}
