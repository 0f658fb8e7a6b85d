"""Series selectors of requests (``match[]``), and those inside of a query, as matchers."""

from __future__ import annotations

from collections.abc import Sequence

from actors.aggregator.prometheus.faults import located
from agent.promql.errors import ParseError
from agent.promql.parse import parse
from agent.promql.tree import VectorSelector, walk
from agent.promql.values import Matcher

EMPTY = "match[] must contain at least one non-empty matcher"


def parse_selectors(texts: Sequence[str]) -> list[Sequence[Matcher]]:
    """Raises ParseError, or ValueError where a selector would fit every series."""
    return [parse_selector(text) for text in texts]


def parse_selector(text: str) -> Sequence[Matcher]:
    try:
        node = parse(text)
    except ParseError as error:
        if "at least one non-empty matcher" in error.message:
            raise ValueError(EMPTY) from None
        raise located(error) from None
    if not isinstance(node, VectorSelector) or node.offset or node.at or node.extension:
        raise ParseError(f'got {text[:200]!r}, expected a series selector such as up{{job="node"}}', text)
    return node.matchers


def selectors_in(query: str) -> list[Sequence[Matcher]]:
    """The matchers of every selector of a query. Raises ParseError."""
    return [node.matchers for node in walk(parse(query)) if isinstance(node, VectorSelector)]
