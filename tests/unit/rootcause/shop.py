"""A made-up shop as telemetry: front -> (catalogue -> database, cart -> database, assistant -> model).

Virtual time, seeded; each knob of ``Trouble`` breaks one thing as it would look from outside.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from agent.telemetry.frames import (
    KIND_CLIENT,
    KIND_SERVER,
    STATUS_ERROR,
    STATUS_UNSET,
    SYSTEM_DB,
    SYSTEM_GEN_AI,
    SYSTEM_HTTP,
    SYSTEM_NONE,
    ChangeEvent,
    LogFrame,
    MetricFrame,
    Series,
    SpanFrame,
    Telemetry,
)
from agent.telemetry.source import Source

NS = 1_000_000_000
MS = 1_000_000
T0 = 1_700_000_000 * NS
SERVICES = ("front", "catalogue", "cart", "assistant", "model")
SAMPLE_S = 2


@dataclass(frozen=True)
class Trouble:
    query_ms: float = 0.0  # more in the catalogue's query
    network_ms: float = 0.0  # more on the way from front to the cart
    model_ms: float = 0.0  # more in the model
    code_ms: float = 0.0  # more in the catalogue's own code
    cpu: float = 0.0  # more processor time of the catalogue
    memory: float = 1.0  # times the cart's memory
    cart_cpu: float = 0.0  # more processor time of the cart
    cart_fails: float = 0.0  # share of the cart's requests that raise
    cart_away: bool = False  # the cart leaves no spans, and calls to it fail
    pool_wait_ms: float = 0.0  # the cart waits before its query
    pool_fails: bool = False  # ... and gives up
    cache_lost: bool = False  # the catalogue asks the database each time
    cart_version: str = "1.0"
    load: float = 1.0
    changes: tuple[ChangeEvent, ...] = ()


NO_TROUBLE = Trouble()


def source(service: str, trouble: Trouble = NO_TROUBLE) -> Source:
    version = trouble.cart_version if service == "cart" else "1.0"
    return Source("default", service, instance=f"{service}-{version}", version=version)


@dataclass
class _Rows:
    spans: list[tuple[int, int, int, int, int, int, int, int, int, str]] = field(default_factory=list)
    logs: list[tuple[int, int, int, int, int, str]] = field(default_factory=list)
    ids: int = 0

    def span(
        self, trace: int, parent: int, service: str, name: str, start: int, end: int, kind: int,
        *, system: int = SYSTEM_NONE, failed: bool = False,
    ) -> int:  # fmt: skip
        self.ids += 1
        status = STATUS_ERROR if failed else STATUS_UNSET
        at = SERVICES.index(service)
        self.spans.append((trace, self.ids, parent, start, end, kind, status, system, at, name))
        return self.ids

    def log(self, trace: int, span: int, service: str, time_ns: int, severity: int, text: str) -> None:
        self.logs.append((time_ns, trace, span, severity, SERVICES.index(service), text))


def telemetry(
    start_s: float, end_s: float, trouble: Trouble = NO_TROUBLE, seed: int = 0, per_s: float = 5.0
) -> Telemetry:
    """The shop's telemetry of ``[start_s, end_s)`` after ``T0``."""
    random = np.random.default_rng([seed, int(start_s * 1000)])
    rows = _Rows()
    rows.ids = int(start_s * 1_000_000) + 1
    count = random.poisson((end_s - start_s) * per_s * trouble.load)
    for at in np.sort(random.uniform(start_s, end_s, count)):
        _request(rows, random, T0 + int(at * NS), trouble)
    start, end = T0 + int(start_s * NS), T0 + int(end_s * NS)
    sources = tuple(source(service, trouble) for service in SERVICES)
    return Telemetry(
        start_ns=start,
        end_ns=end,
        spans=_span_frame(rows, sources, start, end),
        logs=_log_frame(rows, sources, start, end),
        metrics=_metrics(random, sources, start, end, trouble),
        changes=trouble.changes,
    )


