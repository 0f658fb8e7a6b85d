"""The words of a query to a tree, by the grammar package, which sees short texts only.

A row of more than ``SHORT`` binary operators is taken apart: each of its operands is parsed and checked by the
package alone, each operator with its modifiers between stand-ins of the types of its sides, and the row becomes
a flat ``Chain``. Where it stood in parentheses, a stand-in of its type takes its place. So a query may have
thousands of operators, while what the package sees nests no deeper than ``agent.promql.rows`` allows.
"""

from __future__ import annotations

from collections.abc import Sequence

import promql_parser

from agent.promql.errors import ParseError, too_deep
from agent.promql.lex import Token
from agent.promql.plain import plain
from agent.promql.rows import LEVEL, TIGHTEST, Operator, Row, Rows
from agent.promql.shape import Builder
from agent.promql.tree import (
    MATRIX,
    MAX_LEVELS,
    SCALAR,
    STRING,
    TRIMS,
    VECTOR,
    Binary,
    Chain,
    Expr,
    Link,
    children,
    joint_type,
)

SHORT = 16
# Of a query with so many operators, no row but those of a single operator is shown to the package.
_MANY = 800
_STAND_IN = {SCALAR: "1", VECTOR: "x", MATRIX: "x[1m]", STRING: '"x"'}
_ROW = {SCALAR: " 1+1 ", VECTOR: " x+x "}


def read(query: str, tokens: Sequence[Token]) -> Expr:
    """Raises ParseError, RecursionError."""
    return _Reader(query, tokens).read()


class _Reader:
    def __init__(self, query: str, tokens: Sequence[Token]) -> None:
        self._query, self._tokens = query, tokens
        known = plain(query, tokens)
        self._pieces, self._durations = known.pieces, known.durations
        # The trees of rows that were taken apart, by their first word, each with the word behind it.
        self._built: dict[int, tuple[Expr, int]] = {}
        self._operators: dict[str, promql_parser.BinaryExpr] = {}  # between stand-ins
        self._builder = Builder(query, tokens, self._durations, self._built)

    def read(self) -> Expr:
        query, tokens = self._query, self._tokens
        rows = Rows(query, tokens, self._durations)
        short = SHORT if rows.operators <= _MANY else 1
        for row in rows.closed:
            if len(row.operators) > short:
                self._take_apart(row)
        if not self._built:
            return self._parsed(0, len(tokens))
        root = self._built[0][0] if 0 in self._built else self._parsed(0, len(tokens))
        _check_depth(root, query)
        return root

    def _parsed(self, start: int, end: int) -> Expr:
        if start == end and self._tokens:
            raise self._missing(end)
        trim = next((token for token in self._tokens[start:end] if token.text in TRIMS), None)
        try:
            node = promql_parser.parse("".join(self._pieces[start:end]))
        except ValueError as error:
            raise self._refused(error, trim) from error
        return self._builder.build(node, start, end)

    def _missing(self, at: int) -> ParseError:
        """For a row that lacks an operand before a word."""
        if at == len(self._tokens):
            return ParseError("unexpected end of input", self._query, len(self._query))
        return ParseError(f'unexpected "{self._tokens[at].text}"', self._query, self._tokens[at].pos)

    def _refused(self, error: ValueError, trim: Token | None) -> ParseError:
        """The package's complaint. It was given something else for ``trim``."""
        if trim and "between scalars" in str(error):
            return ParseError(
                f"operator {trim.text!r} not allowed for Scalar operations", self._query, trim.pos
            )
        return ParseError(_message(str(error)), self._query)

    def _take_apart(self, row: Row) -> None:
        units = [self._parsed(*unit) for unit in row.units()]
        root = _Fold(self, units, row.operators).tree()
        self._built[row.start] = (root, row.end)
        self._pieces[row.start : row.end] = [_ROW[root.type], *[""] * (row.end - row.start - 1)]

    def link(self, operator: Operator, left: str, rhs: Expr) -> Link:
        """The operator with its right side; ``left`` is the type of what stands left of it."""
        token = self._tokens[operator.at]
        words = "".join(self._pieces[operator.at : operator.end])
        try:
            node = self._between(f"{_STAND_IN[left]} {words} {_STAND_IN[rhs.type]}")
        except ValueError as error:
            raise self._refused(error, token if token.text in TRIMS else None) from error
        return self._builder.link(node, operator.at, left, rhs)

    def _between(self, text: str) -> promql_parser.BinaryExpr:
        """An operator between stand-ins: most of a row are alike. Raises ValueError."""
        if text not in self._operators:
            node = promql_parser.parse(text)
            if not isinstance(node, promql_parser.BinaryExpr):
                raise ValueError("unexpected modifiers of an operator")
            self._operators[text] = node
        return self._operators[text]


class _Fold:
    """The operands of a row, grouped by how tightly their operators bind."""

    def __init__(self, reader: _Reader, units: Sequence[Expr], operators: Sequence[Operator]) -> None:
        self._reader, self._units, self._operators = reader, units, operators
        self._at = 0

    def tree(self, level: int = min(LEVEL.values())) -> Expr:
        if level > TIGHTEST:
            self._at += 1
            return self._units[self._at - 1]
        first = self.tree(level + 1)
        links: list[Link] = []
        kind = first.type
        while self._at <= len(self._operators) and self._operators[self._at - 1].level == level:
            operator = self._operators[self._at - 1]
            link = self._reader.link(operator, kind, self.tree(level + 1))
            links.append(link)
            kind = joint_type(kind, link.rhs.type)
        if len(links) > SHORT:
            return Chain(first, tuple(links), kind)
        for one in links:
            first = Binary(one.op, first, one.rhs, one.bool_modifier, one.matching)
        return first


def _check_depth(root: Expr, query: str) -> None:
    below = [(root, 1)]
    while below:
        node, depth = below.pop()
        if depth > MAX_LEVELS:
            raise too_deep(MAX_LEVELS, query)
        below += [(child, depth + 1) for child in children(node)]


def _message(text: str) -> str:
    """The package's words in Prometheus' phrasing where they differ."""
    for theirs, ours in (
        ("unknown function with name '", 'unknown function with name "'),
        ("no expression found in input", "no expression found in input"),
        ("invalid promql query", "unexpected token: invalid promql query"),
    ):
        if text.startswith(theirs):
            return ours + text[len(theirs) :].replace("'", '"')
    return text
