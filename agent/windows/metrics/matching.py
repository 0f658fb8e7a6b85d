"""Which values of a label a matcher takes, judged once for every distinct value.

Prometheus' semantics: expressions are RE2's, anchored at both ends, and "." takes a line feed too; an absent
label is the empty value. RE2 runs in linear time, so no expression can explode; one that would need too
large a program is refused. Most expressions people write (alternations of words, a beginning, an end) are
told without it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
import re2

from agent.errors import Malformed
from agent.promql.values import Matcher
from agent.telemetry.frames import Bool

MAX_PATTERN_BYTES = 64 << 10
MOST_MEMORY_BYTES = 4 << 20  # of one compiled expression with what it has met
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_META = frozenset(r"\.+*?()|[]{}^$")
_OPERATORS = ("=", "!=", "=~", "!~")

Predicate = Callable[[str], bool]


def check(matcher: Matcher) -> None:
    """Raises ``Malformed`` for an unknown operator or an expression that RE2 does not take."""
    if matcher.op not in _OPERATORS:
        raise Malformed("bad_matcher", f"matcher operator: got {matcher.op!r}, expected one of {_OPERATORS}")
    if matcher.op in ("=~", "!~"):
        predicate(matcher.value)


def is_cheap(matcher: Matcher) -> bool:
    """Whether the values are looked up, not tried one by one."""
    return matcher.op in ("=", "!=") or words(matcher.value) is not None


def takes(matcher: Matcher, value: str) -> bool:
    """Whether one value fits."""
    if matcher.op in ("=", "!="):
        return (value == matcher.value) is (matcher.op == "=")
    return predicate(matcher.value)(value) is (matcher.op == "=~")


def fitting(matcher: Matcher, values: Sequence[str], place: Mapping[str, int], since: int = 0) -> Bool:
    """Which of ``values[since:]`` fit; ``place`` tells where a value lies."""
    negative = matcher.op in ("!=", "!~")
    exact = (matcher.value,) if matcher.op in ("=", "!=") else words(matcher.value)
    count = len(values) - since
    if exact is not None:
        fits = np.zeros(count, np.bool_)
        found = [place.get(word, -1) - since for word in exact]
        fits[[at for at in found if 0 <= at < count]] = True
    else:
        judge = predicate(matcher.value)
        fits = np.fromiter((judge(values[k]) for k in range(since, len(values))), np.bool_, count)
    return ~fits if negative else fits


@lru_cache(maxsize=1024)
def words(pattern: str) -> tuple[str, ...] | None:
    """The words of an alternation of literals; None where the expression is something else."""
    inner = pattern[1:-1] if pattern.startswith("(") and pattern.endswith(")") else pattern
    inner = inner.removeprefix("?:") if inner is not pattern else inner
    parts = [_literal(part) for part in inner.split("|")]
    found = tuple(part for part in parts if part is not None)
    return found if len(found) == len(parts) else None


@lru_cache(maxsize=128)
def predicate(pattern: str) -> Predicate:
    """The expression as a test of one value. Raises ``Malformed``."""
    simple = _simple(pattern)
    if simple:
        return simple
    compiled = _compile(pattern)
    return lambda value: compiled.fullmatch(_clean(value)) is not None


def _compile(pattern: str) -> re2._Regexp:
    if len(pattern) > MAX_PATTERN_BYTES:
        raise Malformed(
            "bad_regex",
            f"regular expression of {len(pattern)} characters: expected at most {MAX_PATTERN_BYTES}; "
            "match on another label",
        )
    options = re2.Options()
    options.log_errors = False
    options.dot_nl = True
    options.max_mem = MOST_MEMORY_BYTES
    options.never_capture = True
    try:
        return re2.compile(_clean(pattern), options)
    except re2.error as error:
        text = error.args[0] if error.args else error
        text = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        shown = pattern if len(pattern) <= 200 else pattern[:200] + "…"
        raise Malformed("bad_regex", f"error parsing regexp: {text}: `{shown}`") from None


def _simple(pattern: str) -> Predicate | None:
    """Beginnings, ends and parts: ``lit``, ``lit.*``, ``lit.+``, ``.*lit``, ``.*lit.*``, ``.*``, ``.+``."""
    found = words(pattern)
    if found is not None:
        return frozenset(found).__contains__
    if pattern == ".*":
        return lambda _: True
    if pattern == ".+":
        return lambda value: value != ""
    head, tail = pattern.startswith(".*"), pattern.endswith(".*")
    some = pattern.endswith(".+")
    literal = _literal(pattern[2 if head else 0 : -2 if tail or some else None])
    if literal is None or (head and some):
        return None
    if head and tail:
        return lambda value: literal in value
    if head:
        return lambda value: value.endswith(literal)
    if tail:
        return lambda value: value.startswith(literal)
    if some:
        return lambda value: len(value) > len(literal) and value.startswith(literal)
    return lambda value: value == literal


def _literal(pattern: str) -> str | None:
    """The text that an expression without operators stands for; None where it has some."""
    bare = _ESCAPED.sub("", pattern)
    return None if _META & set(bare) else _ESCAPED.sub(r"\1", pattern)


def _clean(text: str) -> str:
    """RE2 reads UTF-8 only; bytes that are none are replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
