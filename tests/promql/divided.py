"""A storage in several places, as the streams of a layer are, for the same scripts."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from agent.promql.options import FREE, EngineOptions
from agent.promql.pushdown import Part, joined, part_of
from agent.promql.tree import Expr
from agent.promql.values import Grid, Matcher, Selection
from agent.telemetry.labels import Labels
from agent.telemetry.native import FloatHistogram
from tests.promql.storage import MemoryStorage

PLACES = 3


class DividedStorage(MemoryStorage):
    """A series lies in one of the places, told by its labels."""

    def __init__(self, options: EngineOptions) -> None:
        super().__init__()
        self._options = options
        self._places = [MemoryStorage() for _ in range(PLACES)]

    def append(self, labels: Labels, time_ms: int, value: float | FloatHistogram) -> None:
        place = zlib.crc32(repr(labels).encode()) % PLACES
        self._places[place].append(labels, time_ms, value)

    def parts(self, nodes: Sequence[Expr], grid: Grid, query: str) -> list[list[Part]]:
        return [
            [part_of(node, grid, query, self._options, place, FREE) for place in self._places]
            for node in nodes
        ]

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        return joined([place.select(matchers, start_ms, end_ms) for place in self._places])
