"""Warnings and infos of a query, each once, in the order in which they came, as Prometheus writes them."""

from __future__ import annotations

from collections.abc import Iterable

from agent.promql.errors import line_and_column
from agent.promql.tree import Call


class Annotations:
    """Of one query; ``query`` is its text, in which the annotations are placed."""

    def __init__(self, query: str) -> None:
        self.query = query
        self._warnings: dict[str, None] = {}
        self._infos: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        return list(self._warnings)

    @property
    def infos(self) -> list[str]:
        return list(self._infos)

    def warning(self, text: str, pos: int) -> None:
        self._warnings[f"PromQL warning: {text} ({line_and_column(self.query, pos)})"] = None

    def info(self, text: str, pos: int) -> None:
        self._infos[f"PromQL info: {text} ({line_and_column(self.query, pos)})"] = None

    def merge(self, warnings: Iterable[str], infos: Iterable[str]) -> None:
        """Those of a part that was evaluated elsewhere."""
        self._warnings.update(dict.fromkeys(warnings))
        self._infos.update(dict.fromkeys(infos))


class CallNotes:
    """The ``Notes`` of one function call."""

    def __init__(self, annotations: Annotations, node: Call) -> None:
        self._annotations, self._node = annotations, node

    def warning(self, text: str, argument: int = 0) -> None:
        self._annotations.warning(text, self._pos(argument))

    def info(self, text: str, argument: int = 0) -> None:
        self._annotations.info(text, self._pos(argument))

    def _pos(self, argument: int) -> int:
        return self._node.args[argument].pos if 0 <= argument < len(self._node.args) else self._node.pos


class PlacedNotes:
    """``Notes`` that all point to one place."""

    def __init__(self, annotations: Annotations, pos: int) -> None:
        self._annotations, self._pos = annotations, pos

    def warning(self, text: str, argument: int = 0) -> None:
        self._annotations.warning(text, self._pos)

    def info(self, text: str, argument: int = 0) -> None:
        self._annotations.info(text, self._pos)
