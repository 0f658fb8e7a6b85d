"""Spans as trees: duplicates dropped, parents found, clocks aligned, self times taken.

All in compiled passes over columns. A cycle of parents is cut where it is first met; a span whose
parent is not there is a root of what is left of its trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
import numpy.typing as npt

from agent.rootcause.hashing import hash_text, hash_texts, mix, mix_columns
from agent.telemetry.frames import (
    I32,
    I64,
    KIND_CLIENT,
    KIND_CONSUMER,
    KIND_SERVER,
    SYSTEM_DB,
    SYSTEM_GEN_AI,
    U8,
    U64,
    Bool,
    SpanFrame,
)
from agent.telemetry.source import Source


@dataclass(frozen=True, slots=True)
class Places:
    """Who can be blamed: one instance of one service. Index columns of frames are mapped to it."""

    services: tuple[str, ...]
    instances: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.services)

    def label(self, place: int) -> str:
        return self.instances[place] or self.services[place]


@dataclass(frozen=True, slots=True)
class Trees:
    """One row a distinct span, in order of start. ``parent`` and ``edge`` are rows or -1: ``edge`` is
    the one child, in another place, of a span that does nothing but call it. ``callee`` is the place that
    such a span calls; it is also told for a call that left no span at its callee, where other calls
    from the same spot tell it, and is -1 where nothing does; ``called_service`` and
    ``called_operation`` name what is called, 0 where nothing is. ``start_ns`` is aligned
    to the caller's clock by ``shift_ns``. ``spot``
    names where a span is called from: service, its operation and its parent's. ``work`` names what
    it does: its operation and, unless it serves a request, its parent's too, for ``SELECT`` alone says
    little. ``whole``: no child can be missing for the reason that
    the stretch ended before the span did."""

    frame_row: I64
    trace: I32
    parent: I32
    edge: I32
    callee: I32
    called_service: U64
    called_operation: U64
    spot: U64
    children: I32
    start_ns: I64
    duration_ns: I64
    self_ns: I64
    shift_ns: I64
    place: I32
    service: U64
    operation: U64
    work: U64
    name: I32
    kind: U8
    status: U8
    system: U8
    whole: Bool
    n_traces: int

    def __len__(self) -> int:
        return len(self.frame_row)


class PlaceTable:
    """Collects the places that the sources of a stretch stand for."""

    def __init__(self) -> None:
        self._index: dict[tuple[str, str], int] = {}

    def codes(self, sources: tuple[Source, ...]) -> I32:
        return np.fromiter((self.code(s.service, s.instance) for s in sources), np.int32)

    def code(self, service: str, instance: str) -> int:
        return self._index.setdefault((service, instance), len(self._index))

    def some(self, service: str) -> int:
        """A place of the service, the one added last; a nameless one where none was."""
        found = [place for (known, _), place in self._index.items() if known == service]
        return found[-1] if found else self.code(service, "")

    def places(self) -> Places:
        keys = list(self._index)
        return Places(tuple(service for service, _ in keys), tuple(instance for _, instance in keys))


# What is called from a spot: a service and the hash of its operation; AMBIGUOUS when not always the same.
Callees = dict[int, tuple[str, int]]
AMBIGUOUS = ("", 0)


def build_trees(spans: SpanFrame, table: PlaceTable, end_ns: int, known: Callees) -> Trees:
    """``end_ns`` is the end of the stretch the frame covers; ``known`` tells what other stretches
    showed to be called from where."""
    order = np.argsort(spans.start_ns, kind="stable")
    rows, parent, trace, n_traces = _link(
        order, spans.trace_hi, spans.trace_lo, spans.span_id, spans.parent_id
    )
    place_of_source = table.codes(spans.sources)
    place = _take(place_of_source, spans.source[rows], np.int32)
    service = _take(hash_texts(s.service for s in spans.sources), spans.source[rows], np.uint64)
    raw_start = spans.start_ns[rows]
    duration = np.maximum(spans.end_ns[rows] - raw_start, 0)
    shift = _align(parent, place, raw_start, duration)
    start = raw_start + shift
    self_ns, edge, children = _self_times(
        parent, place, start, duration, spans.kind[rows], np.argsort(start, kind="stable")
    )
    operation = _take(hash_texts(spans.names), spans.name[rows], np.uint64)
    above = np.where(parent >= 0, operation[parent], np.uint64(0)) if len(rows) else operation
    spot = mix_columns(mix_columns(service, operation), above)
    called_service = np.where(edge >= 0, service[edge], np.uint64(0)) if len(rows) else service
    called_operation = np.where(edge >= 0, operation[edge], np.uint64(0)) if len(rows) else operation
    callee = np.where(edge >= 0, place[edge], -1).astype(np.int32) if len(rows) else place
    system = spans.system[rows]
    leaf = (
        (spans.kind[rows] == KIND_CLIENT)
        & (children == 0)
        & (system != SYSTEM_DB)
        & (system != SYSTEM_GEN_AI)
    )
    seen = merge(known, _seen(edge, spot, place, operation, table.places()))
    _resolve(np.flatnonzero(leaf), spot, seen, table, called_service, called_operation, callee)
    return Trees(
        callee=callee,
        called_service=called_service,
        called_operation=called_operation,
        spot=spot,
        frame_row=rows,
        trace=trace,
        parent=parent,
        edge=edge,
        children=children,
        start_ns=start,
        duration_ns=duration,
        self_ns=self_ns,
        shift_ns=shift,
        place=place,
        service=service,
        operation=operation,
        work=np.where(_serves(spans.kind[rows]), operation, mix_columns(operation, above)),
        name=spans.name[rows],
        kind=spans.kind[rows],
        status=spans.status[rows],
        system=system,
        whole=spans.end_ns[rows] < end_ns,
        n_traces=n_traces,
    )


def callees(trees: Trees, places: Places) -> Callees:
    """What is called from each spot of these trees."""
    return _seen(trees.edge, trees.spot, trees.place, trees.operation, places)


def merge(known: Callees, seen: Callees) -> Callees:
    """Both together, the latest last; what disagrees is ambiguous."""
    found = dict(known)
    for spot, called in seen.items():
        found[spot] = called if found.pop(spot, called) == called else AMBIGUOUS
    return found


def _seen(edge: I32, spot: U64, place: I32, operation: U64, places: Places) -> Callees:
    rows = np.flatnonzero(edge >= 0)
    called = edge[rows]
    columns = np.stack([spot[rows], place[called].astype(np.uint64), operation[called]], axis=1)
    found: Callees = {}
    for at, where, what in np.unique(columns, axis=0).tolist():
        pair = (places.services[where], what)
        found[at] = pair if found.get(at, pair) == pair else AMBIGUOUS
    return found


def _resolve(leaves: I64, spot: U64, seen: Callees, table: PlaceTable,
             called_service: U64, called_operation: U64, callee: I32) -> None:  # fmt: skip
    """Fill in whom calls without a span at their callee were meant for."""
    for row in leaves:
        service, operation = seen.get(int(spot[row]), AMBIGUOUS)
        if service:
            called_service[row], called_operation[row] = hash_text(service), operation
            callee[row] = table.some(service)


def _serves(kind: U8) -> Bool:
    serves: Bool = (kind == KIND_SERVER) | (kind == KIND_CONSUMER)
    return serves


def _take(table: npt.NDArray[Any], index: I32, dtype: type) -> npt.NDArray[Any]:
    return table[index] if len(table) else np.zeros(0, dtype)


@nb.njit(cache=True, nogil=True)
def _slot(slots, keys_hi, keys_lo, keys_id, hi, lo, span):  # type: ignore[no-untyped-def]
    """The slot of a span in an open-addressing table, or the free slot where it would go."""
    mask = np.uint64(len(slots) - 1)
    at = mix(mix(hi, lo), span) & mask
    while slots[at] >= 0:
        row = slots[at]
        if keys_id[row] == span and keys_lo[row] == lo and keys_hi[row] == hi:
            break
        at = (at + np.uint64(1)) & mask
    return at


@nb.njit(cache=True, nogil=True)
def _link(order, trace_hi, trace_lo, span_id, parent_id):  # type: ignore[no-untyped-def]
    """Rows of the distinct spans in ``order``, the row of each one's parent, and dense trace numbers."""
    size = 16
    while size < 2 * len(order):
        size *= 2
    slots = np.full(size, -1, np.int64)
    traces = np.full(size, -1, np.int64)
    rows = np.empty(len(order), np.int64)
    trace = np.empty(len(order), np.int32)
    new_row = np.empty(len(order), np.int32)
    n, n_traces = 0, 0
    for row in order:
        at = _slot(slots, trace_hi, trace_lo, span_id, trace_hi[row], trace_lo[row], span_id[row])
        if slots[at] >= 0:
            continue
        slots[at] = row
        mask = np.uint64(size - 1)
        t = mix(trace_hi[row], trace_lo[row]) & mask
        while traces[t] >= 0 and (
            trace_hi[traces[t]] != trace_hi[row] or trace_lo[traces[t]] != trace_lo[row]
        ):
            t = (t + np.uint64(1)) & mask
        if traces[t] < 0:
            traces[t] = row
            trace[n] = n_traces
            n_traces += 1
        else:
            trace[n] = trace[new_row[traces[t]]]
        rows[n] = row
        new_row[row] = n
        n += 1
    parent = np.full(n, -1, np.int32)
    for i in range(n):
        row = rows[i]
        if parent_id[row] != 0 and parent_id[row] != span_id[row]:
            at = _slot(slots, trace_hi, trace_lo, span_id, trace_hi[row], trace_lo[row], parent_id[row])
            if slots[at] >= 0:
                parent[i] = new_row[slots[at]]
    _cut_cycles(parent)
    return rows[:n], parent, trace[:n], n_traces


