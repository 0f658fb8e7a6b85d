"""Regular expressions of Go's syntax (RE2): matched whole, in time linear in the text, with Go's templates."""

from __future__ import annotations

import re
from collections.abc import Sequence

import re2

from agent.promql.errors import ExecutionError

MOST_MEMORY_BYTES = 8 << 20  # of one compiled expression with what it has met
_NAME = re.compile(r"\w+")
_LARGEST_GROUP = 100_000_000  # numbers above are names


class WholeMatch:
    """One expression. Raises ValueError where it is none, or would take too much memory."""

    def __init__(self, expression: str) -> None:
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MOST_MEMORY_BYTES
        try:
            self._compiled = re2.compile(_clean(f"^(?s:{expression})$"), options)
        except re2.error as broken:
            told = broken.args[0] if broken.args else ""
            text = told.decode(errors="replace") if isinstance(told, bytes) else str(told)
            raise ValueError(f"{expression!r} is no regular expression: {text}") from broken

    def expand(self, template: str, texts: Sequence[str]) -> dict[str, str]:
        """Those of ``texts`` that fit, and what Go's ``Expand`` makes of the template for each."""
        parts = template_parts(template)
        numbers = [part if isinstance(part, str) else self._number(part[0]) for part in parts]
        out = {}
        for text in texts:
            found = self._compiled.fullmatch(_clean(text))
            if found is not None:
                groups = (found.group(), *found.groups(""))
                out[text] = "".join(
                    part if isinstance(part, str) else groups[part] for part in numbers if part != -1
                )
        return out

    def _number(self, name: str) -> int:
        """The group that a template names; -1 where there is none, which is empty."""
        if name.isascii() and name.isdigit() and (name == "0" or name[0] != "0"):
            number = int(name[:10])
            if number < _LARGEST_GROUP:
                return number if number <= self._compiled.groups else -1
        return int(self._compiled.groupindex.get(name, -1))


def _clean(text: str) -> str:
    """RE2 reads UTF-8 only; bytes that are none are replaced."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


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


def compile_or_fail(expression: str, function: str) -> WholeMatch:
    """Raises ExecutionError in Prometheus' words."""
    try:
        return WholeMatch(expression)
    except ValueError as broken:
        raise ExecutionError(f"invalid regular expression in {function}(): {expression}") from broken
