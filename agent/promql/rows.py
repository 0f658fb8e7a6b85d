"""Where the words of a query form rows of binary operators: ``a + b * c - d``, between two parentheses or commas.

The grammar package recurses natively over such rows, in time that grows with the square of their length, so
long ones are never shown to it (``agent.promql.reader``). Only operators that group to the left part a row; signs
and ``^`` belong to its units, of which the nesting is bounded here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from agent.promql.errors import too_deep
from agent.promql.lex import IDENTIFIER, SYMBOL, Token
from agent.promql.plain import FILLS
from agent.promql.tree import MAX_LEVELS

# Looser first; equal ones group to the left.
LEVEL = {
    "or": 1, "and": 2, "unless": 2, "==": 3, "!=": 3, ">": 3, "<": 3, ">=": 3, "<=": 3, "</": 3, ">/": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "atan2": 5,
}  # fmt: skip
TIGHTEST = 5
_MODIFIERS = ("bool", "on", "ignoring", "group_left", "group_right", *FILLS)
_CLOSERS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Operator:
    """The word ``at``, and the one behind its modifiers."""

    at: int
    end: int
    level: int


@dataclass(slots=True)
class Row:
    """The words from ``start`` to before ``end``, parted by ``operators``. ``nested`` is of the unit that is read."""

    start: int
    end: int = 0
    operators: list[Operator] = field(default_factory=list)
    nested: int = 0

    def units(self) -> list[tuple[int, int]]:
        """First word of each operand, and the one behind it."""
        starts = [self.start, *(operator.end for operator in self.operators)]
        ends = [*(operator.at for operator in self.operators), self.end]
        return list(zip(starts, ends, strict=True))


class Rows:
    """Of one query. ``durations``: duration expressions by their first word, each with the word behind it.
    ``closed`` are the rows with operators, inner ones first; ``operators`` counts all, signs and powers too."""

    def __init__(
        self, query: str, tokens: Sequence[Token], durations: Mapping[int, tuple[object, int]]
    ) -> None:
        """Raises ParseError for what nests too deeply."""
        self._query, self._tokens, self._durations = query, tokens, durations
        self._partner = _partners(tokens)
        self._open = [Row(0)]
        self._at, self._depth = 0, 1
        self._ended = False  # whether an operand has just ended
        self.closed: list[Row] = []
        self.operators = 0
        while self._at < len(tokens):
            self._step(tokens[self._at])
        self._close(len(tokens))

    def _step(self, token: Token) -> None:
        if self._ended and token.word() in LEVEL and token.kind in (SYMBOL, IDENTIFIER):
            self._operator(LEVEL[token.word()])
        elif token.kind == SYMBOL:
            self._symbol(token.text)
        elif self._ended and token.word() == "offset":
            self._at += 1
            if self._at in self._durations:
                self._at = self._durations[self._at][1]
            else:
                self._skip_signs()
        else:
            self._ended = True
            self._at += 1

    def _symbol(self, text: str) -> None:
        at = self._at
        self._at += 1
        match text:
            case "(":
                self._open.append(Row(at + 1))
                self._deeper(1)
                self._ended = False
            case ")":
                self._close(at)
                self._depth -= self._open.pop().nested + 1
                self._ended = True
            case "," if len(self._open) > 1:
                self._close(at)
                self._depth -= self._open[-1].nested
                self._open[-1] = Row(at + 1)
                self._ended = False
            case "[" | "{":
                self._at = self._partner[at] + 1
                self._ended = True
            case "@":
                self._skip_signs()
            case "+" | "-" | "^":
                self.operators += 1
                self._open[-1].nested += 1
                self._deeper(1)
                self._ended = False
                if text == "^":
                    self._skip_modifiers()

    def _operator(self, level: int) -> None:
        row, at = self._open[-1], self._at
        self.operators += 1
        self._at += 1
        self._skip_modifiers()
        row.operators.append(Operator(at, self._at, level))
        self._depth -= row.nested
        row.nested = 0
        self._ended = False

    def _skip_modifiers(self) -> None:
        tokens = self._tokens
        while self._at + 1 < len(tokens) and tokens[self._at].kind == IDENTIFIER:
            word, after = tokens[self._at].word(), tokens[self._at + 1].text
            if word not in _MODIFIERS or (word in (*FILLS, "on", "ignoring") and after != "("):
                return
            self._at += 1
            if word != "bool" and after == "(":
                self._at = self._partner[self._at] + 1

    def _skip_signs(self) -> None:
        while self._at < len(self._tokens) and self._tokens[self._at].text in ("+", "-"):
            self._at += 1

    def _close(self, end: int) -> None:
        row = self._open[-1]
        row.end = end
        if row.operators:
            self.closed.append(row)

    def _deeper(self, levels: int) -> None:
        self._depth += levels
        if self._depth > MAX_LEVELS:
            raise too_deep(MAX_LEVELS, self._query, self._tokens[self._at - 1].pos)


def _partners(tokens: Sequence[Token]) -> dict[int, int]:
    """The closing word of every opening one; the lexer has seen to it that there is one."""
    out: dict[int, int] = {}
    held: list[int] = []
    for at, token in enumerate(tokens):
        if token.kind != SYMBOL:
            continue
        if token.text in _CLOSERS:
            held.append(at)
        elif token.text in _CLOSERS.values():
            out[held.pop()] = at
    return out
