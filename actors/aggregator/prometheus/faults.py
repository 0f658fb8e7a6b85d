"""Where a query that is refused goes wrong, and Prometheus' words for it.

The grammar package tells no positions. A syntax error lies at the first word that no continuation can save:
the longest beginning of the query that some completion makes a query is found by bisection. Other errors are
pinned to the smallest part of the query that raises the same one alone. Trials are bounded, and are made for
refused queries only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from actors.aggregator.prometheus.syntax import parameter_types
from agent.promql.errors import ParseError
from agent.promql.lex import IDENTIFIER, SYMBOL, TEXT, Token, tokens_of, unquote
from agent.promql.parse import parse_anew
from agent.promql.tree import MATRIX, VECTOR

MAX_WORDS = 200
_SYNTAX = "invalid promql query"
_CLOSERS = {"(": ")", "[": "]", "{": "}"}
# What may stand at the end of a beginning, and what may be wanting behind its brackets.
_ENDS = ("", " x", "(x)", " (x)", " 1", " 5m", ":5m", '="y"', 'x="y"', '"y"', " by (x) (x)")
_TAILS = ("", " x", "(x)", " (x)")
_UNKNOWN = re.compile(r'unknown function with name "(\w+)"')
_ARGUMENT = re.compile(r"expected type (\w+) in call to function '(\w+)', got (\w+)")
_REGEX = re.compile(r"illegal regex for (.*)", re.DOTALL)
_DOCUMENTED = {VECTOR: "instant vector", MATRIX: "range vector"}


def located(error: ParseError) -> ParseError:
    """The error with its place, where it can be found."""
    query = error.query
    if error.position or not query:
        return error
    try:
        tokens = tokens_of(query)
    except ParseError:
        return error
    if not 0 < len(tokens) <= MAX_WORDS:
        return error
    if _SYNTAX in error.message:
        return _syntax(query, tokens)
    if error.message.startswith("unexpected"):
        quotes = re.sub(r"'([^']*)'", r'"\1"', error.message)
        return ParseError(quotes, query, _syntax(query, tokens).position)
    if found := _UNKNOWN.search(error.message):
        return _at_word(error, [one for one in tokens if one.text == found[1]])
    if found := _ARGUMENT.search(error.message):
        return _argument(error, tokens, *found.groups())
    if found := _REGEX.search(error.message):
        return _at_word(error, [one for one in tokens if one.kind == TEXT and _text(one) == found[1]])
    smallest = min(_same_errors(error, tokens), key=len, default=None)
    return _at_word(error, smallest[:1]) if smallest else error


def _at_word(error: ParseError, words: Sequence[Token]) -> ParseError:
    return ParseError(error.message, error.query, words[0].pos) if words else error


def _text(token: Token) -> str:
    try:
        return unquote(token.text)
    except ValueError:
        return ""


def _syntax(query: str, tokens: Sequence[Token]) -> ParseError:
    low, high = 0, len(tokens)  # the first ``low`` words can be completed, the first ``high + 1`` cannot
    while low < high:
        middle = (low + high + 1) // 2
        if _completes(query, tokens[:middle]):
            low = middle
        else:
            high = middle - 1
    if low == len(tokens):
        return ParseError("unexpected end of input", query, len(query))
    word = tokens[low]
    kind = f"{word.kind} " if word.kind not in (SYMBOL, TEXT) else ""
    shown = word.text if word.kind == TEXT else f'"{word.text}"'
    return ParseError(f"unexpected {kind}{shown}", query, word.pos)


def _completes(query: str, tokens: Sequence[Token]) -> bool:
    begun = query[: tokens[-1].end] if tokens else ""
    closers = "".join(_CLOSERS[one] for one in reversed(_open(tokens)))
    return any(_refusal(begun + end + closers + tail) is None for end in _ENDS for tail in _TAILS)


def _open(tokens: Sequence[Token]) -> list[str]:
    held: list[str] = []
    for token in tokens:
        if token.kind == SYMBOL and token.text in _CLOSERS:
            held.append(token.text)
        elif token.kind == SYMBOL and token.text in _CLOSERS.values() and held:
            held.pop()
    return held


def _refusal(text: str) -> str | None:
    """Why the grammar does not take a text; None where it does, whatever else is wrong with it."""
    try:
        parse_anew(text)
    except ParseError as error:
        wrong = (_SYNTAX, "unexpected", "no expression", "unclosed", "bad number", "nesting", "too many")
        return error.message if any(one in error.message for one in wrong) else None
    except RecursionError:
        return "nesting"
    return None


def _argument(error: ParseError, tokens: Sequence[Token], wanted: str, name: str, got: str) -> ParseError:
    """At the argument that has the type, in the first call that says so."""
    told = (
        f'expected type {_DOCUMENTED.get(wanted, wanted)} in call to function "{name}", '
        f"got {_DOCUMENTED.get(got, got)}"
    )
    for call in _same_errors(error, tokens):
        if call[0].text != name:
            continue
        arguments = _arguments(call[2:-1])
        declared = parameter_types(name)
        fitting = [
            one
            for i, one in enumerate(arguments)
            if _type(error.query, one) == got and declared[min(i, len(declared) - 1)] == wanted
        ]
        at = (fitting or [call])[0]
        return ParseError(told, error.query, at[0].pos)
    return ParseError(told, error.query, 0)


def _type(query: str, words: Sequence[Token]) -> str:
    try:
        return parse_anew(query[words[0].pos : words[-1].end]).type
    except ParseError:
        return ""


def _arguments(tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    depth, begin = 0, 0
    for i, token in enumerate(tokens):
        if token.kind == SYMBOL:
            depth += (token.text in _CLOSERS) - (token.text in _CLOSERS.values())
            if token.text == "," and depth == 0:
                yield tokens[begin:i]
                begin = i + 1
    if begin < len(tokens):
        yield tokens[begin:]


def _same_errors(error: ParseError, tokens: Sequence[Token]) -> Iterator[Sequence[Token]]:
    """The calls in the query that are refused for the same reason when they stand alone."""
    for i, token in enumerate(tokens[:-1]):
        if token.kind != IDENTIFIER or tokens[i + 1].text != "(":
            continue
        depth = 0
        for j in range(i + 1, len(tokens)):
            if tokens[j].kind == SYMBOL:
                depth += (tokens[j].text == "(") - (tokens[j].text == ")")
            if depth == 0:
                break
        words = tokens[i : j + 1]
        try:
            parse_anew(error.query[words[0].pos : words[-1].end])
        except ParseError as refused:
            if refused.message == error.message:
                yield words
