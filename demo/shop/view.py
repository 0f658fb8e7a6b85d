"""What the customers saw of the shop: how many pages, how slow, how many failed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

KEPT = 200_000
SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Served:
    """One request as its customer saw it. ``status`` 0 is no answer at all."""

    time_s: float
    route: str
    took_ms: float
    status: int

    @property
    def failed(self) -> bool:
        return self.status == 0 or self.status >= SERVER_ERROR


@dataclass(frozen=True, slots=True)
class Seen:
    """A summary of some requests; quantiles are NaN where there are none."""

    requests: int
    failed: int
    p50_ms: float
    p95_ms: float
    by_route: dict[str, Seen] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.requests} pages, {self.failed} failed, p50 {self.p50_ms:.0f} ms, p95 {self.p95_ms:.0f} ms"
        )


def summarise(served: Sequence[Served]) -> Seen:
    """All requests together, and each route by itself."""
    routes = sorted({one.route for one in served})
    return _seen(
        served, {route: _seen([one for one in served if one.route == route], {}) for route in routes}
    )


def _seen(served: Sequence[Served], by_route: dict[str, Seen]) -> Seen:
    if not served:
        return Seen(0, 0, float("nan"), float("nan"), by_route)
    p50_ms, p95_ms = np.quantile([one.took_ms for one in served], (0.5, 0.95))
    return Seen(len(served), sum(one.failed for one in served), float(p50_ms), float(p95_ms), by_route)


class Visitors:
    """The latest requests, as the load generator reports them."""

    def __init__(self) -> None:
        self._served: deque[Served] = deque(maxlen=KEPT)

    def add(self, rows: Iterable[Sequence[float | str]]) -> None:
        """``rows`` are ``[unix time, route, milliseconds, status]``."""
        for time_s, route, took_ms, status in rows:
            self._served.append(Served(float(time_s), str(route), float(took_ms), int(status)))

    def last(self, seconds: float) -> Seen:
        """What was answered in the last seconds."""
        since_s = time.time() - seconds
        return summarise([one for one in self._served if one.time_s >= since_s])