def _request(rows: _Rows, random: np.random.Generator, start: int, trouble: Trouble) -> None:
    trace = int(random.integers(1, 1 << 62))
    kind = random.choice(["list", "cart", "ask"], p=[0.5, 0.35, 0.15])

    def ms(median: float) -> int:
        return int(median * random.lognormal(0.0, 0.15) * MS)

    root_id = rows.ids + 1
    rows.ids += 1  # the root's id is taken now, its row is written when its end is known
    t = start + ms(1)
    if kind == "list":
        t, failed = _call(rows, random, trace, root_id, "catalogue", "GET /products", t, trouble)
    elif kind == "cart":
        t, failed = _call(rows, random, trace, root_id, "cart", "GET /cart", t, trouble)
    else:
        t, failed = _call(rows, random, trace, root_id, "assistant", "POST /ask", t, trouble)
    end = t + ms(1)
    name = {"list": "GET /", "cart": "GET /cart", "ask": "POST /chat"}[kind]
    status = STATUS_ERROR if failed else STATUS_UNSET
    rows.spans.append((trace, root_id, 0, start, end, KIND_SERVER, status, SYSTEM_HTTP, 0, name))


def _call(
    rows: _Rows,
    random: np.random.Generator,
    trace: int,
    parent: int,
    service: str,
    name: str,
    start: int,
    trouble: Trouble,
) -> tuple[int, bool]:
    """A client span at front and what it calls; ``(end, failed)``."""

    def ms(median: float) -> int:
        return int(median * random.lognormal(0.0, 0.15) * MS)

    client = rows.ids + 1
    rows.ids += 1
    away = service == "cart" and trouble.cart_away
    wire = 0.5 + (trouble.network_ms / 2 if service == "cart" else 0.0)
    t = start + ms(wire)
    failed = away
    if not away:
        t, failed = _serve(rows, random, trace, client, service, name, t, trouble)
    t += ms(wire)
    status = STATUS_ERROR if failed else STATUS_UNSET
    rows.spans.append(
        (trace, client, parent, start, t, KIND_CLIENT, status, SYSTEM_HTTP, 0, f"HTTP {service}")
    )
    return t, failed


def _serve(
    rows: _Rows,
    random: np.random.Generator,
    trace: int,
    parent: int,
    service: str,
    name: str,
    start: int,
    trouble: Trouble,
) -> tuple[int, bool]:
    def ms(median: float) -> int:
        return int(median * random.lognormal(0.0, 0.15) * MS)

    me = rows.ids + 1
    rows.ids += 1
    t, failed = start + ms(1), False
    if service == "catalogue":
        t += ms(2)
        if trouble.cache_lost or random.random() < 0.1:
            begun = t
            t += ms(8 + trouble.query_ms)
            rows.span(trace, me, service, "SELECT shop", begun, t, KIND_CLIENT, system=SYSTEM_DB)
        begun = t
        t += ms(5 + trouble.query_ms)
        rows.span(trace, me, service, "SELECT prices", begun, t, KIND_CLIENT, system=SYSTEM_DB)
        t += ms(trouble.code_ms) if trouble.code_ms else 0
        rows.log(trace, me, service, t, 9, "listed <*> products")
    elif service == "cart":
        t += ms(trouble.pool_wait_ms) if trouble.pool_wait_ms else 0
        if trouble.pool_fails:
            failed = True
            rows.log(
                trace, me, service, t, 17, "GET /cart failed: timed out waiting for a connection of the pool"
            )
        else:
            begun = t
            t += ms(4)
            rows.span(trace, me, service, "SELECT carts", begun, t, KIND_CLIENT, system=SYSTEM_DB)
            if random.random() < trouble.cart_fails:
                failed = True
                rows.log(trace, me, service, t, 17, "GET /cart failed: KeyError: category")
            else:
                rows.log(trace, me, service, t, 9, "cart of customer <*>")
    elif service == "assistant":
        chat = rows.ids + 1
        rows.ids += 1
        begun = t
        t, _ = _model(rows, random, trace, chat, t + ms(0.5), trouble)
        t += ms(0.5)
        rows.spans.append(
            (trace, chat, me, begun, t, KIND_CLIENT, STATUS_UNSET, SYSTEM_GEN_AI, 3, "chat small")
        )
    t += ms(1)
    status = STATUS_ERROR if failed else STATUS_UNSET
    rows.spans.append(
        (trace, me, parent, start, t, KIND_SERVER, status, SYSTEM_HTTP, SERVICES.index(service), name)
    )
    return t, failed


