"""The package's tree and the words of the text, walked side by side into our own tree.

In-order, every node of the package's tree owns the words that it was made from, so one cursor over
the words suffices: a node's position is the word at which it begins. What the package rounds or loses is
read from the words: ``@`` before 1970, string bytes that are no UTF-8, durations beyond its
range, the modifiers it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import promql_parser as grammar

from agent.promql.errors import ParseError, too_deep
from agent.promql.lex import DURATION, IDENTIFIER, TEXT, Token, duration_ms, number_of, unquote
from agent.promql.numbers import half_away
from agent.promql.plain import FILLS
from agent.promql.tree import (
    MAX_LEVELS,
    SCALAR,
    TRIMS,
    Aggregation,
    At,
    Binary,
    Call,
    Duration,
    DurationExpr,
    Expr,
    Link,
    Matching,
    MatrixSelector,
    Negation,
    NumberLiteral,
    Paren,
    StringLiteral,
    Subquery,
    VectorSelector,
)
from agent.promql.values import Matcher
from agent.telemetry.labels import METRIC_NAME

_CARDINALITY = {"ManyToOne": "left", "OneToMany": "right"}
_EXPERIMENTAL: dict[str, bool] = {}
_STABLE = frozenset({"first_over_time"})  # since Prometheus 3.14, which the package does not know


def is_experimental(function: str) -> bool:
    """Of a function that the grammar has met."""
    return _EXPERIMENTAL.get(function, False)


@dataclass(frozen=True, slots=True)
class _Operator:
    """With its modifiers."""

    token: Token
    symbol: str
    bool_modifier: bool
    matching: Matching


class Builder:
    """Of one query. ``durations`` are expressions by their first token, each with the token behind it; ``built`` are
    parts that are there already, of which the package saw a stand-in."""

    def __init__(
        self,
        query: str,
        tokens: Sequence[Token],
        durations: Mapping[int, tuple[DurationExpr | float, int]],
        built: Mapping[int, tuple[Expr, int]],
    ) -> None:
        self._query, self._tokens, self._durations, self._built = query, tokens, durations, built
        self._at = self._depth = 0

    def build(self, node: grammar.Expr, start: int, end: int) -> Expr:
        """The tree of the tokens from ``start`` to before ``end``."""
        self._at, self._depth = start, 0
        root = self._build(node)
        if self._at != end:
            raise self._unexpected()
        return root

    def link(self, node: grammar.BinaryExpr, at: int, left: str, rhs: Expr) -> Link:
        """The operator at a token, with a right side that is there already; ``left`` is the type of the left."""
        self._at = at
        return self._linked(self._operator(node), left, rhs)

    def _build(self, node: grammar.Expr) -> Expr:
        if self._at in self._built:
            part, self._at = self._built[self._at]
            return part
        self._depth += 1
        if self._depth > MAX_LEVELS:
            raise too_deep(MAX_LEVELS, self._query)
        while self._peek() == "+":
            self._at += 1
        try:
            return self._dispatch(node)
        finally:
            self._depth -= 1

    def _dispatch(self, node: grammar.Expr) -> Expr:
        pos = self._tokens[min(self._at, len(self._tokens) - 1)].pos
        match node:
            case grammar.BinaryExpr():
                return self._binary(node)
            case grammar.UnaryExpr():
                self._expect("-")
                return Negation(self._build(node.expr), pos)
            case grammar.ParenExpr():
                self._expect("(")
                inner = self._build(node.expr)
                self._expect(")")
                return Paren(inner, pos)
            case grammar.NumberLiteral():
                return self._number(pos)
            case grammar.StringLiteral():
                return StringLiteral(self._text(self._take()), pos)
            case grammar.VectorSelector():
                return self._modified(VectorSelector(self._matchers(), pos=pos))
            case grammar.MatrixSelector():
                return self._matrix(pos)
            case grammar.SubqueryExpr():
                return self._subquery(node)
            case grammar.Call():
                return self._call(node, pos)
            case grammar.AggregateExpr():
                return self._aggregation(node, pos)
        raise ParseError(f"unexpected node {type(node).__name__}", self._query, pos)

    def _number(self, pos: int) -> Expr:
        negative = False
        while self._peek() in ("-", "+"):
            negative ^= self._take().text == "-"
        token = self._take()
        try:
            value = number_of(token.text)
        except ValueError as error:
            raise ParseError(
                f"bad number or duration syntax: {token.text!r}", self._query, token.pos
            ) from error
        return NumberLiteral(-value if negative else value, pos)

    def _binary(self, node: grammar.BinaryExpr) -> Binary:
        lhs = self._build(node.lhs)
        operator = self._operator(node)
        link = self._linked(operator, lhs.type, self._build(node.rhs))
        return Binary(link.op, lhs, link.rhs, link.bool_modifier, link.matching)

    def _operator(self, node: grammar.BinaryExpr) -> _Operator:
        op = self._take()
        symbol = op.text if op.text in TRIMS else str(node.op)
        return_bool, fill_left, fill_right = False, None, None
        while (word := self._modifier()) is not None:
            if word == "bool":
                return_bool = True
            elif word.startswith("fill"):
                value = self._fill()
                fill_left = value if word != "fill_right" else fill_left
                fill_right = value if word != "fill_left" else fill_right
            elif self._peek() == "(":
                self._skip_parens()
        return _Operator(op, symbol, return_bool, _matching(node, fill_left, fill_right))

    def _linked(self, operator: _Operator, left: str, rhs: Expr) -> Link:
        op = operator.token
        if op.text in TRIMS and operator.bool_modifier:
            raise ParseError("bool modifier can only be used on comparison operators", self._query, op.pos)
        if op.text in TRIMS and left == rhs.type == SCALAR:
            raise ParseError(f"operator {op.text!r} not allowed for Scalar operations", self._query, op.pos)
        return Link(operator.symbol, rhs, operator.bool_modifier, operator.matching)

    def _modifier(self) -> str | None:
        """The modifier of a binary operator that stands next, taken; None for the right side."""
        if self._at + 1 >= len(self._tokens) or self._tokens[self._at].kind != IDENTIFIER:
            return None
        word, after = self._tokens[self._at].word(), self._tokens[self._at + 1]
        if word in (*FILLS, "on", "ignoring") and after.text != "(":
            return None
        if word not in ("bool", "on", "ignoring", "group_left", "group_right", *FILLS):
            return None
        self._at += 1
        return word

    def _fill(self) -> float:
        self._expect("(")
        sign = -1.0 if self._peek() == "-" else 1.0
        if self._peek() in ("-", "+"):
            self._at += 1
        value = number_of(self._take().text)
        self._expect(")")
        return sign * value

    def _call(self, node: grammar.Call, pos: int) -> Call:
        function = node.func
        _EXPERIMENTAL[function.name] = function.experimental and function.name not in _STABLE
        self._at += 1
        self._expect("(")
        args = []
        for i, arg in enumerate(node.args):
            if i:
                self._expect(",")
            args.append(self._build(arg))
        self._expect(")")
        return Call(function.name, tuple(args), _result_type(function), pos)

    def _aggregation(self, node: grammar.AggregateExpr, pos: int) -> Aggregation:
        op = self._take().word()
        self._skip_grouping()
        self._expect("(")
        param = None
        if node.param is not None:
            param = self._build(node.param)
            self._expect(",")
        expr = self._build(node.expr)
        self._expect(")")
        self._skip_grouping()
        by = node.modifier
        labels = tuple(dict.fromkeys(by.labels)) if by is not None else ()
        without = by is not None and by.type == grammar.AggModifierType.Without
        return Aggregation(op, expr, param, labels, without, pos)

    def _skip_grouping(self) -> None:
        if self._peek().lower() in ("by", "without"):
            self._at += 1
            self._skip_parens()

    def _matrix(self, pos: int) -> MatrixSelector:
        matchers = self._matchers()
        self._expect("[")
        length = self._length()
        self._expect("]")
        return MatrixSelector(self._modified(VectorSelector(matchers, pos=pos)), length)

    def _subquery(self, node: grammar.SubqueryExpr) -> Subquery:
        expr = self._build(node.expr)
        self._expect("[")
        length = self._length()
        self._expect(":")
        step = self._length() if self._peek() != "]" else 0
        self._expect("]")
        carrier = self._modified(VectorSelector(()))
        if carrier.extension:
            raise ParseError(
                f"{carrier.extension} modifier is not allowed on a subquery", self._query, expr.pos
            )
        return Subquery(expr, length, step, carrier.offset, carrier.at)

    def _modified(self, selector: VectorSelector) -> VectorSelector:
        """The selector with the modifiers that follow."""
        offset, at, extension = selector.offset, selector.at, selector.extension
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.text == "@":
                self._at += 1
                at = self._time()
            elif token.kind == IDENTIFIER and token.word() == "offset":
                self._at += 1
                offset = self._duration()
            elif token.kind == IDENTIFIER and token.word() in ("anchored", "smoothed"):
                if extension:
                    raise ParseError(
                        "anchored and smoothed modifiers cannot be used together", self._query, token.pos
                    )
                self._at += 1
                extension = token.word()
            else:
                break
        return VectorSelector(selector.matchers, offset, at, extension, selector.pos)

    def _time(self) -> At:
        if self._tokens[self._at].kind == IDENTIFIER and self._peek().lower() in ("start", "end"):
            edge = self._take().word()
            self._skip_parens()
            return At(edge=edge)
        sign = 1
        while self._peek() in ("-", "+"):
            sign *= -1 if self._take().text == "-" else 1
        token = self._take()
        seconds = sign * number_of(token.text)
        if not abs(seconds) < (1 << 63) / 1000:
            raise ParseError(f"timestamp out of bounds for @ modifier: {seconds}", self._query, token.pos)
        return At(time_ms=int(half_away(seconds * 1000)))

    def _length(self) -> Duration:
        """A duration above 0."""
        pos = self._tokens[self._at].pos
        length = self._duration()
        if isinstance(length, int) and length <= 0:
            raise ParseError("duration must be greater than 0", self._query, pos)
        return length

    def _duration(self) -> Duration:
        known = self._durations.get(self._at)
        if known is not None:
            value, self._at = known
            return value if isinstance(value, DurationExpr) else self._milliseconds(value)
        sign = 1
        while self._peek() in ("-", "+"):
            sign *= -1 if self._take().text == "-" else 1
        token = self._take()
        try:
            if token.kind == DURATION:
                return sign * duration_ms(token.text)
            return self._milliseconds(sign * number_of(token.text))
        except ValueError as error:
            raise ParseError(str(error), self._query, token.pos) from error

    def _milliseconds(self, seconds: float) -> int:
        if not abs(seconds) < (1 << 63) / 1e9:
            raise ParseError("duration out of range", self._query)
        return int(half_away(seconds * 1e9) / 1e6)

    def _matchers(self) -> tuple[Matcher, ...]:
        out: list[Matcher] = []
        if self._tokens[self._at].kind == IDENTIFIER:
            out.append(Matcher(METRIC_NAME, "=", self._take().text))
        if self._peek() != "{":
            return tuple(out)
        self._at += 1
        while self._peek() != "}":
            name = self._take()
            if name.text == ",":
                continue
            label = self._text(name) if name.kind == TEXT else name.text
            if self._peek() in ("=", "!=", "=~", "!~"):
                op = self._take().text
                out.append(Matcher(label, op, self._text(self._take())))
            elif name.kind == TEXT:
                if out and out[0].name == METRIC_NAME and out[0].op == "=":
                    raise ParseError(
                        f"metric name must not be set twice: {out[0].value!r} or {label!r}",
                        self._query,
                        name.pos,
                    )
                out.insert(0, Matcher(METRIC_NAME, "=", label))
            else:
                raise ParseError(
                    "alternatives between matchers are not supported: use =~", self._query, name.pos
                )
        self._at += 1
        return tuple(out)

    def _text(self, token: Token) -> str:
        try:
            return unquote(token.text)
        except ValueError as error:
            raise ParseError(str(error), self._query, token.pos) from error

    def _skip_parens(self) -> None:
        self._expect("(")
        while self._take().text != ")":
            pass

    def _peek(self) -> str:
        return self._tokens[self._at].text if self._at < len(self._tokens) else ""

    def _take(self) -> Token:
        if self._at >= len(self._tokens):
            raise self._unexpected()
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, text: str) -> None:
        if self._peek() != text:
            raise self._unexpected()
        self._at += 1

    def _unexpected(self) -> ParseError:
        if self._at >= len(self._tokens):
            return ParseError("unexpected end of input", self._query, len(self._query))
        token = self._tokens[self._at]
        return ParseError(f"unexpected {token.text!r}", self._query, token.pos)


def _matching(node: grammar.BinaryExpr, fill_left: float | None, fill_right: float | None) -> Matching:
    modifier = node.modifier
    if modifier is None:
        return Matching(fill_left=fill_left, fill_right=fill_right)
    match = modifier.matching
    return Matching(
        on=match is not None and match.type == grammar.LabelModifierType.Include,
        labels=tuple(match.labels) if match is not None else (),
        group=_CARDINALITY.get(str(modifier.card).rpartition(".")[2], ""),
        include=tuple(modifier.group_labels or ()),
        fill_left=fill_left,
        fill_right=fill_right,
    )


def _result_type(function: grammar.Function) -> str:
    return str(function.return_type).rpartition(".")[2].lower()
