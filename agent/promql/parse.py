"""Text to a checked syntax tree: the grammar is the ``promql_parser`` package's.

Around it stands a thin layer, because the package has no positions and lacks some newer constructs. The
words of the text (``agent.promql.lex``) are bounded first. What the package does not know is taken
out: ``anchored`` and ``smoothed`` become spaces, duration expressions a plain duration, ``</`` and
``>/`` another comparison, underscores in numbers vanish. The package parses and checks the rest;
then its tree and the words are walked side by side (``agent.promql.shape``), in the order of the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import promql_parser

from agent.promql import shape
from agent.promql.durations import DurationParser
from agent.promql.errors import ParseError
from agent.promql.lex import DURATION, IDENTIFIER, NUMBER, SYMBOL, Token, tokens_of
from agent.promql.matchers import fits, selects_all
from agent.promql.tree import (
    SET_OPERATORS,
    TRIMS,
    VECTOR,
    Aggregation,
    Binary,
    Call,
    DurationExpr,
    Expr,
    StringLiteral,
    VectorSelector,
    unwrap,
    walk,
)

_EXTENSIONS = ("anchored", "smoothed")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is switched on beyond the stable language; the names are those of Prometheus' feature flags."""

    experimental_functions: bool = False
    extended_range_selectors: bool = False
    fill_modifiers: bool = False


EVERYTHING = Dialect(True, True, True)


@lru_cache(maxsize=1024)
def parse(query: str, dialect: Dialect = EVERYTHING) -> Expr:
    """The syntax tree of a query. Raises ParseError."""
    tokens = tokens_of(query)
    plain, durations = _plain(query, tokens)
    try:
        grammar = promql_parser.parse(plain)
    except ValueError as error:
        trim = next((token for token in tokens if token.text in TRIMS), None)
        if trim and "between scalars" in str(error):
            raise ParseError(
                f"operator {trim.text!r} not allowed for Scalar operations", query, trim.pos
            ) from error
        raise ParseError(_message(str(error)), query) from error
    try:
        root = shape.Builder(query, tokens, durations).build_all(grammar)
    except RecursionError:
        raise ParseError("nesting is too deep", query) from None
    infos = [node for node in walk(root) if isinstance(node, Call) and node.name == "info"]
    exempt = {id(node.args[1]) for node in infos if node.args[1:]}
    for node in walk(root):
        _check(node, dialect, query)
        if isinstance(node, VectorSelector):
            _check_matchers(node, exempt, query)
    return root


def _plain(query: str, tokens: list[Token]) -> tuple[str, dict[int, tuple[DurationExpr | float, int]]]:
    """The text as the package understands it, and the duration expressions by their first token, each with
    the token behind it."""
    out, copied = [], 0
    durations: dict[int, tuple[DurationExpr | float, int]] = {}

    def put(start: int, end: int, text: str) -> None:
        nonlocal copied
        out.append(query[copied:start])
        out.append(text)
        copied = end

    at, braces = 0, 0
    while at < len(tokens):
        token = tokens[at]
        braces += (token.text == "{") - (token.text == "}") if token.kind == SYMBOL else 0
        if not braces and _begins_duration(tokens, at) and _is_expression(tokens, at + 1, token.text):
            reader = DurationParser(query, tokens, at + 1)
            value = reader.offset() if token.word() == "offset" else reader.expression()
            durations[at + 1] = (value, reader.at)
            put(tokens[at + 1].pos, tokens[reader.at - 1].end, " 1s ")
            at = reader.at
            continue
        if braces == (token.text == "{"):
            instead = _instead(tokens, at)
            if instead is not None:
                put(token.pos, token.end, instead)
        at += 1
    out.append(query[copied:])
    return "".join(out), durations


def _begins_duration(tokens: list[Token], at: int) -> bool:
    """Whether a duration may follow a word."""
    token = tokens[at]
    if at + 1 == len(tokens):
        return False
    if token.kind == IDENTIFIER:
        return token.word() == "offset" and at > 0
    return token.kind == SYMBOL and (token.text == "[" or (token.text == ":" and tokens[at + 1].text != "]"))


def _instead(tokens: list[Token], at: int) -> str | None:
    """What the package is given for a word that it does not know."""
    token = tokens[at]
    if token.kind == SYMBOL and token.text in TRIMS:
        return ">="
    if token.kind == SYMBOL and token.text == "{" and any(one.text == "info" for one in tokens[:at]):
        return (
            '{x!="",'  # the labels that info() looks for may be absent; _check refuses other empty selectors
        )
    if token.kind == NUMBER and "_" in token.text:
        return token.text.replace("_", "")
    if token.kind == DURATION and _fills(tokens, at):
        return "1"
    if token.kind == IDENTIFIER and token.word() in _EXTENSIONS and _ends_selector(tokens, at):
        return " "
    return None


def _fills(tokens: list[Token], at: int) -> bool:
    """Whether a word is the value of a fill modifier."""
    at -= tokens[at - 1].text in ("-", "+")
    return at >= 2 and tokens[at - 1].text == "(" and tokens[at - 2].word() in shape.FILLS


def _is_expression(tokens: list[Token], at: int, after: str) -> bool:
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


def _ends_selector(tokens: list[Token], at: int) -> bool:
    """Whether a word follows a selector, so that it is a modifier of it and no metric's name."""
    if at == 0:
        return False
    before = tokens[at - 1]
    if before.kind == SYMBOL:
        return before.text in ("]", "}", ")")
    if before.kind == IDENTIFIER:
        return before.word() not in ("and", "or", "unless", "atan2", "bool", "group_left", "group_right")
    return before.kind in (NUMBER, DURATION)


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


def _check(node: Expr, dialect: Dialect, query: str) -> None:
    """Refuse what is not switched on."""
    refused = None
    match node:
        case Aggregation(op="limitk" | "limit_ratio" as op) if not dialect.experimental_functions:
            refused = f"{op}() is experimental and must be enabled with --enable-feature=promql-experimental-functions"
        case Call(name=name) if not dialect.experimental_functions and shape.is_experimental(name):
            refused = f'function "{name}" is not enabled'
        case VectorSelector(extension=extension) if extension and not dialect.extended_range_selectors:
            refused = f"{extension} modifier is experimental and not enabled"
        case Binary(matching=m) if m.fill_left is not None or m.fill_right is not None:
            refused = _refused_fill(node, dialect)
        case Aggregation(op="count_values", param=param) if param is None or not isinstance(
            unwrap(param), StringLiteral
        ):
            refused = "expected type string in aggregation parameter, got scalar"
    if refused is not None:
        raise ParseError(refused, query, node.pos)


def _refused_fill(node: Binary, dialect: Dialect) -> str | None:
    if not dialect.fill_modifiers:
        return "binop fill modifiers are experimental and not enabled"
    if node.op in SET_OPERATORS:
        return "filling in missing series not allowed for set operators"
    if node.lhs.type != VECTOR or node.rhs.type != VECTOR:
        return "filling in missing series only allowed between instant vectors"
    return None


def _check_matchers(node: VectorSelector, exempt: set[int], query: str) -> None:
    try:
        empty = selects_all(node.matchers)
        for matcher in node.matchers:
            fits(matcher, "")
    except ValueError as error:
        raise ParseError(str(error), query, node.pos) from error
    if empty and id(node) not in exempt:
        raise ParseError("vector selector must contain at least one non-empty matcher", query, node.pos)
