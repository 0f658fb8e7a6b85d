"""The engine over a few series in memory, as a backend."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from actors.aggregator.prometheus.about import fits
from actors.aggregator.prometheus.backend import QueryOptions, Scope
from agent.promql.engine import Engine, Result
from agent.promql.options import Deadline, EngineOptions
from agent.promql.values import Grid, Matcher, Selection
from agent.telemetry.labels import Labels, LabelTable
from tests.unit.aggregator.prometheus.canned import CannedBackend

T = TypeVar("T")


class MemoryStorage:
    """Series by label set; samples are ``(milliseconds, value)`` in order."""

    def __init__(self, series: Mapping[Labels, Sequence[tuple[int, float]]]) -> None:
        self.series = dict(sorted(series.items()))

    def found(self, matchers: Sequence[Matcher]) -> list[Labels]:
        return [labels for labels in self.series if fits(dict(labels), matchers)]

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        found = self.found(matchers)
        rows = [[(at, v) for at, v in self.series[one] if start_ms <= at <= end_ms] for one in found]
        offsets = np.cumsum([0, *(len(row) for row in rows)])
        flat = [sample for row in rows for sample in row]
        times = np.array([at for at, _ in flat], np.int64)
        return Selection(LabelTable.of(found), offsets, times, np.array([v for _, v in flat], np.float64))


class MemoryBackend(CannedBackend):
    """Queries, series and labels of a storage; the rest is made up."""

    def __init__(self, storage: MemoryStorage, options: EngineOptions | None = None) -> None:
        super().__init__()
        self._storage, self._engine = storage, Engine(options or EngineOptions())

    async def instant(self, tenant: str, text: str, time_ms: int, options: QueryOptions) -> Result:
        return await _stoppable(
            options, lambda token: self._engine.instant(text, time_ms, self._storage, token)
        )

    async def range(self, tenant: str, text: str, grid: Grid, options: QueryOptions) -> Result:
        steps = (grid.start_ms, grid.end_ms, grid.step_ms)
        return await _stoppable(options, lambda token: self._engine.range(text, *steps, self._storage, token))

    async def series(self, tenant: str, scope: Scope) -> LabelTable:
        return LabelTable.of(self._found(scope))

    async def label_names(self, tenant: str, scope: Scope) -> list[str]:
        return sorted({name for labels in self._found(scope) for name, _ in labels})

    async def label_values(self, tenant: str, name: str, scope: Scope) -> list[str]:
        return sorted({dict(labels)[name] for labels in self._found(scope) if name in dict(labels)})

    def _found(self, scope: Scope) -> list[Labels]:
        within = {
            labels
            for matchers in scope.selectors or [()]
            for labels in self._storage.found(matchers)
            if any(scope.start_ms <= at <= scope.end_ms for at, _ in self._storage.series[labels])
        }
        return sorted(within)


async def _stoppable(options: QueryOptions, run: Callable[[Deadline], T]) -> T:
    token = Deadline(time.monotonic, time.monotonic() + options.timeout_s)
    try:
        return await asyncio.to_thread(run, token)
    except asyncio.CancelledError:
        token.cancel()
        raise
