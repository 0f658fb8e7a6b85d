"""The words of a query with their places, as the grammar package does not tell them.

A lexer of one regular expression: it serves to bound a query before the grammar sees it, to place
annotations, and to carry what the grammar lacks (``agent.promql.plain``). Its words are those of
Prometheus' lexer, save that keywords are plain identifiers here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.promql.errors import ParseError, too_deep

IDENTIFIER, NUMBER, DURATION, TEXT, SYMBOL = "identifier", "number", "duration", "string", "symbol"

# The grammar package recurses natively: between 4,000 and 6,000 operators in a row overflow a stack of 8 MiB, and its
# time grows with the square of the nesting. What it sees of a longer query is bounded by agent.promql.reader.
MAX_LENGTH = 256 * 1024
MAX_DEPTH = 160
MAX_OPERATORS = 20_000

_WORD = re.compile(
    r"""
    (?P<space>(?:[ \t\r\n]|\#[^\n]*)+)
  | (?P<string>"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*'|`[^`]*`)
  | (?P<duration>(?:[0-9]+(?:ms|[smhdwy]))+(?![0-9A-Za-z_.]))
  | (?P<number>0[xX][0-9a-fA-F_]+|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9][0-9_]*)?)
  | (?P<identifier>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<symbol></|>/|==|!=|=~|!~|>=|<=|[-+*/%^(){}\[\],:@=<>])
    """,
    re.VERBOSE,
)
_IDENTIFIER_IN_BRACKETS = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_DURATION_PART = re.compile(r"([0-9]+)(ms|[smhdwy])")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000,
            "y": 31_536_000_000}  # fmt: skip
_UNIT_ORDER = ("y", "w", "d", "h", "m", "s", "ms")
_PAIRS = {")": "(", "]": "[", "}": "{"}
_NAMES = {"(": "parenthesis", "[": "bracket", "{": "brace"}
_OPERATORS = frozenset(
    [
        "+",
        "-",
        "*",
        "/",
        "%",
        "^",
        "==",
        "!=",
        ">",
        "<",
        ">=",
        "<=",
        "</",
        ">/",
        "and",
        "or",
        "unless",
        "atan2",
    ]
)
_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))|([^\\]+)", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Token:
    kind: str
    text: str
    pos: int

    @property
    def end(self) -> int:
        return self.pos + len(self.text)

    def word(self) -> str:
        """Lower-case, as keywords compare."""
        return self.text.lower()


def tokens_of(query: str) -> list[Token]:
    """All words of a query. Raises ParseError for what is no word, and for a query too long, too deep
    or with too many operators."""
    if len(query) > MAX_LENGTH:
        raise ParseError(f"query is too long: {len(query)} characters, at most {MAX_LENGTH} are accepted")
    out: list[Token] = []
    open_at: list[Token] = []
    operators = pos = 0
    while pos < len(query):
        token, pos = _next(query, pos, bool(open_at) and open_at[-1].text == "[")
        if token is None:
            continue
        out.append(token)
        _nest(query, token, open_at)
        operators += token.kind != TEXT and token.word() in _OPERATORS
    if open_at:
        last = open_at[-1]
        raise ParseError(f"unclosed left {_NAMES[last.text]}", query, len(query))
    if operators > MAX_OPERATORS:
        raise ParseError(f"too many operators: {operators}, at most {MAX_OPERATORS} are accepted", query)
    return out


def _next(query: str, pos: int, in_brackets: bool) -> tuple[Token | None, int]:
    found = _WORD.match(query, pos)
    if found is None:
        if query[pos] in "\"'`":
            raise ParseError("unterminated quoted string", query, pos)
        raise ParseError(f"unexpected character: {query[pos]!r}", query, pos)
    kind, text = found.lastgroup or SYMBOL, found.group()
    if kind == "space":
        return None, found.end()
    if kind == IDENTIFIER and in_brackets:
        # A colon parts range and step there, and is no letter of a name.
        name = _IDENTIFIER_IN_BRACKETS.match(query, pos)
        text, kind = (name.group(), kind) if name else (":", SYMBOL)
    if kind == DURATION:
        try:
            duration_ms(text)
        except ValueError as error:
            raise ParseError(str(error), query, pos) from error
    return Token(kind, text, pos), pos + len(text)


def _nest(query: str, token: Token, open_at: list[Token]) -> None:
    if token.kind != SYMBOL:
        return
    if token.text in _NAMES:
        open_at.append(token)
        if len(open_at) > MAX_DEPTH:
            raise too_deep(MAX_DEPTH, query, token.pos)
    elif token.text in _PAIRS:
        if not open_at or open_at[-1].text != _PAIRS[token.text]:
            raise ParseError(
                f"unexpected right {_NAMES[_PAIRS[token.text]]} {token.text!r}", query, token.pos
            )
        open_at.pop()


def number_of(text: str) -> float:
    """The value of a number, a duration (in seconds), Inf or NaN. Raises ValueError."""
    if text[:2] in ("0x", "0X"):
        return float(int(text[2:].replace("_", ""), 16))
    if _DURATION_PART.match(text):
        return duration_ms(text) / 1000
    plain = text.replace("_", "")
    if len(plain) > 1 and plain[0] == "0" and plain.isdigit() and "8" not in plain and "9" not in plain:
        return float(int(plain, 8))  # as Go reads whole numbers with a leading zero
    return float(plain)


def duration_ms(text: str) -> int:
    """``1h30m`` in ms. Units descend and none comes twice. Raises ValueError."""
    parts = _DURATION_PART.findall(text)
    order = [_UNIT_ORDER.index(unit) for _, unit in parts]
    if order != sorted(set(order)) or "".join(a + b for a, b in parts) != text:
        raise ValueError(f"not a valid duration string: {text!r}")
    total = sum(int(count) * _UNIT_MS[unit] for count, unit in parts)
    if total * 1_000_000 >= 1 << 63:
        raise ValueError("duration out of range")
    return total


def unquote(literal: str) -> str:
    """The text of a string literal, by Go's escapes; bytes that are no UTF-8 become lone surrogates.
    Raises ValueError."""
    body = literal[1:-1]
    if literal[0] == "`" or "\\" not in body:
        return body
    out = bytearray()
    for hexa, short, long, octal, plain, other in _ESCAPE.findall(body):
        if other:
            out += other.encode("utf-8", "surrogateescape")
        elif plain:
            if plain not in _ESCAPES or (plain in "'\"" and plain != literal[0]):
                raise ValueError(f"unknown escape sequence \\{plain}")
            out.append(_ESCAPES[plain])
        elif hexa or octal:
            out.append(int(hexa, 16) if hexa else int(octal, 8) & 255)
        else:
            out += chr(int(short or long, 16)).encode("utf-8")
    return out.decode("utf-8", "surrogateescape")
