"""A storage in several places, as the streams of a layer are, for the same scripts."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from agent.promql.options import FREE, EngineOptions
from agent.promql.pushdown import Part, part_of
from agent.promql.tree import Expr
from agent.promql.values import Grid, Histograms, Matcher, Selection
from agent.telemetry.labels import Labels, concat_tables
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

    def parts(self, node: Expr, grid: Grid, query: str) -> list[Part]:
        return [part_of(node, grid, query, self._options, place, FREE) for place in self._places]

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        found = [place.select(matchers, start_ms, end_ms) for place in self._places]
        histograms = None
        if any(one.histograms is not None for one in found):
            none = Histograms(np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0, np.object_))
            parts = [
                one.histograms or replace(none, offsets=np.zeros(len(one) + 1, np.int64)) for one in found
            ]
            histograms = Histograms(
                _joined([part.offsets for part in parts]),
                np.concatenate([part.time_ms for part in parts]),
                np.concatenate([part.sample for part in parts]),
            )
        return Selection(
            concat_tables([one.labels for one in found]),
            _joined([one.offsets for one in found]),
            np.concatenate([one.time_ms for one in found]),
            np.concatenate([one.value for one in found]),
            histograms,
        )


def _joined(offsets: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.concatenate([np.diff(one) for one in offsets]))])
