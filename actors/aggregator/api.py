"""What the handlers call: the other actors' ports, the store, the clock, and a status that is not asked for twice a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from opentelemetry.trace import Tracer

from actors.aggregator.metric_policy import PolicyKeeper
from actors.aggregator.reading import NS
from actors.ports import Ports, Status, StreamPort
from actors.tracing import no_tracer
from agent.settings import Settings
from agent.store.metrics_config import MetricConfigStore

STATUS_KEPT_S = 1.0

T = TypeVar("T")


class IncidentStore(Protocol):
    """The incidents of earlier runs, and what people did about them."""

    async def incidents(self, tenant: str, since_s: float, limit: int) -> list[dict[str, Any]]:
        """Newest first, in the shape of the correlator's."""
        ...

    async def incident(self, tenant: str, incident_id: str) -> dict[str, Any] | None:
        """One of them, however old; ``None`` where the tenant has none of that id."""
        ...

    async def set_incident_status(
        self, tenant: str, incident_id: str, status: str, by: str, note: str, at_s: float
    ) -> dict[str, Any] | None:
        """The incident as it is then; ``None`` where there is none of that id."""
        ...


class Api:
    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        store: IncidentStore | None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings, self.ports, self.store = settings, ports, store
        self.wall_clock = wall_clock
        self.tracer: Tracer = no_tracer()
        self.metric_config: MetricConfigStore | None = None
        self.metric_policy: PolicyKeeper | None = None
        self._status: Status | None = None
        self._status_until = 0.0
        self._asking = asyncio.Lock()

    async def status(self) -> Status:
        """At most ``STATUS_KEPT_S`` old; callers that come together share one call."""
        async with self._asking:
            if self._status is None or time.monotonic() >= self._status_until:
                self._status = await self.ports.supervisor.status()
                self._status_until = time.monotonic() + STATUS_KEPT_S
            return self._status

    async def now_ns(self, tenant: str) -> int:
        """How far the tenant's event time has come; the clock where nothing of it was seen."""
        watermark = (await self.status()).event_time_ns.get(tenant, 0)
        return watermark or round(self.wall_clock() * NS)

    async def of_all_streams(self, ask: Callable[[StreamPort], Awaitable[Sequence[T]]]) -> list[T]:
        """What every stream answers, as one list; an error of one is the error of the whole, because a
        part must not look like all."""
        parts = await asyncio.gather(*(ask(stream) for stream in self.ports.streams))
        return [row for part in parts for row in part]
