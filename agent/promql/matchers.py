"""What a matcher says about one value: for the few places of the engine that ask outside of a storage."""

from __future__ import annotations

from agent.promql.functions.regex import WholeMatch
from agent.promql.values import Matcher


def fits(matcher: Matcher, value: str) -> bool:
    """Whether a matcher fits a label's value ("" where it is absent). Raises ValueError for an expression
    that is none."""
    if matcher.op in ("=", "!="):
        return (value == matcher.value) == (matcher.op == "=")
    return bool(WholeMatch(matcher.value).expand("", [value])) == (matcher.op == "=~")


def selects_all(matchers: tuple[Matcher, ...]) -> bool:
    """Whether no matcher asks for a label that is there."""
    return all(fits(matcher, "") for matcher in matchers)
