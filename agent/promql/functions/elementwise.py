"""Functions of one number, over every float of an instant vector; native histograms are left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from agent.promql.functions.kinds import Argument, Body, Call, Function, Result
from agent.promql.functions.ranges import numbers
from agent.promql.values import Matrix
from agent.telemetry.frames import F64

NumberFunction = Callable[[F64], F64]


def vector_of(arguments: Sequence[Argument], place: int = 0) -> Matrix:
    vector = arguments[place]
    if not isinstance(vector, Matrix):
        raise TypeError(f"argument {place}: got {type(vector).__name__}, expected an instant vector")
    return vector


def mapped(vector: Matrix, function: NumberFunction) -> Matrix:
    with np.errstate(all="ignore"):
        value = function(vector.value)
    return Matrix(vector.labels, value, vector.present, None, vector.drop_name)


def elementwise(function: NumberFunction) -> Body:
    def body(call: Call, arguments: Sequence[Argument]) -> Result:
        return mapped(vector_of(arguments), function)

    return body


def smaller(one: F64, other: F64) -> F64:
    """The smaller of each pair: -Inf beats NaN, which beats the rest; -0 is below 0 (Go's ``math.Min``)."""
    return -larger(-one, -other)


def larger(one: F64, other: F64) -> F64:
    """The larger of each pair: +Inf beats NaN, which beats the rest; 0 is above -0 (Go's ``math.Max``)."""
    with np.errstate(invalid="ignore"):
        best = np.where((one == 0) & (other == 0), one + other, np.maximum(one, other))
        return np.where(np.isposinf(one) | np.isposinf(other), np.inf, best)


def _sign(value: F64) -> F64:
    return np.where(value < 0, -1.0, np.where(value > 0, 1.0, value))


def _round(call: Call, arguments: Sequence[Argument]) -> Result:
    nearest = numbers(arguments, 1) if len(arguments) > 1 else np.ones(1)
    with np.errstate(all="ignore"):
        inverse = 1.0 / nearest
    return mapped(vector_of(arguments), lambda value: np.floor(value * inverse + 0.5) / inverse)


def _clamp(call: Call, arguments: Sequence[Argument]) -> Result:
    return _clamped(vector_of(arguments), numbers(arguments, 1), numbers(arguments, 2))


def _clamp_min(call: Call, arguments: Sequence[Argument]) -> Result:
    lowest = numbers(arguments, 1)
    return _clamped(vector_of(arguments), lowest, np.full_like(lowest, np.inf))


def _clamp_max(call: Call, arguments: Sequence[Argument]) -> Result:
    highest = numbers(arguments, 1)
    return _clamped(vector_of(arguments), np.full_like(highest, -np.inf), highest)


def _clamped(vector: Matrix, lowest: F64, highest: F64) -> Matrix:
    """Steps whose highest is below the lowest have no result."""
    result = mapped(vector, lambda value: larger(lowest, smaller(highest, value)))
    return Matrix(result.labels, result.value, result.present & ~(highest < lowest), None, result.drop_name)


ELEMENTWISE = {
    "abs": Function(elementwise(np.abs)),
    "ceil": Function(elementwise(np.ceil)),
    "floor": Function(elementwise(np.floor)),
    "exp": Function(elementwise(np.exp)),
    "sqrt": Function(elementwise(np.sqrt)),
    "ln": Function(elementwise(np.log)),
    "log2": Function(elementwise(np.log2)),
    "log10": Function(elementwise(np.log10)),
    "sgn": Function(elementwise(_sign)),
    "round": Function(_round),
    "clamp": Function(_clamp),
    "clamp_min": Function(_clamp_min),
    "clamp_max": Function(_clamp_max),
}
