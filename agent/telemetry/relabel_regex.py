"""Regular expressions of a Prometheus configuration: RE2, anchored at both ends, with Go's templates.

Matching takes time linear in the text, whatever the expression is and a target sends.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import re2

MOST_MEMORY_BYTES = 8 << 20  # of one compiled expression
_TEMPLATE = re.compile(r"\$(?:\$|([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\})")


class BadRegex(ValueError):
    """The message says what is wrong with the expression."""


@lru_cache(maxsize=4096)
def anchored(pattern: str) -> Any:
    """``^(?s:pattern)$`` as Prometheus compiles it. Raises ``BadRegex``."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MOST_MEMORY_BYTES
    try:
        return re2.compile(_readable(f"^(?s:{pattern})$"), options)
    except re2.error as error:
        told = error.args[0] if error.args else ""
        text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
        raise BadRegex(f"regex {pattern!r}: {text}") from None


def match(pattern: str, text: str) -> Any:
    """The match of the whole text, or None."""
    return anchored(pattern).fullmatch(_readable(text))


def is_template(text: str) -> bool:
    return "$" in text


def expand(template: str, found: Any) -> str:
    """Go's ``Regexp.Expand``: ``$1``, ``${1}``, ``$name``, ``$$``; a group that is not there is empty. The
    longest name counts: ``$1x`` is the group ``1x``."""

    def group(mark: re.Match[str]) -> str:
        name = mark[1] or mark[2]
        if name is None:
            return "$"
        if name.isdigit():
            return (found.group(int(name)) or "") if len(name) < 9 and int(name) <= found.re.groups else ""
        return (found.group(name) or "") if name in found.re.groupindex else ""

    return _TEMPLATE.sub(group, template)


def _readable(text: str) -> str:
    """RE2 reads UTF-8 only; what is none is replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
