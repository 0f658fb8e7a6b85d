"""What the Prometheus API asks of the metrics: one protocol, implemented over the stream actors.

Times are Unix milliseconds, ranges of time inclusive at both ends. A call that is cancelled (its client left,
or it took too long) must stop its work, in the streams too. Errors: those of ``agent.promql`` for a query that
is wrong or passes a limit, ``Overloaded`` where an actor is away; everything else is an internal error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agent.promql.engine import Result
from agent.promql.options import EngineOptions
from agent.promql.values import Exemplars, Grid, Matcher
from agent.telemetry.labels import LabelTable


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """How long one query may take, and what its engine is told: limits, look-back, dialect."""

    timeout_s: float
    engine: EngineOptions


@dataclass(frozen=True, slots=True)
class Scope:
    """Which series a question about labels means: those that fit all matchers of one of ``selectors`` (no
    selector: all of the tenant) and have samples in the time. ``limit`` is how many entries are of use to
    the asker, 0 for all; more may be returned."""

    selectors: Sequence[Sequence[Matcher]]
    start_ms: int
    end_ms: int
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is known of a metric: ``type`` as Prometheus names it (counter, gauge, histogram,
    gaugehistogram, summary, info, stateset, unknown)."""

    metric: str
    type: str
    help: str
    unit: str


@dataclass(frozen=True, slots=True)
class TargetMetadata:
    target: dict[str, str]
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Count:
    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Cardinality:
    """How much is in the windows, and which names are to blame; the lists are descending, at most ``limit``
    entries each."""

    series: int
    label_pairs: int
    chunks: int
    min_time_ms: int
    max_time_ms: int
    series_by_metric: Sequence[Count]
    values_by_label: Sequence[Count]
    bytes_by_label: Sequence[Count]
    series_by_pair: Sequence[Count]


class MetricBackend(Protocol):
    async def instant(self, tenant: str, text: str, time_ms: int, options: QueryOptions) -> Result: ...

    async def range(self, tenant: str, text: str, grid: Grid, options: QueryOptions) -> Result: ...

    async def series(self, tenant: str, scope: Scope) -> LabelTable:
        """The label sets of the series in scope, each once, sorted."""
        ...

    async def label_names(self, tenant: str, scope: Scope) -> list[str]: ...

    async def label_values(self, tenant: str, name: str, scope: Scope) -> list[str]: ...

    async def exemplars(self, tenant: str, scope: Scope) -> Sequence[Exemplars]: ...

    async def metadata(self, tenant: str, metric: str) -> Sequence[Metadata]:
        """Of one metric, or of all where ``metric`` is empty."""
        ...

    async def target_metadata(self, tenant: str, metric: str) -> Sequence[TargetMetadata]:
        """The same by scrape target."""
        ...

    async def targets(self, tenant: str) -> dict[str, Any]:
        """``{"activeTargets": [..], "droppedTargets": [..], "droppedTargetCounts": {pool: n}}`` with the
        fields of Prometheus' targets."""
        ...

    async def rules(self, tenant: str) -> list[dict[str, Any]]:
        """The rule groups with the fields of Prometheus' rule groups."""
        ...

    async def alerts(self, tenant: str) -> list[dict[str, Any]]:
        """The active alerts with the fields of Prometheus' alerts."""
        ...

    async def cardinality(self, tenant: str, limit: int) -> Cardinality: ...

    async def scrape_config(self) -> str:
        """The configuration of scraping and rules as Prometheus' YAML, secrets left out."""
        ...
