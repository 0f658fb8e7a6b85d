"""Arithmetic between durations: ``[5m * 2]``, ``offset (step() + 1s)``, as Prometheus has it behind
``promql-duration-expr``. The grammar package knows plain durations only, so these few rules stand here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from agent.promql.errors import ExecutionError, ParseError
from agent.promql.lex import DURATION, IDENTIFIER, NUMBER, Token, number_of
from agent.promql.tree import Duration, DurationExpr

_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 4}
_SIGN = 3
_OUT_OF_RANGE_S = float(1 << 63) / 1e9


class DurationParser:
    """Reads one duration expression from ``tokens[at:]``; ``at`` is then the next token."""

    def __init__(self, query: str, tokens: Sequence[Token], at: int) -> None:
        self._query, self._tokens, self.at = query, tokens, at

    def expression(self, binding: int = 0) -> float | DurationExpr:
        left = self.operand()
        while (op := self._peek()) in _BINDING and _BINDING[op] > binding:
            self.at += 1
            # Only ^ groups to the right.
            right = self.expression(_BINDING[op] - (op == "^"))
            left = DurationExpr(op, (left, right))
        return left

    def offset(self) -> float | DurationExpr:
        """What follows ``offset``: a sign at most, and one operand."""
        if self._peek() not in ("-", "+"):
            return self.operand()
        negative = self._take().text == "-"
        inner = self.operand()
        if not negative:
            return inner
        return -inner if isinstance(inner, float) else DurationExpr("-", (inner,))

    def operand(self) -> float | DurationExpr:
        """One plain, signed or parenthesised duration."""
        token = self._take()
        if token.text in ("-", "+"):
            inner = self.expression(_SIGN)
            if token.text == "+":
                return inner
            return -inner if isinstance(inner, float) else DurationExpr("-", (inner,))
        if token.text == "(":
            inner = self.expression()
            self._expect(")")
            return inner
        if token.kind in (NUMBER, DURATION):
            return number_of(token.text)
        if token.kind == IDENTIFIER and token.word() in ("step", "range"):
            self._expect("(")
            self._expect(")")
            return DurationExpr(token.word(), ())
        if token.kind == IDENTIFIER and token.word() in ("min_of", "max_of", "min", "max"):
            self._expect("(")
            first = self.expression()
            self._expect(",")
            second = self.expression()
            self._expect(")")
            return DurationExpr(token.word()[:3] + "_of", (first, second))
        raise ParseError(f"unexpected {token.text!r} in duration expression", self._query, token.pos)

    def _peek(self) -> str:
        return self._tokens[self.at].text if self.at < len(self._tokens) else ""

    def _take(self) -> Token:
        if self.at >= len(self._tokens):
            raise ParseError("unexpected end of input in duration expression", self._query, len(self._query))
        self.at += 1
        return self._tokens[self.at - 1]

    def _expect(self, text: str) -> None:
        token = self._take()
        if token.text != text:
            raise ParseError(
                f"unexpected {token.text!r} in duration expression, expected {text!r}", self._query, token.pos
            )


def resolve(duration: Duration, step_ms: int, range_ms: int, negative: bool) -> int:
    """The milliseconds of a duration in a query of that step and range. Raises ExecutionError."""
    if isinstance(duration, int):
        return duration
    seconds = _value(duration, step_ms / 1000, range_ms / 1000)
    if not negative and not seconds > 0:
        raise ExecutionError("duration must be greater than 0")
    if not abs(seconds) < _OUT_OF_RANGE_S:
        raise ExecutionError("duration is out of range")
    return int(seconds * 1000)


def _value(node: float | DurationExpr, step_s: float, range_s: float) -> float:
    if not isinstance(node, DurationExpr):
        return node
    values = [_value(operand, step_s, range_s) for operand in node.operands]
    match node.op, values:
        case "step", _:
            return step_s
        case "range", _:
            return range_s
        case "min_of", [a, b]:
            return min(a, b)
        case "max_of", [a, b]:
            return max(a, b)
        case "-", [a]:
            return -a
        case ("/" | "%") as op, [a, b]:
            if b == 0:
                raise ExecutionError("division by zero" if op == "/" else "modulo by zero")
            return a / b if op == "/" else math.fmod(a, b)
        case "^", [a, b]:
            return _power(a, b)
        case op, [a, b]:
            return a + b if op == "+" else a - b if op == "-" else a * b
    raise ExecutionError(f"unexpected duration expression operator {node.op!r}")


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent)
    except (OverflowError, ValueError):
        return math.inf
