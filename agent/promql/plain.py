"""A query as the grammar package understands it, word by word.

What the package does not know is taken out: ``anchored`` and ``smoothed`` become spaces, duration expressions a
plain duration, ``</`` and ``>/`` another comparison, underscores in numbers vanish.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.promql.durations import DurationParser
from agent.promql.lex import DURATION, IDENTIFIER, NUMBER, SYMBOL, Token
from agent.promql.tree import TRIMS, DurationExpr

FILLS = ("fill", "fill_left", "fill_right")
_EXTENSIONS = ("anchored", "smoothed")
_OPERATOR_WORDS = ("and", "or", "unless", "atan2", "bool", "group_left", "group_right")


@dataclass(frozen=True, slots=True)
class Plain:
    """``pieces``: for each word what stands for it, with what parts it from the word before; those of the words of a
    duration expression but its first are empty. ``durations``: these expressions by their first word, each with
    the word behind it."""

    pieces: list[str]
    durations: dict[int, tuple[DurationExpr | float, int]]


def plain(query: str, tokens: Sequence[Token]) -> Plain:
    """Raises ParseError for a duration expression that is none."""
    pieces: list[str] = []
    durations: dict[int, tuple[DurationExpr | float, int]] = {}
    behind, braces, of_info = 0, 0, False
    for at, token in enumerate(tokens):
        if at < len(pieces):
            continue  # inside of a duration expression
        gap, behind = query[behind : token.pos], token.end
        if token.kind == SYMBOL:
            braces += (token.text == "{") - (token.text == "}")
        instead = _instead(tokens, at, of_info) if braces == (token.text == "{") else None
        of_info = of_info or token.text == "info"
        pieces.append(gap + (token.text if instead is None else instead))
        if not braces and _begins_duration(tokens, at) and _is_expression(tokens, at + 1, token.text):
            reader = DurationParser(query, tokens, at + 1)
            value = reader.offset() if token.word() == "offset" else reader.expression()
            durations[at + 1] = (value, reader.at)
            pieces.append(" 1s ")
            pieces += [""] * (reader.at - at - 2)
            behind = tokens[reader.at - 1].end
    return Plain(pieces, durations)


def _begins_duration(tokens: Sequence[Token], at: int) -> bool:
    """Whether a duration may follow a word."""
    token = tokens[at]
    if at + 1 == len(tokens):
        return False
    if token.kind == IDENTIFIER:
        return token.word() == "offset" and at > 0
    return token.kind == SYMBOL and (token.text == "[" or (token.text == ":" and tokens[at + 1].text != "]"))


def _instead(tokens: Sequence[Token], at: int, of_info: bool) -> str | None:
    """What the package is given for a word that it does not know. ``of_info``: behind a call of info()."""
    token = tokens[at]
    if token.kind == SYMBOL and token.text in TRIMS:
        return ">="
    if token.kind == SYMBOL and token.text == "{" and of_info:
        # The labels that info() looks for may be absent; other empty selectors are refused later.
        return '{x!="",'
    if token.kind == NUMBER and "_" in token.text:
        return token.text.replace("_", "")
    if token.kind == DURATION and _fills(tokens, at):
        return "1"
    if token.kind == IDENTIFIER and token.word() in _EXTENSIONS and _ends_selector(tokens, at):
        return " "
    return None


def _fills(tokens: Sequence[Token], at: int) -> bool:
    """Whether a word is the value of a fill modifier."""
    at -= tokens[at - 1].text in ("-", "+")
    return at >= 2 and tokens[at - 1].text == "(" and tokens[at - 2].word() in FILLS


def _is_expression(tokens: Sequence[Token], at: int, after: str) -> bool:
    """Whether what begins there is more than a plain duration, signed behind ``offset``."""
    first, signed = tokens[at], False
    if after not in ("[", ":") and first.text in ("-", "+"):
        at, signed = at + 1, True
        first = tokens[min(at, len(tokens) - 1)]
    if first.text in ("(", "-", "+") or first.word() in ("step", "range", "min_of", "max_of", "min", "max"):
        # `offset` may be a metric's name: it then stands before an operator or a parenthesis of its own.
        return after in ("[", ":") or signed or first.text != "+"
    if first.kind not in (NUMBER, DURATION) or after not in ("[", ":"):
        return False
    return tokens[min(at + 1, len(tokens) - 1)].text not in ("]", ":")


def _ends_selector(tokens: Sequence[Token], at: int) -> bool:
    """Whether a word follows a selector, so that it is a modifier of it and no metric's name."""
    if at == 0:
        return False
    before = tokens[at - 1]
    if before.kind == SYMBOL:
        return before.text in ("]", "}", ")")
    if before.kind == IDENTIFIER:
        return before.word() not in _OPERATOR_WORDS
    return before.kind in (NUMBER, DURATION)
