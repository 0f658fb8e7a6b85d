"""A backend of made-up answers, which remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from actors.aggregator.prometheus.backend import (
    Cardinality,
    Count,
    Metadata,
    QueryOptions,
    Scope,
    TargetMetadata,
)
from agent.promql.engine import Result
from agent.promql.values import Exemplars, Grid, Matrix, Selection
from agent.telemetry.labels import LabelTable, labels_of

NAN = float("nan")


def result(value: Matrix | Selection | float | str, *notes: Sequence[str]) -> Result:
    """``notes`` are the warnings and the infos. Its time is set when it is asked for."""
    kind = {Matrix: "matrix", Selection: "matrix", str: "string"}.get(type(value), "scalar")
    warnings, infos = [list(one) for one in (*notes, (), ())][:2]
    return Result(kind, value, Grid(0, 0, 0), warnings, infos, 7)


def matrix(rows: Mapping[str, Sequence[float | None]]) -> Matrix:
    """``{"a=1,b=2": [1.0, None, ..]}``; None is an absent cell."""
    values = [[NAN if v is None else v for v in row] for row in rows.values()]
    present = [[v is not None for v in row] for row in rows.values()]
    width = max((len(row) for row in values), default=0)
    return Matrix(
        table(*rows),
        np.asarray(values, np.float64).reshape(len(rows), width),
        np.asarray(present, np.bool_).reshape(len(rows), width),
    )


def table(*sets: str) -> LabelTable:
    return LabelTable.of([labels_of(part.split("=") for part in one.split(",") if part) for one in sets])  # type: ignore[misc]


@dataclass
class CannedBackend:
    found: Result = field(default_factory=lambda: result(2.0))
    takes_s: float = 0.0
    error: Exception | None = None
    asked: list[Any] = field(default_factory=list)
    cancelled: int = 0
    running: int = 0
    most_running: int = 0

    async def instant(self, tenant: str, text: str, time_ms: int, options: QueryOptions) -> Result:
        found = await self._answer((tenant, text, time_ms, options))
        kind = "vector" if isinstance(found.value, Matrix) else found.type
        return replace(found, type=kind, grid=Grid(time_ms, time_ms, 0))

    async def range(self, tenant: str, text: str, grid: Grid, options: QueryOptions) -> Result:
        return replace(await self._answer((tenant, text, grid, options)), grid=grid)

    async def _answer(self, asked: Any) -> Result:
        self.asked.append(asked)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.takes_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if self.error:
            raise self.error
        return self.found

    async def series(self, tenant: str, scope: Scope) -> LabelTable:
        self.asked.append((tenant, scope))
        return table("__name__=up,job=a", "__name__=up,job=b", "__name__=up,job=c")

    async def label_names(self, tenant: str, scope: Scope) -> list[str]:
        self.asked.append((tenant, scope))
        return ["job", "__name__"]

    async def label_values(self, tenant: str, name: str, scope: Scope) -> list[str]:
        self.asked.append((tenant, name, scope))
        return ["b", "a"]

    async def exemplars(self, tenant: str, scope: Scope) -> Sequence[Exemplars]:
        self.asked.append((tenant, scope))
        one = {"labels": {"trace_id": "x"}, "value": 6.5, "timestamp_ms": 1_600_096_945_479}
        return [Exemplars({"__name__": "foo"}, [one])]

    async def metadata(self, tenant: str, metric: str) -> Sequence[Metadata]:
        known = [
            Metadata("up", "gauge", "Whether it is up.", ""),
            Metadata("up", "gauge", "Up.", ""),
            Metadata("requests_total", "counter", "Requests.", ""),
        ]
        return [one for one in known if metric in ("", one.metric)]

    async def target_metadata(self, tenant: str, metric: str) -> Sequence[TargetMetadata]:
        return [
            TargetMetadata({"job": job}, one)
            for job in ("a", "b")
            for one in await self.metadata(tenant, metric)
        ]

    async def targets(self, tenant: str) -> dict[str, Any]:
        active = [{"scrapePool": pool, "labels": {"job": pool}, "health": "up"} for pool in ("a", "b")]
        return {
            "activeTargets": active,
            "droppedTargets": [{"discoveredLabels": {}}],
            "droppedTargetCounts": {"a": 1},
        }

    async def rules(self, tenant: str) -> list[dict[str, Any]]:
        record = {"name": "job:up:sum", "query": "sum(up)", "type": "recording", "labels": {"team": "x"}}
        alert = {"name": "Down", "query": "up == 0", "type": "alerting", "alerts": [{"state": "firing"}]}
        return [{"name": "g", "file": "f.yml", "interval": 60, "rules": [record, alert]}]

    async def alerts(self, tenant: str) -> list[dict[str, Any]]:
        return []

    async def cardinality(self, tenant: str, limit: int) -> Cardinality:
        counts = [Count("up", 3), Count("down", 1)]
        return Cardinality(4, 8, 2, 1000, 2000, counts, counts, counts, counts)

    async def scrape_config(self) -> str:
        return "global: {}\n"
