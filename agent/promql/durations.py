"""Arithmetic between durations: ``[5m * 2]``, ``offset (step() + 1s)``, as Prometheus 3.14
has it without a switch. The grammar package knows plain durations only, so these few rules stand here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent.promql.errors import ExecutionError, ParseError
from agent.promql.lex import DURATION, IDENTIFIER, NUMBER, Token, number_of
from agent.promql.tree import Duration, DurationExpr

_BINDING = {"+": 1, "-": 1, "*": 2, "/": 2, "%": 2, "^": 4}
_SIGN = 3
_BY_ZERO = {"/": "division by zero", "%": "modulo by zero"}
_OUT_OF_RANGE_S = float(1 << 63) / 1e9


@dataclass(frozen=True, slots=True)
class _Part:
    """An expression and the characters that it is told to stand at: from operand to operand, without parentheses
    around it, as in Prometheus' messages."""

    value: float | DurationExpr
    start: int
    end: int


class DurationParser:
    """Reads one duration expression from ``tokens[at:]``; ``at`` is then the next token."""

    def __init__(self, query: str, tokens: Sequence[Token], at: int) -> None:
        self._query, self._tokens, self.at = query, tokens, at

    def expression(self) -> float | DurationExpr:
        """What stands in brackets. Raises ParseError, also for a number that is no length."""
        part = self._binary(0)
        if not isinstance(part.value, DurationExpr) and not part.value > 0:
            raise ParseError("duration must be greater than 0", self._query, part.start)
        return part.value

    def offset(self) -> float | DurationExpr:
        """What follows ``offset``: a sign at most, and one operand."""
        if self._peek() not in ("-", "+"):
            return self._operand().value
        sign = self._take()
        return self._signed(sign, self._operand()).value

    def _binary(self, binding: int) -> _Part:
        left = self._operand()
        while (op := self._peek()) in _BINDING and _BINDING[op] > binding:
            symbol = self._take()
            # Only ^ groups to the right.
            right = self._binary(_BINDING[op] - (op == "^"))
            if op in "/%" and right.value == 0:
                raise ParseError(_BY_ZERO[op], self._query, symbol.pos)
            left = self._made(op, (left, right), left.start, right.end)
        return left

    def _operand(self) -> _Part:
        """One plain, signed or parenthesised duration."""
        token = self._take()
        if token.text in ("-", "+"):
            return self._signed(token, self._binary(_SIGN))
        if token.text == "(":
            inner = self._binary(0)
            self._expect(")")
            return inner
        if token.kind in (NUMBER, DURATION):
            return _Part(number_of(token.text), token.pos, token.end)
        word = token.word() if token.kind == IDENTIFIER else ""
        if word in ("step", "range"):
            self._expect("(")
            return self._made(word, (), token.pos, self._expect(")").end)
        if word in ("min_of", "max_of", "min", "max"):
            self._expect("(")
            first = self._binary(0)
            self._expect(",")
            second = self._binary(0)
            self._expect(")")
            return self._made(word[:3] + "_of", (first, second), first.start, second.end)
        raise ParseError(f"unexpected {token.text!r} in duration expression", self._query, token.pos)

    def _signed(self, sign: Token, inner: _Part) -> _Part:
        if sign.text == "+":
            return inner
        if isinstance(inner.value, DurationExpr):
            return self._made("-", (inner,), sign.pos, inner.end)
        return replace(inner, value=-inner.value, start=sign.pos)

    def _made(self, op: str, operands: tuple[_Part, ...], start: int, end: int) -> _Part:
        place = self._byte(start), self._byte(end)
        return _Part(DurationExpr(op, tuple(one.value for one in operands), place), start, end)

    def _byte(self, pos: int) -> int:
        return len(self._query[:pos].encode("utf-8", "surrogateescape"))

    def _peek(self) -> str:
        return self._tokens[self.at].text if self.at < len(self._tokens) else ""

    def _take(self) -> Token:
        if self.at >= len(self._tokens):
            raise ParseError("unexpected end of input in duration expression", self._query, len(self._query))
        self.at += 1
        return self._tokens[self.at - 1]

    def _expect(self, text: str) -> Token:
        token = self._take()
        if token.text != text:
            raise ParseError(
                f"unexpected {token.text!r} in duration expression, expected {text!r}", self._query, token.pos
            )
        return token


def resolve(duration: Duration, step_ms: int, range_ms: int, negative: bool) -> int:
    """The milliseconds of a duration in a query of that step and range. Raises ExecutionError."""
    if isinstance(duration, int):
        return duration
    seconds = _value(duration, step_ms / 1000, range_ms / 1000)
    if not math.isfinite(seconds):
        raise _failed(duration, "duration is NaN or infinite")
    if seconds <= 0 and not negative:
        raise _failed(duration, "duration must be greater than 0")
    if not abs(seconds) < _OUT_OF_RANGE_S:
        raise _failed(duration, "duration is out of range")
    return int(seconds * 1000)


def _failed(node: DurationExpr, problem: str) -> ExecutionError:
    return ExecutionError(f"{node.place[0]}:{node.place[1]}: {problem}")


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
                raise _failed(node, _BY_ZERO[op])
            return a / b if op == "/" else math.fmod(a, b)
        case "^", [a, b]:
            return _power(a, b)
        case op, [a, b]:
            return a + b if op == "+" else a - b if op == "-" else a * b
    raise ExecutionError(f"unexpected duration expression operator {node.op!r}")


def _power(base: float, exponent: float) -> float:
    """As Go's math.Pow."""
    with np.errstate(all="ignore"):
        return float(np.power(np.float64(base), exponent))
