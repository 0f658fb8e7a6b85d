"""Who calls whom, learned from spans: a child span of another service than its parent is a call. What proxies tell of
calls is learned as well, for services that send no spans.

Whole traces are sampled by a hash of their id, the same in every stream, so that the cost is bounded and
the joins stay possible; counts are scaled back. Calls to a database or a model that sends no spans of its
own lead to a pseudo-node, ``<service>:db`` or ``<service>:model``: the frame does not say which database, and
two services must not be taken for neighbours because both have one. Cycles are allowed; nothing here recurses.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from agent.correlation.joins import PAIR_COLUMNS, Generation, join, sampled
from agent.detection.anomaly import ServiceKey
from agent.detection.histogram import BUCKETS, LOWEST_NS, PER_OCTAVE, quantiles
from agent.detection.mesh import UNKNOWN
from agent.detection.meshwatch import TRACED_NS
from agent.detection.red import OTHER_OPERATION, RedBins, RedKind
from agent.telemetry.frames import (
    F64,
    I32,
    I64,
    KIND_CLIENT,
    STATUS_ERROR,
    SYSTEM_DB,
    SYSTEM_GEN_AI,
    SpanFrame,
)
from agent.telemetry.source import Source

_ALL = 2**64 - 1
_CROWD = ServiceKey("", "", "…other")
_PSEUDO = {SYSTEM_DB: "db", SYSTEM_GEN_AI: "model"}


@dataclass(frozen=True, slots=True)
class TopologySettings:
    """``max_spans_per_s``: spans joined a second of event time; beyond it fewer traces are sampled.
    ``join_s``: how far apart parent and child may arrive, at least. ``table_spans``: spans that two tables
    of joins hold each (100 bytes a span). ``keep_s``: silence after which an edge goes. ``max_edges``:
    the calls of further edges are counted in ``Topology.calls_refused``."""

    max_spans_per_s: float = 2000.0
    join_s: float = 120.0
    table_spans: int = 1 << 17
    keep_s: float = 3600.0
    max_edges: int = 10_000


@dataclass(frozen=True, slots=True)
class Edge:
    """``calls`` and ``errors`` are estimates if traces are sampled; the latencies are the callee's own view
    over the last five to ten minutes of calls (the caller's, where a mesh tells of them). ``pseudo``: the
    callee sends no spans."""

    caller: ServiceKey
    callee: ServiceKey
    calls: float
    errors: float
    p50_ns: float
    p95_ns: float
    first_ns: int
    last_ns: int
    pseudo: bool


class _EdgeState:
    __slots__ = ("calls", "errors", "first_ns", "last_ns", "recent", "traced_ns", "turned_ns")

    def __init__(self, now_ns: int) -> None:
        self.calls = self.errors = 0.0
        self.first_ns = self.last_ns = self.turned_ns = now_ns
        self.traced_ns = 0  # when spans told of a call
        self.recent = np.zeros((2, BUCKETS), np.int64)

    def add(self, calls: float, errors: float, last_ns: int, buckets: I64) -> None:
        self.calls += calls
        self.errors += errors
        self.last_ns = max(self.last_ns, last_ns)
        if self.last_ns - self.turned_ns > 300 * 10**9:
            self.recent[1], self.turned_ns = self.recent[0], self.last_ns
            self.recent[0] = 0
        self.recent[0] += buckets


class Topology:
    def __init__(self, settings: TopologySettings | None = None) -> None:
        self.settings = settings or TopologySettings()
        self.calls_refused = 0
        self.sample_ratio = 1.0
        self.now_ns = 0
        self._nodes: list[ServiceKey] = []
        self._node_of: dict[ServiceKey, int] = {}
        self._node_of_source: dict[Source, int] = {}
        self._edges: dict[tuple[int, int], _EdgeState] = {}
        self._pseudo: set[int] = set()
        self._untraced: set[int] = set()  # services that only a mesh tells of
        self._answered: set[tuple[int, int]] = set()
        self._young = Generation(self.settings.table_spans)
        self._old = Generation(1)
        self._second = (0, 0)
        self._around: dict[ServiceKey, set[ServiceKey]] | None = None

    def observe(self, spans: SpanFrame) -> None:
        """Learns from spans of any stream, in any order."""
        if len(spans) == 0:
            return
        self.now_ns = max(self.now_ns, int(spans.end_ns.max()))
        present, place = np.unique(spans.source, return_inverse=True)
        nodes = np.asarray([self._node(spans.sources[code]) for code in present], np.int32)[place]
        threshold = _ALL if self.sample_ratio >= 1 else int(self.sample_ratio * 2**64)
        rows = np.flatnonzero(sampled(spans.trace_lo, np.uint64(threshold)))
        self._limit(len(rows))
        failed = spans.status == STATUS_ERROR
        step = max(1, self.settings.table_spans // 4)
        for first in range(0, len(rows), step):
            self._join(spans, rows[first : first + step], nodes, failed)
        self._pseudo_calls(spans, rows, nodes, failed)
        self._age()

    def observe_mesh(self, bins: RedBins) -> None:
        """Learns from the RED rows of proxies: the operation of calls is who is called. Services are known by name
        (``_service``). An edge that spans tell of is left to them."""
        if len(bins) == 0:
            return
        self.now_ns = max(self.now_ns, int(bins.bin_start_ns.max()))
        named: dict[tuple[str, str], list[ServiceKey]] = {}
        for node in self._nodes:
            named.setdefault((node.tenant, node.service), []).append(node)
        order = sorted(range(len(bins.keys)), key=lambda code: bins.keys[code].kind is RedKind.CALLS)
        for code in order:  # those who serve first: they say in which namespace they are
            key = bins.keys[code]
            own = self._service(ServiceKey(key.tenant, key.namespace, key.service), named, elsewhere=False)
            if key.kind is RedKind.CALLS and key.operation not in (UNKNOWN, OTHER_OPERATION):
                called = self._service(
                    ServiceKey(key.tenant, key.namespace, key.operation), named, elsewhere=True
                )
                if called != own:
                    self._add_mesh(own, called, bins, np.flatnonzero(bins.series == code))
        self._age()

    def edges(self, now_ns: int | None = None) -> tuple[Edge, ...]:
        """All edges seen in the last ``keep_s``, sorted."""
        since_ns = (self.now_ns if now_ns is None else now_ns) - round(self.settings.keep_s * 1e9)
        rows = [
            (pair, state)
            for pair, state in self._edges.items()
            if state.last_ns >= since_ns and self._shown(pair)
        ]
        if not rows:
            return ()
        buckets = np.stack([state.recent.sum(axis=0) for _, state in rows])
        p50, p95 = quantiles(buckets, 0.5), quantiles(buckets, 0.95)
        return tuple(
            sorted(
                (
                    Edge(
                        self._nodes[a], self._nodes[b], s.calls, s.errors, float(p50[i]), float(p95[i]),
                        s.first_ns, s.last_ns, b in self._pseudo or b in self._untraced,
                    )
                    for i, ((a, b), s) in enumerate(rows)
                ),
                key=lambda edge: (edge.caller, edge.callee),
            )
        )  # fmt: skip

    def services(self) -> tuple[ServiceKey, ...]:
        return tuple(sorted(self._nodes))

    def callers(self, service: ServiceKey) -> tuple[ServiceKey, ...]:
        return self._ends(service, 1, 0)

    def callees(self, service: ServiceKey) -> tuple[ServiceKey, ...]:
        return self._ends(service, 0, 1)

    def neighbours(self, service: ServiceKey) -> tuple[ServiceKey, ...]:
        """Callers and callees, sorted."""
        return tuple(sorted(self._graph().get(service, ())))

    def distance(self, a: ServiceKey, b: ServiceKey, within: int = 16) -> int | None:
        """Hops between two services along calls in either direction; None if more than ``within``."""
        graph = self._graph()
        seen, edge = {a}, deque([(a, 0)])
        while edge:
            at, hops = edge.popleft()
            if at == b:
                return hops
            if hops < within:
                for other in graph.get(at, ()):
                    if other not in seen:
                        seen.add(other)
                        edge.append((other, hops + 1))
        return None

    def connected(self, a: ServiceKey, b: ServiceKey, within: int = 2) -> bool:
        """Whether at most ``within`` hops lie between; two services of one caller are two hops apart."""
        return self.distance(a, b, within) is not None

    def _graph(self) -> dict[ServiceKey, set[ServiceKey]]:
        if self._around is None:
            self._around = {}
            for a, b in filter(self._shown, self._edges):
                self._around.setdefault(self._nodes[a], set()).add(self._nodes[b])
                self._around.setdefault(self._nodes[b], set()).add(self._nodes[a])
        return self._around

    def _ends(self, service: ServiceKey, here: int, there: int) -> tuple[ServiceKey, ...]:
        node = self._node_of.get(service)
        return tuple(
            sorted(
                self._nodes[pair[there]] for pair in self._edges if pair[here] == node and self._shown(pair)
            )
        )

    def _shown(self, pair: tuple[int, int]) -> bool:
        """A pseudo-node goes once a real service has answered such a call."""
        return pair not in self._answered

    def _node(self, source: Source) -> int:
        node = self._node_of_source.get(source)
        if node is None:
            if len(self._node_of_source) > 100_000:
                self._node_of_source.clear()
            node = self._named(ServiceKey(source.tenant, source.namespace, source.service))
            self._node_of_source[source] = node
            self._untraced.discard(node)
        return node

    def _service(
        self, key: ServiceKey, named: dict[tuple[str, str], list[ServiceKey]], *, elsewhere: bool
    ) -> int:
        """The node of a service that a proxy names: one of the same namespace, or of none. Else, where the namespace
        is a guess (``elsewhere``), that of any namespace, or a new one."""
        known = named.setdefault((key.tenant, key.service), [])
        for namespace in (key.namespace, ""):
            found = key._replace(namespace=namespace)
            if found in known:
                return self._named(found)
        if elsewhere and known:
            return self._named(min(known))
        known.append(key)
        node = self._named(key)
        self._untraced.add(node)
        return node

    def _named(self, key: ServiceKey) -> int:
        if key not in self._node_of and len(self._nodes) >= 2 * self.settings.max_edges:
            key = _CROWD
        node = self._node_of.setdefault(key, len(self._nodes))
        if node == len(self._nodes):
            self._nodes.append(key)
        return node

    def _limit(self, spans: int) -> None:
        """Halves the sample when a stretch of ten seconds brought too many spans, doubles it with room."""
        stretch = self.now_ns // (10 * 10**9)
        if stretch != self._second[0]:
            per_s = self._second[1] / 10
            if per_s > self.settings.max_spans_per_s:
                self.sample_ratio = max(self.sample_ratio / 2, 2.0**-16)
            elif per_s < 0.4 * self.settings.max_spans_per_s:
                self.sample_ratio = min(self.sample_ratio * 2, 1.0)
            self._second = (stretch, 0)
        self._second = (stretch, self._second[1] + spans)

    def _join(
        self, spans: SpanFrame, rows: I64, nodes: I32, failed: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> None:
        young = self._young
        if young.room < 2 * len(rows) or self.now_ns - young.born_ns > self.settings.join_s * 1e9:
            young.born_ns = young.born_ns or self.now_ns
            if young.used.any():
                self._old, self._young = young, Generation(self.settings.table_spans)
                young = self._young
                young.born_ns = self.now_ns
        old = self._old
        pairs = np.zeros((len(rows) + int(young.used[1]) + int(old.used[1]), PAIR_COLUMNS), np.int64)
        found = join(
            rows, spans.trace_lo, spans.span_id, spans.parent_id, spans.start_ns, spans.end_ns, failed, spans.system,
            nodes, young.key, young.node, young.system, young.head, young.child, young.used,
            old.key, old.node, old.system, old.head, old.child, pairs,
        )  # fmt: skip
        pairs = pairs[:found]
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        self._note_answered(pairs)
        self._add(pairs)

    def _note_answered(self, pairs: I64) -> None:
        for system, name in _PSEUDO.items():
            for node in np.unique(pairs[pairs[:, 5] == system, 0]):
                where = self._nodes[int(node)]
                pseudo = self._named(where._replace(service=f"{where.service}:{name}"))
                self._pseudo.add(pseudo)
                if (int(node), pseudo) not in self._answered:
                    self._answered.add((int(node), pseudo))
                    self._around = None

    def _pseudo_calls(
        self, spans: SpanFrame, rows: I64, nodes: I32, failed: np.ndarray[tuple[int], np.dtype[np.bool_]]
    ) -> None:
        for system, name in _PSEUDO.items():
            calls = rows[(spans.kind[rows] == KIND_CLIENT) & (spans.system[rows] == system)]
            for node in np.unique(nodes[calls]):
                where = self._nodes[int(node)]
                pseudo = self._named(where._replace(service=f"{where.service}:{name}"))
                self._pseudo.add(pseudo)
                own = calls[nodes[calls] == node]
                pairs = np.zeros((len(own), PAIR_COLUMNS), np.int64)
                pairs[:, 0], pairs[:, 1] = node, pseudo
                pairs[:, 2] = np.maximum(spans.end_ns[own] - spans.start_ns[own], 0)
                pairs[:, 3], pairs[:, 4] = spans.end_ns[own], failed[own]
                self._add(pairs)

    def _add(self, pairs: I64) -> None:
        if len(pairs) == 0:
            return
        weight = 1 / self.sample_ratio
        distinct, inverse = np.unique(pairs[:, :2], axis=0, return_inverse=True)
        inverse = inverse.reshape(-1)
        for number, (a, b) in enumerate(distinct.tolist()):
            rows = pairs[inverse == number]
            state = self._edge(a, b, int(rows[:, 3].min()))
            if state is None:
                self.calls_refused += len(rows)
                continue
            last_ns = int(rows[:, 3].max())
            state.traced_ns = max(state.traced_ns, last_ns)
            buckets = np.bincount(_buckets(rows[:, 2]), minlength=BUCKETS)
            state.add(weight * len(rows), weight * float(rows[:, 4].sum()), last_ns, buckets)

    def _add_mesh(self, a: int, b: int, bins: RedBins, rows: I64) -> None:
        state = self._edges.get((a, b))
        if state is not None and state.traced_ns:
            rows = rows[bins.bin_start_ns[rows] > state.traced_ns + TRACED_NS]
        if not len(rows):
            return
        state = self._edge(a, b, int(bins.bin_start_ns[rows].min()))
        calls, errors = int(bins.count[rows].sum()), int(bins.errors[rows].sum())
        if state is None:
            self.calls_refused += calls
            return
        buckets = bins.buckets[rows].sum(axis=0, dtype=np.int64)
        state.add(calls, errors, int(bins.bin_start_ns[rows].max()), buckets)

    def _edge(self, a: int, b: int, first_ns: int) -> _EdgeState | None:
        """None: there is no room for a new one."""
        state = self._edges.get((a, b))
        if state is None and len(self._edges) < self.settings.max_edges:
            state = self._edges[a, b] = _EdgeState(first_ns)
            self._around = None
        return state

    def _age(self) -> None:
        since_ns = self.now_ns - round(self.settings.keep_s * 1e9)
        old = [pair for pair, state in self._edges.items() if state.last_ns < since_ns]
        for pair in old:
            del self._edges[pair]
            self._answered.discard(pair)
        if old:
            self._around = None


def _buckets(duration_ns: I64) -> I64:
    octaves: F64 = np.log2(np.maximum(duration_ns, 1) / LOWEST_NS)
    inner = 1 + np.floor(octaves * PER_OCTAVE).astype(np.int64)
    return np.asarray(np.clip(np.where(duration_ns < LOWEST_NS, 0, inner), 0, BUCKETS - 1), np.int64)
