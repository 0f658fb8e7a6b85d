"""Actors of a small made-up shop, for the aggregator to ask."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from actors.ports import Health, LiveBatch, LiveFrame, Ports, RedSeries, SourceInfo, Status
from agent.detection.red import NO_BINS, RedBins
from agent.errors import NotFound, Overloaded
from agent.rootcause.answer import Answer, Cause, CauseKind, Evidence, Recommendation, Verdict
from agent.telemetry.frames import NO_LOGS, NO_METRICS, NO_SPANS, ChangeEvent, Telemetry
from agent.telemetry.source import Source

NS = 1_000_000_000
NOW_S = 1_700_000_000
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
NAN = float("nan")


def health(name: str, state: str = "ready", **more: Any) -> Health:
    return Health(name=name, kind=name.split("-")[0], pid=7, incarnation=0, state=state, **more)


def source(service: str, stream: int = 0, tenant: str = "default", instance: str = "") -> SourceInfo:
    return SourceInfo(
        tenant=tenant, service=service, namespace="shop", instance=instance or f"{service}-1", version="1.2",
        stream=stream, first_seen_ns=(NOW_S - 60) * NS, last_seen_ns=NOW_S * NS, spans=10, logs=5, samples=3,
        attributes={"service.name": service},
    )  # fmt: skip


def red(service: str, operation: str = "", kind: str = "served") -> RedSeries:
    return RedSeries(
        service,
        operation,
        kind,
        [NOW_S - 60.0, NOW_S],
        [5.0, NAN],
        [0.1, NAN],
        [2.0, NAN],
        [9.0, NAN],
        [20.0, NAN],
    )


def frame(
    service: str = "cart",
    signal: str = "spans",
    severity: int = 0,
    rows: int = 3,
    tenant: str = "default",
    size: int = 0,
) -> LiveFrame:
    payload = msgspec.json.encode({"type": signal, "service": service, "rows": rows, "pad": "x" * size})
    return LiveFrame(tenant, signal, service, severity, rows, payload)


class FakeSupervisor:
    def __init__(self) -> None:
        self.actors = [
            health("stream-0", figures={"lag_s": 0.5, "spans_total": 9.0}),
            health("gateway-0", refused={"bad_tenant": 2}),
        ]
        self.calls = 0
        self.away = False

    async def status(self) -> Status:
        self.calls += 1
        if self.away:
            raise Overloaded("supervisor is away", 1.0)
        ready = all(actor.state == "ready" for actor in self.actors)
        return Status(
            state="ready" if ready else "starting", version="9.9", actors=tuple(self.actors),
            restarts={"stream-0": 1}, event_time_ns={"default": NOW_S * NS},
        )  # fmt: skip


class FakeGateway:
    async def positions(self) -> list[int]:
        return [0]


class FakeStream:
    """``send`` hands frames to whoever polls; ``restart`` begins another epoch."""

    def __init__(self, *services: str, number: int = 0) -> None:
        self.services, self.number = services, number
        self.epoch, self.cursor, self.away = 1, 0, False
        self.frames: list[tuple[int, LiveFrame]] = []
        self.missed: dict[str, int] = {}
        self.polls = 0
        self.proxies = NO_BINS  # what a mesh tells
        self._news = asyncio.Event()

    def send(self, *frames: LiveFrame) -> None:
        for one in frames:
            self.cursor += 1
            self.frames.append((self.cursor, one))
        self._news.set()

    def restart(self) -> None:
        self.epoch, self.cursor, self.frames = self.epoch + 1, 0, []
        self._news.set()

    async def sources(self, tenant: str) -> list[SourceInfo]:
        return [source(name, self.number) for name in self.services] if tenant == "default" else []

    async def red(
        self, tenant: str, service: str | None, start_ns: int, end_ns: int, step_s: float, by_operation: bool
    ) -> list[RedSeries]:
        names = [name for name in self.services if service in (None, name) and tenant == "default"]
        return [red(name, "GET /items" if by_operation else "") for name in names]

    async def mesh(self, tenant: str, service: str | None, start_ns: int, end_ns: int) -> list[RedBins]:
        return [self.proxies]

    async def telemetry(self, tenant: str, start_ns: int, end_ns: int, min_position: int) -> Telemetry:
        changes = tuple(
            ChangeEvent(NOW_S * NS, Source(tenant, name), "version", "1.2 -> 1.3") for name in self.services
        )
        return Telemetry(start_ns, end_ns, NO_SPANS, NO_LOGS, NO_METRICS, changes)

    async def live(self, tenant: str, epoch: int, cursor: int, wait_s: float) -> LiveBatch:
        self.polls += 1
        if self.away:
            raise Overloaded("stream is away")
        if epoch != self.epoch:
            return LiveBatch(self.epoch, self.cursor, (), {})
        if cursor == self.cursor and not self.missed:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), 30)
        if epoch != self.epoch:
            return LiveBatch(self.epoch, self.cursor, (), {})
        frames = tuple(one for at, one in self.frames if at > cursor and one.tenant == tenant)
        missed, self.missed = self.missed, {}
        return LiveBatch(self.epoch, self.cursor, frames, missed)

    async def trace(self, tenant: str, trace_id: str) -> list[dict[str, Any]]:
        if trace_id != TRACE_ID:
            return []
        return [
            {"span_id": f"{self.number}b", "parent_id": "0a", "start_s": 2},
            {"span_id": f"{self.number}a", "parent_id": "", "start_s": 1},
        ]

    async def log(self, tenant: str, ref: int) -> dict[str, Any]:
        if ref & 1:
            raise NotFound(f"log:{ref} is no longer held")
        return {"body": "hello", "severity": 9}

    async def samples(
        self, tenant: str, service: str, instance: str, metric: str, start_ns: int, end_ns: int
    ) -> list[dict[str, Any]]:
        return [{"labels": {}, "time_s": [1.0], "value": [NAN]}] if service in self.services else []


def answer(question: str) -> Answer:
    evidence = Evidence("self time of GET /cart is 9 times the usual", "traces", (f"trace:{TRACE_ID}",))
    advice = Recommendation("Add an index", "the query scans the table", "kubectl logs cart-1")
    cause = Cause(
        1,
        "cart",
        "cart-1",
        CauseKind.SLOW_DATABASE,
        "GET /cart",
        0.8,
        "cart waits for its database",
        (evidence,),
        (advice,),
    )
    return Answer(
        question, Verdict.CAUSE, "cart is slow", 0.9, "cart", NOW_S - 120.0, float(NOW_S), (cause,), 12.0
    )


class FakeCorrelator:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, int | None, str]] = []
        self.takes_s = 0.0
        self.error: Exception | None = None
        self.open = [
            {
                "id": "i-1",
                "status": "open",
                "service": "cart",
                "services": ["cart", "front"],
                "severity": "critical",
                "started_s": NOW_S - 30.0,
            }
        ]

    async def ask(self, question: str, service: str | None, at_ns: int | None, tenant: str) -> Answer:
        self.asked.append((question, service, at_ns, tenant))
        await asyncio.sleep(self.takes_s)
        if self.error:
            raise self.error
        return answer(question)

    async def topology(self, tenant: str) -> list[dict[str, Any]]:
        return [{"caller": "front", "callee": "cart", "calls": 5, "errors": 0, "p50_ms": 1.0, "p95_ms": NAN}]

    async def incidents(self, tenant: str) -> list[dict[str, Any]]:
        return self.open if tenant == "default" else []


class FakeStore:
    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.error: Exception | None = None

    async def incidents(self, tenant: str, since_s: float, limit: int) -> list[dict[str, Any]]:
        if self.error:
            raise self.error
        return list(self.kept.values())

    async def incident(self, tenant: str, incident_id: str) -> dict[str, Any] | None:
        if self.error:
            raise self.error
        return self.kept.get(incident_id)

    async def set_incident_status(
        self, tenant: str, incident_id: str, status: str, by: str, note: str, at_s: float
    ) -> dict[str, Any] | None:
        one = self.kept.setdefault(incident_id, {"id": incident_id, "started_s": NOW_S - 30.0})
        one |= {"status": status, f"{status}_by": by}
        return one


class Shop:
    """All fakes, with handles on each."""

    def __init__(self) -> None:
        self.supervisor, self.correlator, self.store = FakeSupervisor(), FakeCorrelator(), FakeStore()
        self.streams = [FakeStream("cart", "front"), FakeStream("payment", number=1)]
        self.ports = Ports(self.supervisor, FakeGateway(), self.streams, self.correlator)
