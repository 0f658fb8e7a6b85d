"""Regular expressions of Go's syntax (RE2): matched whole, in time linear in the text, with Go's templates.

pyarrow carries the RE2 library, which bounds time and memory for any expression. It has no call for
captures; where an expression matches the whole text, replacing the text by the group gives it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from agent.promql.errors import ExecutionError

_NAME = re.compile(r"\w+")
_LARGEST_GROUP = 100_000_000  # numbers above are names


class WholeMatch:
    """One expression. Raises ValueError where it is none."""

    def __init__(self, expression: str) -> None:
        self._pattern = f"^(?s:{expression})$"
        try:
            pc.match_substring_regex(pa.array([""]), self._pattern)
        except pa.ArrowInvalid as broken:
            raise ValueError(str(broken)) from broken
        self._group_names = group_names(expression)

    def matches(self, texts: Sequence[str]) -> list[bool]:
        found: list[bool] = pc.match_substring_regex(_array(texts), self._pattern).to_pylist()
        return found

    def expand(self, template: str, texts: Sequence[str]) -> list[str]:
        """What Go's ``Expand`` makes of the template for each of ``texts``, all of which match."""
        if not texts:
            return []
        known: dict[str, list[str]] = {}
        columns = [[""] * len(texts)]
        for part in template_parts(template):
            if isinstance(part, str):
                columns.append([part] * len(texts))
                continue
            name = part[0]
            if name not in known:
                known[name] = self._groups(name, texts)
            columns.append(known[name])
        return ["".join(pieces) for pieces in zip(*columns, strict=True)]

    def _groups(self, name: str, texts: Sequence[str]) -> list[str]:
        number = self._number(name)
        if number == 0:
            return list(texts)
        if not 0 < number <= len(self._group_names):
            return [""] * len(texts)
        if number > 9:
            return self._late_groups(number, texts)
        found: list[str] = pc.replace_substring_regex(
            _array(texts), self._pattern, f"\\{number}", max_replacements=1
        ).to_pylist()
        return found

    def _late_groups(self, number: int, texts: Sequence[str]) -> list[str]:
        """RE2's replacements know nine groups; a later one is found by its name."""
        expression = _only_named(self._pattern, number)
        found: list[str | None] = pc.extract_regex(_array(texts), expression).field(0).to_pylist()
        return [text or "" for text in found]

    def _number(self, name: str) -> int:
        digits = name.isascii() and name.isdigit() and (name == "0" or name[0] != "0")
        if digits and int(name) < _LARGEST_GROUP:
            return int(name)
        return self._group_names.index(name) + 1 if name in self._group_names else -1


def _array(texts: Sequence[str]) -> pa.Array:
    return pa.array([text.encode("utf-8", "replace").decode() for text in texts], pa.string())


def template_parts(template: str) -> list[str | tuple[str]]:
    """Literal texts, and names of groups as tuples of one. ``$$`` is a dollar, as is one that no name
    follows."""
    parts: list[str | tuple[str]] = []
    at = 0
    while at < len(template):
        dollar = template.find("$", at)
        if dollar < 0:
            parts.append(template[at:])
            break
        parts.append(template[at:dollar])
        at = dollar + 1
        if template.startswith("$", at):
            parts.append("$")
            at += 1
            continue
        braced = template.startswith("{", at)
        name = _NAME.match(template, at + braced)
        end = name.end() if name else at
        if name is None or (braced and not template.startswith("}", end)):
            parts.append("$")
            continue
        parts.append((name.group(),))
        at = end + braced
    return parts


def group_names(expression: str) -> list[str]:
    """The names of the capturing groups in their order, "" for one without a name."""
    return [expression[start:end] for start, end in _captures(expression)]


def _captures(expression: str) -> list[tuple[int, int]]:
    """Where the names of the capturing groups lie; of an unnamed one the empty place behind its
    parenthesis."""
    found, at = [], 0
    while at < len(expression):
        character = expression[at]
        if expression.startswith("\\Q", at):
            end = expression.find("\\E", at)
            at = len(expression) if end < 0 else end + 2
        elif character == "\\":
            at += 2
        elif character == "[":
            at = _behind_class(expression, at)
        else:
            if character == "(":
                named = re.compile(r"\(\?P?<(\w+)>").match(expression, at)
                if named:
                    found.append(named.span(1))
                elif not expression.startswith("(?", at):
                    found.append((at + 1, at + 1))
            at += 1
    return found


def _behind_class(expression: str, at: int) -> int:
    """Behind the character class that begins at ``at``."""
    at += 1
    if expression.startswith("^", at):
        at += 1
    first = True
    while at < len(expression) and (first or expression[at] != "]"):
        first = False
        posix = re.compile(r"\[:\^?\w+:\]").match(expression, at)
        if posix:
            at = posix.end()
        else:
            at += 2 if expression[at] == "\\" else 1
    return at + 1


def _only_named(pattern: str, number: int) -> str:
    """The pattern with one capturing group, the ``number``-th of it, named; all others do not capture."""
    out, done = "", 0
    for place, (start, end) in enumerate(_captures(pattern), 1):
        opening = pattern.rindex("(", done, start + 1)
        out += pattern[done:opening] + ("(?P<g>" if place == number else "(?:")
        done = end + 1 if end > start else start
    return out + pattern[done:]


def compile_or_fail(expression: str, function: str) -> WholeMatch:
    """Raises ExecutionError in Prometheus' words."""
    try:
        return WholeMatch(expression)
    except ValueError as broken:
        raise ExecutionError(f"invalid regular expression in {function}(): {expression}") from broken
