"""A simulated shop for the detectors' tests: seeded, realistic in what makes detection hard.

Poisson arrivals with a swing of 40 %, log-normal self times with a heavy tail, a cold start, slow noise that
all services share, short stalls of the machine, a few stray errors, and services of very different traffic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from agent.telemetry.frames import (
    F64,
    I64,
    KIND_CLIENT,
    KIND_SERVER,
    STATUS_ERROR,
    SYSTEM_DB,
    SYSTEM_GEN_AI,
    SYSTEM_HTTP,
    SYSTEM_NONE,
    U8,
    Bool,
    SpanFrame,
    select,
)
from agent.telemetry.source import Source

EPOCH_NS = 1_700_000_000 * 10**9
FAULTS = (
    "slow-query", "cpu-burn", "network-delay", "bad-deploy", "slow-model", "pool-exhausted", "cache-lost",
)  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A request: who serves it, its own time, what it calls in turn. ``kind`` db or model is a client span
    without a server span below."""

    service: str
    operation: str
    median_s: float
    children: tuple[Call, ...] = ()
    system: int = SYSTEM_HTTP


_DB = Call("catalogue", "SELECT products", 0.004, system=SYSTEM_DB)
_LIST = Call("catalogue", "GET /products", 0.006, (_DB,))
_ITEM = Call("catalogue", "GET /products/{id}", 0.003)
_CART = Call("cart", "GET /cart", 0.005)
_ADD = Call("cart", "POST /cart", 0.007, (_ITEM,))
_PAY = Call("payment", "POST /charge", 0.030)
_BUY = Call("checkout", "POST /checkout", 0.015, (_CART, _PAY))
_LIKE = Call("recommendation", "GET /recommendations", 0.012, (_ITEM,))
_ASK = Call("assistant", "POST /ask", 0.020, (Call("model", "POST /v1/chat", 0.600, system=SYSTEM_GEN_AI),))
ROUTES: tuple[tuple[float, Call], ...] = (
    (0.40, Call("front", "GET /", 0.008, (_LIST, _LIKE))),
    (0.27, Call("front", "GET /item", 0.006, (_ITEM,))),
    (0.18, Call("front", "POST /cart", 0.006, (_ADD,))),
    (0.11, Call("front", "POST /buy", 0.007, (_BUY,))),
    (0.04, Call("front", "POST /help", 0.006, (_ASK,))),
)
SERVICES = ("front", "catalogue", "cart", "checkout", "payment", "recommendation", "assistant", "model")
NAMES = tuple(sorted({
    "GET", "POST", "SELECT products", "POST /v1/chat", "GET /products", "GET /products/{id}", "GET /cart", "POST /cart",
    "POST /charge", "POST /checkout", "GET /recommendations", "POST /ask", "GET /", "GET /item", "POST /buy", "POST /help",
}))  # fmt: skip
SOURCES = tuple(Source("default", name, "shop", f"{name}-0", "1") for name in SERVICES)


