"""The metrics of the layer: the streams are asked, and what they say is put together.

A query runs in a thread here and reaches the streams through the event loop; a client that leaves, or a
time-out, stops it here and there.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from actors.aggregator.prometheus.backend import (
    Cardinality,
    Count,
    Metadata,
    QueryOptions,
    Scope,
    TargetMetadata,
)
from actors.direct import Call, DirectClient, request
from actors.stream.queries import Asked
from agent.errors import Overloaded
from agent.promql.engine import Engine, Result
from agent.promql.options import Deadline
from agent.promql.pushdown import Part, StreamsEvaluation, joined
from agent.promql.tree import Expr
from agent.promql.values import Exemplars, Grid, Matcher, Selection
from agent.telemetry.labels import LabelTable, concat_tables

Value = TypeVar("Value")


class StreamMetrics:
    """The ``MetricBackend`` of a running layer."""

    def __init__(
        self, streams: Sequence[Any], lines: Sequence[DirectClient], ruler: Any = None, scraper: Any = None
    ) -> None:
        """``lines`` are to the queries of the streams. ``ruler`` and ``scraper`` are there where they are set up."""
        self._streams, self._lines, self._ruler, self._scraper = streams, lines, ruler, scraper
        # Numbers of this process alone; a restarted aggregator has another.
        self._numbers = itertools.count((os.getpid() << 32) + 1)

    async def instant(self, tenant: str, text: str, time_ms: int, options: QueryOptions) -> Result:
        return await self._run(
            tenant,
            text,
            options,
            lambda engine, storage, token: engine.instant(text, time_ms, storage, token),
        )

    async def range(self, tenant: str, text: str, grid: Grid, options: QueryOptions) -> Result:
        return await self._run(
            tenant,
            text,
            options,
            lambda engine, storage, token: engine.range(
                text, grid.start_ms, grid.end_ms, grid.step_ms, storage, token
            ),
        )

    async def series(self, tenant: str, scope: Scope) -> LabelTable:
        tables = await self._all(lambda stream: stream.series(tenant, *_of(scope)))
        rows = sorted(set(concat_tables(tables).rows()))
        return LabelTable.of(rows[: scope.limit + 1] if scope.limit else rows)

    async def label_names(self, tenant: str, scope: Scope) -> list[str]:
        return _union(await self._all(lambda stream: stream.label_names(tenant, *_of(scope))))

    async def label_values(self, tenant: str, name: str, scope: Scope) -> list[str]:
        return _union(await self._all(lambda stream: stream.label_values(tenant, name, *_of(scope))))

    async def exemplars(self, tenant: str, scope: Scope) -> Sequence[Exemplars]:
        found = await self._all(lambda stream: stream.exemplars(tenant, *_of(scope)))
        return sorted(
            (one for of_stream in found for one in of_stream), key=lambda one: sorted(one.series.items())
        )

    async def metadata(self, tenant: str, metric: str) -> Sequence[Metadata]:
        held: dict[str, dict[str, str]] = {}
        for of_stream in await self._all(lambda stream: stream.metadata(tenant)):
            held |= of_stream
        return [
            Metadata(name, entry["type"], entry["help"], entry["unit"])
            for name, entry in sorted(held.items())
            if metric in ("", name)
        ]

    async def target_metadata(self, tenant: str, metric: str) -> Sequence[TargetMetadata]:
        if self._scraper is None:
            return ()
        return [
            TargetMetadata(one["target"], Metadata(one["metric"], one["type"], one["help"], one["unit"]))
            for one in await self._scraper.metadata()
            if metric in ("", one["metric"])
        ]

    async def targets(self, tenant: str) -> dict[str, Any]:
        if self._scraper is None:
            return {"activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {}}
        found: dict[str, Any] = await self._scraper.targets()
        return found

    async def rules(self, tenant: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [] if self._ruler is None else await self._ruler.rules(tenant)
        return found

    async def alerts(self, tenant: str) -> list[dict[str, Any]]:
        return []

    async def scrape_config(self) -> str:
        return "" if self._scraper is None else str(await self._scraper.config())

    async def cardinality(self, tenant: str, limit: int) -> Cardinality:
        found = await self._all(lambda stream: stream.metric_stats(tenant, limit))
        newest = [one["max_time_ms"] for one in found if one["max_time_ms"] is not None]
        oldest = [one["min_time_ms"] for one in found if one["min_time_ms"] is not None]
        lists = [one["cardinality"] for one in found]
        return Cardinality(
            series=sum(one["series"] for one in found),
            label_pairs=sum(one["label_pairs"] for one in found),
            chunks=sum(one["chunks"] for one in found),
            min_time_ms=min(oldest, default=0),
            max_time_ms=max(newest, default=0),
            series_by_metric=_top([one["series_by_metric"] for one in lists], limit, sum),
            values_by_label=_top([one["values_by_name"] for one in lists], limit, max),
            bytes_by_label=_top([one["bytes_by_name"] for one in lists], limit, max),
            series_by_pair=_top([one["series_by_label"] for one in lists], limit, sum),
        )

    async def _run(
        self,
        tenant: str,
        text: str,
        options: QueryOptions,
        ask: Callable[[Engine, _Fanned, Deadline], Result],
    ) -> Result:
        token = Deadline(time.monotonic, time.monotonic() + options.timeout_s)
        engine = Engine(options.engine, StreamsEvaluation)
        asked = Asked(next(self._numbers), engine.options, options.timeout_s)
        storage = _Fanned(self._lines, tenant, asked)
        try:
            return await asyncio.to_thread(ask, engine, storage, token)
        except asyncio.CancelledError:
            token.cancel()
            for line in self._lines:  # told and not waited for; a stream that is away has forgotten the query
                with contextlib.suppress(Overloaded):
                    line.call("cancel", asked.number).leave()
            raise

    async def _all(self, ask: Callable[[Any], Awaitable[Value]]) -> list[Value]:
        return list(await asyncio.gather(*(ask(stream) for stream in self._streams)))


class _Fanned:
    """The streams as a storage, for a thread that may wait."""

    def __init__(self, lines: Sequence[DirectClient], tenant: str, asked: Asked) -> None:
        self._lines, self._tenant, self._asked = lines, tenant, asked

    def parts(self, nodes: Sequence[Expr], grid: Grid, query: str) -> list[tuple[Part, ...]]:
        return list(zip(*self._all("parts", self._tenant, nodes, grid, query, self._asked), strict=True))

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Selection:
        return joined(self._all("select", self._tenant, tuple(matchers), start_ms, end_ms))

    def _all(self, name: str, *arguments: Any) -> list[Any]:
        """Asked at once. Raises the first error."""
        asked, calls = request(name, *arguments), list[Call]()
        try:
            calls.extend(line.send(asked) for line in self._lines)
            return [call.result() for call in calls]
        finally:
            for call in calls:
                call.leave()


def _of(scope: Scope) -> tuple[Sequence[Sequence[Matcher]], int, int]:
    return tuple(tuple(matchers) for matchers in scope.selectors), scope.start_ms, scope.end_ms


def _union(lists: Sequence[Sequence[str]]) -> list[str]:
    return sorted(set().union(*lists))


def _top(
    lists: Sequence[Sequence[tuple[str, int]]], limit: int, join: Callable[[Sequence[int]], int]
) -> list[Count]:
    held: dict[str, list[int]] = {}
    for rows in lists:
        for name, count in rows:
            held.setdefault(name, []).append(count)
    counts = Counter({name: join(found) for name, found in held.items()})
    return [Count(name, count) for name, count in counts.most_common(limit)]
