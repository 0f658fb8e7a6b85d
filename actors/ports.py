"""What one actor may ask of another: the seams between the actors, free of Ray.

Each protocol is implemented by an actor's plain class; callers hold a proxy (``actors.handles``) that turns
a call into a Ray call and its errors into those of ``agent.errors``. All data is plain: msgspec structs,
frames and dicts that go to JSON as they are. Times are Unix ns unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from agent.detection.red import RedBins
from agent.rootcause.answer import Answer
from agent.telemetry.frames import Telemetry

DEFAULT_TENANT = "default"


class Health(msgspec.Struct, frozen=True):
    """How an actor is. ``figures`` are gauges and counters by name with the unit in it
    (``window_bytes``, ``lag_s``, ``spans_total``); ``refused`` counts refusals by reason;
    ``listens`` says where it serves, by protocol."""

    name: str
    kind: str
    pid: int
    incarnation: int
    state: str  # starting | ready | failed
    detail: str = ""
    started_s: float = 0.0
    figures: dict[str, float] = {}
    refused: dict[str, int] = {}
    listens: dict[str, str] = {}


class Status(msgspec.Struct, frozen=True):
    """The whole layer at a glance. ``state`` is ready when every actor is."""

    state: str
    version: str
    actors: tuple[Health, ...]
    restarts: dict[str, int]
    event_time_ns: dict[str, int]  # the watermark of each tenant
    dashboard_url: str = ""


class SourceInfo(msgspec.Struct, frozen=True):
    """A sender as a stream knows it. Counts are of accepted rows since the stream started."""

    tenant: str
    service: str
    namespace: str
    instance: str
    version: str
    stream: int
    first_seen_ns: int
    last_seen_ns: int
    spans: int
    logs: int
    samples: int
    attributes: dict[str, str]


class LiveFrame(msgspec.Struct, frozen=True):
    """One message of the live feed, rendered once by the stream that owns the source; ``payload`` is the
    JSON text that goes to every subscriber whose filter fits. ``severity`` is the OTLP severity number that
    all log records in it share at least (0 for other signals); ``rows`` is what a reader misses without it."""

    tenant: str
    signal: str  # spans | logs | metrics
    service: str
    severity: int
    rows: int
    payload: bytes


class LiveBatch(msgspec.Struct, frozen=True):
    """What came after a cursor. ``missed`` rows fell out of the stream's buffer before they were fetched."""

    epoch: int
    cursor: int
    frames: tuple[LiveFrame, ...]
    missed: dict[str, int]


class RedSeries(msgspec.Struct, frozen=True):
    """Rate, errors and duration of what a service serves, a point a step; NaN where nothing was served."""

    service: str
    operation: str  # "" for the whole service
    kind: str  # served | called
    start_s: list[float]
    rate_per_s: list[float]
    error_ratio: list[float]
    p50_ms: list[float]
    p95_ms: list[float]
    p99_ms: list[float]


class SupervisorPort(Protocol):
    async def status(self) -> Status: ...


class GatewayPort(Protocol):
    async def positions(self) -> list[int]:
        """Up to where each stream's log is acknowledged: what a question asked now must see."""
        ...


class StreamPort(Protocol):
    async def sources(self, tenant: str) -> list[SourceInfo]: ...

    async def red(
        self, tenant: str, service: str | None, start_ns: int, end_ns: int, step_s: float, by_operation: bool
    ) -> list[RedSeries]: ...

    async def mesh(self, tenant: str, service: str | None, start_ns: int, end_ns: int) -> list[RedBins]: ...

    async def telemetry(self, tenant: str, start_ns: int, end_ns: int, min_position: int) -> Telemetry: ...

    async def live(self, tenant: str, epoch: int, cursor: int, wait_s: float) -> LiveBatch: ...

    async def trace(self, tenant: str, trace_id: str) -> list[dict[str, Any]]:
        """The spans of a trace that this stream holds (at most 10,000), with attributes and events."""
        ...

    async def log(self, tenant: str, ref: int) -> dict[str, Any]:
        """One log record by its reference. Raises ``NotFound``."""
        ...

    async def samples(
        self, tenant: str, service: str, instance: str, metric: str, start_ns: int, end_ns: int
    ) -> list[dict[str, Any]]:
        """``[{"labels": {..}, "time_s": [..], "value": [..]}]`` of one metric of one source."""
        ...


class CorrelatorPort(Protocol):
    async def ask(self, question: str, service: str | None, at_ns: int | None, tenant: str) -> Answer: ...

    async def topology(self, tenant: str) -> list[dict[str, Any]]:
        """The edges of the service graph: caller, callee, calls, errors, p50_ms, p95_ms, last_seen_s."""
        ...

    async def incidents(self, tenant: str) -> list[dict[str, Any]]:
        """Incidents of this run, the open ones too, newest first, in the shape of the REST API."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """All the actors that a front end asks. ``streams[i]`` is the stream whose references say ``i``."""

    supervisor: SupervisorPort
    gateway: GatewayPort
    streams: Sequence[StreamPort]
    correlator: CorrelatorPort