class Shop:
    """``fault`` begins ``fault_at_s`` after the start. ``rate_hz`` is that of the front door."""

    def __init__(
        self, seed: int, length_s: float, fault: str = "none", fault_at_s: float = 1e9, rate_hz: float = 8.0
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.length_s, self.fault, self.fault_at_s, self.rate_hz = length_s, fault, fault_at_s, rate_hz
        stalls = self.rng.poisson(length_s / 600)
        self._stalls = [(self.rng.uniform(0, length_s), self.rng.uniform(0.5, 3.0)) for _ in range(stalls)]
        self._noise = self._slow_noise()
        self._columns: list[tuple[F64, F64, U8, U8, U8, I64, I64]] = []
        self._ids = 1

    def spans(self) -> SpanFrame:
        """All spans in the order in which they ended."""
        swing_s = self.rng.uniform(180, 420)
        t = np.sort(self.rng.uniform(0, self.length_s, self.rng.poisson(self.rate_hz * 1.4 * self.length_s)))
        t = t[self.rng.uniform(0, 1.4, len(t)) < 1 + 0.4 * np.sin(2 * np.pi * t / swing_s)]
        route = self.rng.choice(len(ROUTES), len(t), p=[share for share, _ in ROUTES])
        parts: list[_Part] = []
        for number, (_, call) in enumerate(ROUTES):
            start = t[route == number]
            trace = np.arange(self._ids, self._ids + len(start), dtype=np.int64)
            self._ids += len(start)
            self._serve(call, start, trace, np.zeros(len(start), np.int64), parts)
        return _frame(parts)

    def _serve(self, call: Call, start: F64, trace: I64, parent: I64, parts: list[_Part]) -> tuple[F64, Bool]:
        """Adds the spans of one call and what is below; returns when it ended and whether it failed."""
        own = self._new_ids(len(start))
        begin = start
        at = start + 0.4 * (work := self._self_time(call, start))
        failed = self.rng.uniform(size=len(start)) < 0.001
        for child in call.children:
            client = self._new_ids(len(start)) if child.system in (SYSTEM_HTTP, SYSTEM_GEN_AI) else own
            sent = at
            delay = self._network(call, child, at)
            if child.system == SYSTEM_DB:
                at = at + self._self_time(child, at)
                parts.append(
                    _Part(
                        call.service,
                        child.operation,
                        KIND_CLIENT,
                        SYSTEM_DB,
                        sent,
                        at,
                        failed & False,
                        trace,
                        self._new_ids(len(at)),
                        own,
                    )
                )
                continue
            ended, broke = self._serve(child, at + delay, trace, client, parts)
            at = ended + delay
            parts.append(
                _Part(
                    call.service,
                    child.operation.split()[0],
                    KIND_CLIENT,
                    child.system,
                    sent,
                    at,
                    broke,
                    trace,
                    client,
                    own,
                )
            )
            failed = failed | broke
        at = at + 0.6 * work
        at = at + self._waiting(call, at)
        failed = failed | self._breaks(call, begin)
        parts.append(
            _Part(
                call.service, call.operation, KIND_SERVER, SYSTEM_NONE, begin, at, failed, trace, own, parent
            )
        )
        return at, failed

    def _self_time(self, call: Call, start: F64) -> F64:
        n = len(start)
        time = call.median_s * np.exp(0.45 * self.rng.standard_normal(n))
        time = np.where(self.rng.uniform(size=n) < 0.01, time * self.rng.uniform(3, 15, n), time)
        time *= 1 + 15 * np.exp(-np.arange(n) / 2) + 2 * np.exp(-start / 12)
        time *= np.interp(start, *self._noise)
        for at, length in self._stalls:
            time += np.clip(at + length - start, 0, None) * ((start > at - 0.05) & (start < at + length))
        return time * self._fault_factor(call, start) + self._fault_term(call, start)

    def _fault_factor(self, call: Call, start: F64) -> F64:
        on = start >= self.fault_at_s
        factor = {"cpu-burn": ("cart", 5.0), "slow-model": ("model", 5.0), "cache-lost": ("catalogue", 9.0)}
        service, times = factor.get(self.fault, ("", 1.0))
        return np.where(on & (call.service == service), times, 1.0)

    def _fault_term(self, call: Call, start: F64) -> F64:
        on = (start >= self.fault_at_s) & (self.fault == "slow-query") & (call.operation == "SELECT products")
        return np.where(on, 0.3 * np.exp(0.4 * self.rng.standard_normal(len(start))), 0.0)

    def _network(self, call: Call, child: Call, at: F64) -> F64:
        on = (at >= self.fault_at_s) & (self.fault == "network-delay") & (child.service == "payment")
        return 0.0005 + np.where(on, 0.125 * np.exp(0.2 * self.rng.standard_normal(len(at))), 0.0)

    def _waiting(self, call: Call, at: F64) -> F64:
        on = (at >= self.fault_at_s) & (self.fault == "pool-exhausted") & (call.service == "catalogue")
        return np.where(on & (self.rng.uniform(size=len(at)) < 0.7), self.rng.uniform(1, 5, len(at)), 0.0)

    def _breaks(self, call: Call, start: F64) -> Bool:
        on = (start >= self.fault_at_s) & (self.fault == "bad-deploy") & (call.service == "payment")
        return on & (self.rng.uniform(size=len(start)) < 0.5)

    def _slow_noise(self) -> tuple[F64, F64]:
        steps = int(self.length_s / 5) + 3
        level = np.zeros(steps)
        shocks = self.rng.standard_normal(steps)
        for i in range(1, steps):
            level[i] = 0.85 * level[i - 1] + 0.08 * shocks[i]
        return np.arange(steps, dtype=np.float64) * 5.0, np.asarray(np.exp(level), np.float64)

    def _new_ids(self, n: int) -> I64:
        ids = np.arange(self._ids, self._ids + n, dtype=np.int64)
        self._ids += n
        return ids


@dataclass
class _Part:
    service: str
    name: str
    kind: int
    system: int
    start: F64
    end: F64
    failed: Bool
    trace: I64
    span: I64
    parent: I64


def _frame(parts: list[_Part]) -> SpanFrame:
    def column(of: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        return np.concatenate([getattr(p, of) for p in parts])

    def spread(values: list[int]) -> I64:
        return np.repeat(np.asarray(values, np.int64), [len(p.start) for p in parts])

    start = EPOCH_NS + (column("start") * 1e9).astype(np.int64)
    end = EPOCH_NS + (column("end") * 1e9).astype(np.int64)
    trace = column("trace").astype(np.uint64)
    frame = SpanFrame(
        trace_hi=trace, trace_lo=trace * np.uint64(0x9E3779B97F4A7C15), span_id=column("span").astype(np.uint64),
        parent_id=column("parent").astype(np.uint64), start_ns=start, end_ns=end,
        kind=spread([p.kind for p in parts]).astype(np.uint8),
        status=np.where(column("failed"), STATUS_ERROR, 0).astype(np.uint8),
        system=spread([p.system for p in parts]).astype(np.uint8),
        source=spread([SERVICES.index(p.service) for p in parts]).astype(np.int32),
        name=spread([NAMES.index(p.name) for p in parts]).astype(np.int32),
        ref=np.full(len(start), -1, np.int64), sources=SOURCES, names=NAMES,
    )  # fmt: skip
    return select(frame, np.argsort(end, kind="stable"))


def batches(spans: SpanFrame, step_s: float) -> Iterator[tuple[int, SpanFrame]]:
    """The spans as they arrive: ``(event time now, what ended in the last step)``."""
    step_ns = round(step_s * 1e9)
    last_ns = int(spans.end_ns[-1])
    edges = np.arange(EPOCH_NS, last_ns + step_ns, step_ns)
    cuts = np.searchsorted(spans.end_ns, edges)
    for i in range(1, len(edges)):
        yield int(edges[i]), select(spans, np.arange(cuts[i - 1], cuts[i]))