def _model(
    rows: _Rows, random: np.random.Generator, trace: int, parent: int, start: int, trouble: Trouble
) -> tuple[int, bool]:
    end = start + int((60 + trouble.model_ms) * random.lognormal(0.0, 0.2) * MS)
    rows.span(trace, parent, "model", "POST /v1/chat", start, end, KIND_SERVER)
    return end, False


def _span_frame(rows: _Rows, sources: tuple[Source, ...], start: int, end: int) -> SpanFrame:
    kept = [r for r in rows.spans if start <= r[3] < end and r[4] < end]
    names: dict[str, int] = {}
    codes = [names.setdefault(r[9], len(names)) for r in kept]
    column = np.array([r[:9] for r in kept], np.int64).reshape(-1, 9)
    return SpanFrame(
        trace_hi=np.ones(len(kept), np.uint64),
        trace_lo=column[:, 0].astype(np.uint64),
        span_id=column[:, 1].astype(np.uint64),
        parent_id=column[:, 2].astype(np.uint64),
        start_ns=column[:, 3],
        end_ns=column[:, 4],
        kind=column[:, 5].astype(np.uint8),
        status=column[:, 6].astype(np.uint8),
        system=column[:, 7].astype(np.uint8),
        source=column[:, 8].astype(np.int32),
        name=np.array(codes, np.int32),
        ref=np.full(len(kept), -1, np.int64),
        sources=sources,
        names=tuple(names),
    )


def _log_frame(rows: _Rows, sources: tuple[Source, ...], start: int, end: int) -> LogFrame:
    kept = sorted(r for r in rows.logs if start <= r[0] < end)
    texts: dict[str, int] = {}
    codes = [texts.setdefault(r[5], len(texts)) for r in kept]
    column = np.array([r[:5] for r in kept], np.int64).reshape(-1, 5)
    return LogFrame(
        time_ns=column[:, 0],
        trace_hi=np.ones(len(kept), np.uint64),
        trace_lo=column[:, 1].astype(np.uint64),
        span_id=column[:, 2].astype(np.uint64),
        severity=column[:, 3].astype(np.uint8),
        source=column[:, 4].astype(np.int32),
        template=np.array(codes, np.int32),
        ref=np.arange(len(kept), dtype=np.int64),
        sources=sources,
        templates=tuple(texts),
    )


def _metrics(
    random: np.random.Generator, sources: tuple[Source, ...], start: int, end: int, trouble: Trouble
) -> MetricFrame:
    times = np.arange(start, end, SAMPLE_S * NS, dtype=np.int64)
    series, values = [], []
    for s in sources:
        more_cpu = {"catalogue": trouble.cpu, "cart": trouble.cart_cpu}.get(s.service, 0.0)
        cpu = 0.05 * random.lognormal(0.0, 0.2, len(times)) + more_cpu
        memory = (
            1e8 * (trouble.memory if s.service == "cart" else 1) * random.lognormal(0.0, 0.01, len(times))
        )
        for name, value in (("process.cpu.utilization", cpu), ("process.memory.usage", memory)):
            series.append(Series(s, name))
            values.append(value)
    return MetricFrame(
        series=tuple(series),
        cumulative=np.zeros(len(series), np.bool_),
        offsets=np.arange(len(series) + 1, dtype=np.int64) * len(times),
        time_ns=np.tile(times, len(series)),
        value=np.concatenate(values),
    )