@nb.njit(cache=True, nogil=True)
def _cut_cycles(parent):  # type: ignore[no-untyped-def]
    state = np.zeros(len(parent), np.int32)  # 0 not seen, else the walk that saw it first
    for i in range(len(parent)):
        j = i
        while j >= 0 and state[j] == 0:
            state[j] = i + 1
            up = parent[j]
            if up >= 0 and state[up] == i + 1:
                parent[j] = -1
                break
            j = up


@nb.njit(cache=True, nogil=True)
def _by_parent(parent, order):  # type: ignore[no-untyped-def]
    """Children of each span, in ``order``, as offsets into one array."""
    n = len(parent)
    offsets = np.zeros(n + 1, np.int64)
    for p in parent:
        if p >= 0:
            offsets[p + 1] += 1
    for i in range(n):
        offsets[i + 1] += offsets[i]
    fill = offsets[:-1].copy()
    kids = np.empty(offsets[n], np.int32)
    for row in order:
        p = parent[row]
        if p >= 0:
            kids[fill[p]] = row
            fill[p] += 1
    return offsets, kids


@nb.njit(cache=True, nogil=True)
def _align(parent, place, start, duration):  # type: ignore[no-untyped-def]
    """How far each span is shifted so that calls lie inside their callers.

    Clocks differ between machines: a call that starts before its caller, or ends after one that is
    long enough to hold it, is put into the caller's middle, and its subtree with it."""
    n = len(parent)
    offsets, kids = _by_parent(parent, np.arange(n))
    shift = np.zeros(n, np.int64)
    queue = np.empty(n, np.int32)
    filled = 0
    for i in range(n):
        if parent[i] < 0:
            queue[filled] = i
            filled += 1
    at = 0
    while at < filled:
        up = queue[at]
        at += 1
        begin = start[up] + shift[up]
        end = begin + duration[up]
        for k in range(offsets[up], offsets[up + 1]):
            kid = kids[k]
            shift[kid] = shift[up]
            first = start[kid] + shift[kid]
            fits = duration[kid] <= duration[up]
            if place[kid] != place[up] and (first < begin or (fits and first + duration[kid] > end)):
                middle = begin + (duration[up] - duration[kid]) // 2 if fits else begin
                shift[kid] += middle - first
            queue[filled] = kid
            filled += 1
    return shift


@nb.njit(cache=True, nogil=True)
def _self_times(parent, place, start, duration, kind, order):  # type: ignore[no-untyped-def]
    """Duration not covered by children; the row called, of spans that only call; number of children."""
    n = len(parent)
    offsets, kids = _by_parent(parent, order)
    self_ns = np.empty(n, np.int64)
    edge = np.full(n, -1, np.int32)
    children = np.empty(n, np.int32)
    for i in range(n):
        end = start[i] + duration[i]
        reached = start[i]
        covered = np.int64(0)
        for k in range(offsets[i], offsets[i + 1]):
            kid = kids[k]
            first = max(start[kid], reached)
            last = min(start[kid] + duration[kid], end)
            if last > first:
                covered += last - first
                reached = last
        self_ns[i] = duration[i] - covered
        children[i] = offsets[i + 1] - offsets[i]
        serves = kind[i] == KIND_SERVER or kind[i] == KIND_CONSUMER
        if children[i] == 1 and not serves and place[kids[offsets[i]]] != place[i]:
            edge[i] = kids[offsets[i]]
    return self_ns, edge, children
