"""Regular expressions of a Prometheus configuration: RE2's syntax, anchored at both ends, with Go's templates.

Python's engine runs them. What RE2 does not have (look-around, back references, atomic groups) is refused,
so that a configuration that is taken here is taken by Prometheus too; what RE2 writes otherwise is
translated.
"""

from __future__ import annotations

import re
from functools import lru_cache

_FOREIGN = re.compile(r"\(\?(?:[=!>(#]|<[=!]|P[=>])|[*+?}]\+")
_FLAGS = re.compile(r"\(\?([imsU]*)\)")
_TEMPLATE = re.compile(r"\$(?:\$|([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\})")
_POSIX = {
    "alnum": "0-9A-Za-z", "alpha": "A-Za-z", "ascii": r"\x00-\x7F", "blank": r"\t ", "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9", "graph": "!-~", "lower": "a-z", "print": " -~", "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ", "upper": "A-Z", "word": "0-9A-Za-z_", "xdigit": "0-9A-Fa-f",
}  # fmt: skip


class BadRegex(ValueError):
    """The message says what is wrong with the expression."""


@lru_cache(maxsize=1024)
def anchored(pattern: str) -> re.Pattern[str]:
    """``^(?s:pattern)$`` as Prometheus compiles it. Use with ``fullmatch``. Raises ``BadRegex``."""
    translated, flags = _translate(pattern)
    try:
        return re.compile(translated, flags | re.DOTALL | re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadRegex(f"regex {pattern!r}: {error}") from None


def is_template(text: str) -> bool:
    return "$" in text


def expand(template: str, found: re.Match[str]) -> str:
    """Go's ``Regexp.Expand``: ``$1``, ``${1}``, ``$name``, ``$$``; a group that is not there is empty. The
    longest name counts: ``$1x`` is the group ``1x``."""

    def group(mark: re.Match[str]) -> str:
        name = mark[1] or mark[2]
        if name is None:
            return "$"
        if name.isdigit():
            return (found[int(name)] or "") if int(name) <= found.re.groups else ""
        return (found[name] or "") if name in found.re.groupindex else ""

    return _TEMPLATE.sub(group, template)


def _translate(pattern: str) -> tuple[str, int]:
    out: list[str] = []
    flags, pos, in_class = 0, 0, False
    while pos < len(pattern):
        text, pos, in_class, more = _step(pattern, pos, in_class)
        if more and "".join(out):  # flags for the rest of the group: Python knows them only at the start
            raise BadRegex(f"regex {pattern!r}: write flags at the start, or as (?{more}:...)")
        for flag in more:
            flags |= {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}.get(flag, 0)
        out.append(text)
    return "".join(out), flags


def _step(pattern: str, pos: int, in_class: bool) -> tuple[str, int, bool, str]:
    """The translation of what stands at ``pos``: ``(text, next position, whether in a class, flags set)``."""
    char = pattern[pos]
    if char == "\\":
        return _escape(pattern, pos), pos + 2, in_class, ""
    if in_class:
        return _in_class(pattern, pos)
    if char == "[":
        size = 2 if pattern.startswith("[^", pos) else 1
        text = pattern[pos : pos + size]
        if pattern.startswith("]", pos + size):  # first in a class, it is a member
            return text + r"\]", pos + size + 1, True, ""
        return text, pos + size, True, ""
    if foreign := _FOREIGN.match(pattern, pos):
        raise BadRegex(f"regex {pattern!r}: {foreign[0]!r} is not part of RE2's syntax")
    if named := _FLAGS.match(pattern, pos):
        if "U" in named[1]:
            raise BadRegex(f"regex {pattern!r}: the flag U is not supported")
        return "", named.end(), False, named[1]
    if pattern.startswith("(?<", pos):
        return "(?P<", pos + 3, False, ""
    return (r"\Z" if char == "$" else char), pos + 1, False, ""


def _escape(pattern: str, pos: int) -> str:
    if pos + 1 >= len(pattern):
        raise BadRegex(f"regex {pattern!r}: it ends with a backslash")
    char = pattern[pos + 1]
    if char in "123456789pPCQE":
        raise BadRegex(f"regex {pattern!r}: \\{char} is not supported")
    return {"z": r"\Z", "a": r"\x07"}.get(char, "\\" + char)


def _in_class(pattern: str, pos: int) -> tuple[str, int, bool, str]:
    if pattern.startswith("[:", pos):
        end = pattern.find(":]", pos)
        name = pattern[pos + 2 : end] if end > 0 else ""
        if name not in _POSIX:
            raise BadRegex(f"regex {pattern!r}: [:{name}:] is not a class of characters")
        return _POSIX[name], end + 2, True, ""
    char = pattern[pos]
    if char == "]":
        return "]", pos + 1, False, ""
    return ("\\" + char if char in "[&~|" else char), pos + 1, True, ""
