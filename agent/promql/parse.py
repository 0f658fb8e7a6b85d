"""Text to a checked syntax tree: the grammar is the ``promql_parser`` package's.

Around it stands a thin layer, because the package has no positions, lacks some newer constructs and recurses
natively. The words of the text (``agent.promql.lex``) are bounded first. What the package does not know is taken
out (``agent.promql.plain``), long rows of operators are taken apart (``agent.promql.rows``, ``agent.promql.reader``).
The package parses and checks the rest; then its tree and the words are walked side by side
(``agent.promql.shape``), in the order of the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from agent.promql import shape
from agent.promql.errors import ParseError, too_deep
from agent.promql.lex import tokens_of
from agent.promql.matchers import fits, selects_all
from agent.promql.reader import read
from agent.promql.tree import (
    MAX_LEVELS,
    SET_OPERATORS,
    VECTOR,
    Aggregation,
    Binary,
    Call,
    Chain,
    Expr,
    Link,
    StringLiteral,
    VectorSelector,
    unwrap,
    walk,
)

_LONG_TEXT = 2048  # characters; of longer ones, whose trees may have megabytes, few are remembered


@dataclass(frozen=True, slots=True)
class Dialect:
    """What is switched on beyond the stable language; the names are those of Prometheus' feature flags."""

    experimental_functions: bool = False
    extended_range_selectors: bool = False
    fill_modifiers: bool = False


EVERYTHING = Dialect(True, True, True)


def parse(query: str, dialect: Dialect = EVERYTHING) -> Expr:
    """The syntax tree of a query. Raises ParseError."""
    return _of_long(query, dialect) if len(query) > _LONG_TEXT else _of_short(query, dialect)


def parse_anew(query: str, dialect: Dialect = EVERYTHING) -> Expr:
    """``parse`` of what is worth no remembering."""
    try:
        root = read(query, tokens_of(query))
    except RecursionError:
        raise too_deep(MAX_LEVELS, query) from None
    infos = [node for node in walk(root) if isinstance(node, Call) and node.name == "info"]
    exempt = {id(node.args[1]) for node in infos if node.args[1:]}
    for node in walk(root):
        _check(node, dialect, query)
        if isinstance(node, VectorSelector):
            _check_matchers(node, exempt, query)
    return root


_of_short = lru_cache(maxsize=1024)(parse_anew)
_of_long = lru_cache(maxsize=8)(parse_anew)


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
        case Binary(lhs=lhs):
            refused = _refused_fill(node, lhs.type, dialect)
        case Chain(links=links):
            sides = zip(links, node.lefts(), strict=True)
            refused = next(filter(None, (_refused_fill(link, left, dialect) for link, left in sides)), None)
        case Aggregation(op="count_values", param=param) if param is None or not isinstance(
            unwrap(param), StringLiteral
        ):
            refused = "expected type string in aggregation parameter, got scalar"
    if refused is not None:
        raise ParseError(refused, query, node.pos)


def _refused_fill(node: Binary | Link, left: str, dialect: Dialect) -> str | None:
    """``left`` is the type of the left side."""
    if node.matching.fill_left is None and node.matching.fill_right is None:
        return None
    if not dialect.fill_modifiers:
        return "binop fill modifiers are experimental and not enabled"
    if node.op in SET_OPERATORS:
        return "filling in missing series not allowed for set operators"
    if left != VECTOR or node.rhs.type != VECTOR:
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
