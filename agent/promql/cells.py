"""Binary operators between two values: whole arrays of floats, or two cells of which one is a histogram."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agent.promql.annotations import Annotations
from agent.promql.tree import COMPARISONS
from agent.telemetry.frames import F64, Bool
from agent.telemetry.native import CounterReset, FloatHistogram, IncompatibleSchemas, trimmed

Cell = float | FloatHistogram


def arithmetic(op: str, lhs: F64, rhs: F64) -> F64:
    """Element by element, with IEEE's infinities and NaN."""
    with np.errstate(all="ignore"):
        match op:
            case "+":
                return lhs + rhs
            case "-":
                return lhs - rhs
            case "*":
                return lhs * rhs
            case "/":
                return lhs / rhs
            case "^":
                return np.power(lhs, rhs)
            case "%":
                return np.fmod(lhs, rhs)
            case "atan2":
                return np.arctan2(lhs, rhs)
    raise ValueError(f"no arithmetic operator: {op!r}")


def compare(op: str, lhs: F64, rhs: F64) -> Bool:
    found: Bool
    with np.errstate(all="ignore"):
        match op:
            case "==":
                found = lhs == rhs
            case "!=":
                found = lhs != rhs
            case ">":
                found = lhs > rhs
            case "<":
                found = lhs < rhs
            case ">=":
                found = lhs >= rhs
            case "<=":
                found = lhs <= rhs
            case _:
                raise ValueError(f"no comparison: {op!r}")
    return found


class CellOperator:
    """One operator of a query, where a histogram meets it. What cannot be computed gives None and is noted: of
    every step the last such pair, as in Prometheus."""

    def __init__(self, op: str, notes: Annotations, pos: int) -> None:
        self._op, self._notes, self._pos = op, notes, pos
        self._step = 0
        self._last: dict[int, tuple[Callable[[str, int], None], str]] = {}

    def tell(self) -> None:
        """Notes what was to be noted."""
        for step in sorted(self._last):
            note, text = self._last[step]
            note(text, self._pos)

    def __call__(self, lhs: Cell, rhs: Cell, step: int) -> tuple[Cell, bool] | None:
        """``(value, whether a comparison keeps it)``, or None."""
        self._step = step
        match lhs, rhs:
            case FloatHistogram(), FloatHistogram():
                return self._both(lhs, rhs)
            case FloatHistogram(), float():
                return self._left(lhs, rhs)
            case float(), FloatHistogram():
                if self._op == "*":
                    return rhs.mul(lhs).compact(), True
                return self._incompatible("float", "histogram")
        if self._op in ("</", ">/"):
            return self._incompatible("float", "float")
        a, b = np.array([lhs]), np.array([rhs])
        if self._op in COMPARISONS:
            return lhs, bool(compare(self._op, a, b)[0])
        return float(arithmetic(self._op, a, b)[0]), True

    def _left(self, lhs: FloatHistogram, rhs: float) -> tuple[Cell, bool] | None:
        match self._op:
            case "*":
                return lhs.mul(rhs).compact(), True
            case "/":
                return lhs.div(rhs).compact(), True
            case "</" | ">/":
                return trimmed(lhs, rhs, upper=self._op == "</"), True
        return self._incompatible("histogram", "float")

    def _both(self, lhs: FloatHistogram, rhs: FloatHistogram) -> tuple[Cell, bool] | None:
        match self._op:
            case "==":
                return lhs, lhs.equals(rhs)
            case "!=":
                return lhs, not lhs.equals(rhs)
            case "+" | "-":
                return self._combined(lhs, rhs)
        return self._incompatible("histogram", "histogram")

    def _combined(self, lhs: FloatHistogram, rhs: FloatHistogram) -> tuple[Cell, bool] | None:
        adds = self._op == "+"
        verb = "addition" if adds else "subtraction"
        try:
            result = lhs.add(rhs) if adds else lhs.sub(rhs)
        except IncompatibleSchemas:
            self._warn(f"incompatible bucket layout encountered for binary operator {self._op}")
            return None
        if result.collision:
            self._warn(f"conflicting counter resets during histogram {verb}")
            return None
        if result.reconciled:
            self._inform(f"mismatched custom buckets were reconciled during {verb}")
        histogram = result.histogram.compact()
        return histogram if adds else histogram.hinted(CounterReset.GAUGE), True

    def _incompatible(self, left: str, right: str) -> tuple[Cell, bool] | None:
        self._inform(
            f'incompatible sample types encountered for binary operator "{self._op}": {left} {self._op} {right}'
        )
        return None

    def _warn(self, text: str) -> None:
        self._last[self._step] = self._notes.warning, text

    def _inform(self, text: str) -> None:
        self._last[self._step] = self._notes.info, text
