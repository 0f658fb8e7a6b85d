"""What a stream answers of its Prometheus series: its part of a query, raw samples, labels, exemplars, figures.

The work is done in threads, by kernels that let go of the interpreter, so that a query does not hold up the
log. Parts and samples are asked for past Ray (``actors.direct``), in a thread of the caller's. A query is known by
a number that its asker gives it, and stops soon after ``cancel``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from actors.stream.core import Stream
from agent.promql.options import Deadline, EngineOptions
from agent.promql.pushdown import Part, part_of
from agent.promql.tree import Expr
from agent.promql.values import Exemplars, Grid, Matcher, Selection
from agent.telemetry.labels import LabelTable, concat_tables
from agent.telemetry.native import decode_histograms
from agent.windows.metrics.upkeep import MetricLimits
from agent.windows.metrics.window import MetricWindow

Result = TypeVar("Result")
MatcherSets = Sequence[Sequence[Matcher]]


@dataclass(frozen=True, slots=True)
class Asked:
    """The query that a call belongs to: its number and limits."""

    number: int
    options: EngineOptions
    timeout_s: float


class Queries:
    """Times are Unix ms, ranges inclusive at both ends. A tenant that sent nothing here has no series."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._running: set[tuple[int, Deadline]] = set()

    def cancel(self, number: int) -> None:
        for running, token in list(self._running):
            if running == number:
                token.cancel()

    def parts(self, tenant: str, nodes: Sequence[Expr], grid: Grid, query: str, asked: Asked) -> list[Part]:
        """``part_of`` for each node; ``query`` is what their notes quote."""
        window = self._window(tenant)
        running = asked.number, Deadline(time.monotonic, time.monotonic() + asked.timeout_s)
        self._running.add(running)
        try:
            return [part_of(node, grid, query, asked.options, window, running[1]) for node in nodes]
        finally:
            self._running.discard(running)

    def select(self, tenant: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        found = self._window(tenant).select(matchers, start_ms, end_ms)
        return replace(found, labels=found.labels.compacted())

    async def series(self, tenant: str, sets: MatcherSets, start_ms: int, end_ms: int) -> LabelTable:
        def found(window: MetricWindow) -> LabelTable:
            tables = [window.series(matchers, start_ms, end_ms) for matchers in sets or [()]]
            return concat_tables(tables).group()[1].compacted()

        return await self._read(tenant, found)

    async def label_names(self, tenant: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[str]:
        def found(window: MetricWindow) -> list[str]:
            return _union(window.label_names(matchers, start_ms, end_ms) for matchers in sets or [()])

        return await self._read(tenant, found)

    async def label_values(
        self, tenant: str, name: str, sets: MatcherSets, start_ms: int, end_ms: int
    ) -> list[str]:
        def found(window: MetricWindow) -> list[str]:
            return _union(window.label_values(name, matchers, start_ms, end_ms) for matchers in sets or [()])

        return await self._read(tenant, found)

    async def exemplars(self, tenant: str, sets: MatcherSets, start_ms: int, end_ms: int) -> list[Exemplars]:
        def found(window: MetricWindow) -> list[Exemplars]:
            return [one for matchers in sets for one in window.exemplars(matchers, start_ms, end_ms)]

        return await self._read(tenant, found)

    async def metadata(self, tenant: str) -> dict[str, dict[str, str]]:
        return self._window(tenant).metadata()

    async def metric_stats(self, tenant: str, limit: int) -> dict[str, Any]:
        return await self._read(tenant, lambda window: window.stats(limit))

    async def _read(self, tenant: str, read: Callable[[MetricWindow], Result]) -> Result:
        return await asyncio.to_thread(read, self._window(tenant))

    def _window(self, tenant: str) -> MetricWindow:
        held = self._stream.tenants.get(tenant)
        return held.window.metrics.window if held else _NOTHING


def _union(lists: Any) -> list[str]:
    return sorted(set().union(*lists))


_NOTHING = MetricWindow(MetricLimits(max_series=1), decode_histograms)
