"""Warnings and infos of a query, in the order in which they came, as Prometheus writes them: each text once, with
the place that it had last."""

from __future__ import annotations

from collections.abc import Iterable

from agent.promql.errors import line_and_column
from agent.promql.tree import Call


class Annotations:
    """Of one query; ``query`` is its text, in which the annotations are placed."""

    def __init__(self, query: str) -> None:
        self.query = query
        # The place of each text.
        self._warnings: dict[str, str] = {}
        self._infos: dict[str, str] = {}

    @property
    def warnings(self) -> list[str]:
        return [f"{text} ({place})" for text, place in self._warnings.items()]

    @property
    def infos(self) -> list[str]:
        return [f"{text} ({place})" for text, place in self._infos.items()]

    def warning(self, text: str, pos: int) -> None:
        self._warnings[f"PromQL warning: {text}"] = line_and_column(self.query, pos)

    def info(self, text: str, pos: int) -> None:
        self._infos[f"PromQL info: {text}"] = line_and_column(self.query, pos)

    def merge(self, warnings: Iterable[str], infos: Iterable[str]) -> None:
        """Those of a part that was evaluated elsewhere."""
        self._warnings.update(map(_taken_apart, warnings))
        self._infos.update(map(_taken_apart, infos))


def _taken_apart(note: str) -> tuple[str, str]:
    text, _, place = note.rpartition(" (")
    return text, place.removesuffix(")")


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
