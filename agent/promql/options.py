"""What an engine is told once, and what may stop a query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from agent.promql.errors import QueryCanceled, QueryTimeout
from agent.promql.parse import Dialect


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """``max_samples`` bounds the raw samples that one query reads and the cells of every matrix that it makes;
    ``max_series`` the series of one selector. ``subquery_step_ms`` is the step of subqueries that name none.
    ``delayed_name_removal`` is Prometheus' feature of that name."""

    lookback_ms: int = 300_000
    subquery_step_ms: int = 60_000
    max_samples: int = 50_000_000
    max_series: int = 1_000_000
    max_steps: int = 11_000
    delayed_name_removal: bool = False
    dialect: Dialect = field(default_factory=Dialect)


class Token(Protocol):
    """Says while a query runs that it must stop."""

    def check(self) -> None:
        """Raises QueryTimeout or QueryCanceled."""
        ...


class Free:
    """Never stops a query."""

    def check(self) -> None:
        return


FREE = Free()


class Deadline:
    """Stops a query that was cancelled, or that ``now`` (seconds) has overtaken. May be cancelled from
    another thread."""

    def __init__(self, now: Callable[[], float], deadline_s: float) -> None:
        self._now, self._deadline_s, self._cancelled = now, deadline_s, False

    def cancel(self) -> None:
        self._cancelled = True

    def check(self) -> None:
        if self._cancelled:
            raise QueryCanceled
        if self._now() > self._deadline_s:
            raise QueryTimeout
