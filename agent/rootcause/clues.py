"""Clues: single observations that speak for a place, in words and with references."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from agent.rootcause.answer import CauseKind, Evidence
from agent.rootcause.latency import Keys
from agent.rootcause.metrics import CPU, MEMORY, POOL, edge_of
from agent.rootcause.ranking import LATENCY, MESH, RESOURCES, STRUCTURE, Findings
from agent.rootcause.resources import BLAMED, Usage
from agent.rootcause.sequences import CALL_HERE, CALL_OTHER, END, END_ERROR, LOG, START
from agent.telemetry.frames import I32, I64, KIND_CLIENT, SYSTEM_DB, SYSTEM_GEN_AI, Series

NS = 1_000_000_000
MAX_TRACES = 3
MIN_USAGE_X = 1.5
# How far above a span to look for the call to a model that it is part of.
MODEL_REACH = 4


@dataclass(frozen=True, slots=True)
class Clue:
    """``strength`` is its part of the place's score. ``operation`` is what it is about, if one."""

    kind: CauseKind
    strength: float
    operation: str
    evidence: Evidence


def clues(found: Findings, place: int) -> list[Clue]:
    """All clues for ``place``, the strongest first."""
    score = {s.name: float(s.scores()[place]) for s in found.signals}
    every = [
        *_structure(found, place, score[STRUCTURE]),
        *_work(found, place, score[LATENCY]),
        *_edges(found, place, score[LATENCY]),
        *_usages(found, place, score[RESOURCES]),
        *_mesh(found, place, score[MESH]),
    ]
    return sorted(every, key=lambda c: -c.strength)


def _structure(found: Findings, place: int, score: float) -> Iterator[Clue]:
    s = found.structure
    mine = np.flatnonzero(s.credit_to == place)
    total = float(s.flagged.weight[s.flag[mine]].sum())
    for flag in np.unique(s.flag[mine]):
        rows = s.credited[mine[s.flag[mine] == flag]]
        part = float(s.flagged.weight[flag]) * len(rows) / total
        yield _transition(found, int(flag), rows, score * part)


def _transition(found: Findings, flag: int, rows: I64, strength: float) -> Clue:
    s, trees, logs = found.structure, found.window.trees, found.window.telemetry.logs
    moved, row = s.transitions, int(rows[0])
    span = int(moved.span[row])
    operation = found.operation(span)
    before = _event(found, int(moved.before_kind[row]), int(moved.before_at[row]))
    kind_after, at = int(moved.after_kind[row]), int(moved.after_at[row])
    after = _event(found, kind_after, at)
    n_w, all_w = int(s.flagged.n_w[flag]), int(s.flagged.total_w[flag])
    usual = f"before in {int(s.flagged.n_b[flag])} of {int(s.flagged.total_b[flag])}"
    service = found.window.places.services[trees.place[span]]
    references = list(trace_references(found, moved.span[rows]))
    kind = CauseKind.ERRORS
    if kind_after == END_ERROR:
        text = f"{service} `{operation}` fails after {before} in {n_w} of {all_w} cases, {usual}"
    elif kind_after == END:
        text = f"{service} `{operation}` ends right after {before} in {n_w} of {all_w} cases, {usual}"
    elif kind_after == LOG:
        text = f"{service} `{operation}` {after} after {before} in {n_w} of {all_w} cases, {usual}"
        references += [
            f"log:{int(logs.ref[i])}" for i in moved.after_at[rows[:MAX_TRACES]] if logs.ref[i] >= 0
        ]
        kind = CauseKind.ERRORS if logs.severity[at] >= 13 else CauseKind.UNKNOWN
    else:
        text = f"{service} `{operation}` makes {after} after {before} in {n_w} of {all_w} cases, {usual}"
        kind = CauseKind.CACHE if trees.system[at] == SYSTEM_DB else CauseKind.UNKNOWN
    signal = "logs" if kind_after == LOG else "traces"
    return Clue(kind, strength, operation, Evidence(text, signal, tuple(references)))


def _event(found: Findings, kind: int, at: int) -> str:
    if kind == START:
        return "its start"
    if kind == LOG:
        logs = found.window.telemetry.logs
        return f'logs "{logs.templates[logs.template[at]][:160]}"'
    if kind in (CALL_HERE, CALL_OTHER):
        where = f"{found.window.places.services[found.window.trees.place[at]]} " if kind == CALL_OTHER else ""
        return f"the call {where}`{found.operation(at)}`"
    return "its end"


def _work(found: Findings, place: int, score: float) -> Iterator[Clue]:
    work = found.latency.work
    own, links = float(found.latency.own[place]), float(found.latency.links[place])
    rows = np.flatnonzero((work.far == place) & (work.extra_ns > 0))
    total = float(work.extra_ns[rows].sum())
    for row in rows:
        part = score * own / (own + links) * float(work.extra_ns[row]) / total
        span = int(work.example[row])
        text = (
            f"{found.window.places.services[place]} spends {_more(work, int(row))} more in "
            f"{_described(found, span)} than usual ({_medians(work, int(row))})"
        )
        yield Clue(
            _kind_of_work(found, span),
            part,
            found.operation(span),
            Evidence(text, "traces", (*trace_references(found, [span]), _red(found, place, span))),
        )


def _described(found: Findings, span: int) -> str:
    """The work of a span in words: a call by what makes it, for `SELECT` alone says little."""
    trees = found.window.trees
    name, parent = f"`{found.operation(span)}`", int(trees.parent[span])
    if trees.kind[span] != KIND_CLIENT:
        return f"{name} itself"
    what = {SYSTEM_DB: "the database call", SYSTEM_GEN_AI: "the model call"}.get(
        int(trees.system[span]), "the call"
    )
    return f"{what} {name} of `{found.operation(parent)}`" if parent >= 0 else f"{what} {name}"


def _kind_of_work(found: Findings, span: int) -> CauseKind:
    trees = found.window.trees
    up = span
    for _ in range(MODEL_REACH):
        if up < 0:
            break
        if trees.system[up] == SYSTEM_GEN_AI:
            return CauseKind.SLOW_MODEL
        up = int(trees.parent[up])
    if trees.system[span] == SYSTEM_DB:
        return CauseKind.SLOW_DATABASE
    if trees.kind[span] == KIND_CLIENT and trees.children[span] == 0:
        return CauseKind.SLOW_DEPENDENCY
    return CauseKind.SLOW_CODE


def _edges(found: Findings, place: int, score: float) -> Iterator[Clue]:
    edges, services = found.latency.edges, found.window.places.services
    own, links = float(found.latency.own[place]), float(found.latency.links[place])
    rows = np.flatnonzero(((edges.far == place) | (edges.near == place)) & (edges.extra_ns > 0))
    total = float(edges.extra_ns[rows].sum())
    for row in rows:
        span = int(edges.example[row])
        part = score * links / max(own + links, 1e-12) * float(edges.extra_ns[row]) / total
        called = found.operation(int(found.window.trees.edge[span]))
        text = (
            f"calls from {services[edges.near[row]]} to {services[edges.far[row]]} `{called}` take "
            f"{_more(edges, int(row))} more between the two than usual ({_medians(edges, int(row))})"
        )
        yield Clue(CauseKind.NETWORK, part, called, Evidence(text, "traces", trace_references(found, [span])))


def _usages(found: Findings, place: int, score: float) -> Iterator[Clue]:
    mine = [u for u in found.resources.usages if u.place == place and u.x > 0]
    top = max((BLAMED[u.family] * u.x for u in mine if u.family in BLAMED), default=0.0)
    best: dict[str, Usage] = {}
    for usage in mine:
        best.setdefault(usage.family, usage)
    for family, usage in best.items():
        if usage.x < MIN_USAGE_X:
            continue
        kind = {CPU: CauseKind.CPU, MEMORY: CauseKind.MEMORY, POOL: CauseKind.POOL_EXHAUSTED}[family]
        strength = score * BLAMED[family] * usage.x / top if family in BLAMED else 0.0
        yield Clue(kind, strength, "", _usage_evidence(found, place, usage))


def _usage_evidence(found: Findings, place: int, usage: Usage) -> Evidence:
    series = found.samples.series[usage.series]
    label = found.window.places.label(place)
    times = f"{usage.now / usage.usual:.1f} times" if usage.usual > 0 else "above 0,"
    text = (
        f"{label} {series.name} is {_number(usage.now)}, {times} its usual {_number(usage.usual)} "
        f"({usage.x:.0f} spreads above it)"
    )
    where = f"series:{series.source.service}/{series.source.instance}/{series.name}@{range_of(found)}"
    return Evidence(text, "metrics", (where,))


def _mesh(found: Findings, place: int, score: float) -> Iterator[Clue]:
    service = found.window.places.services[place]
    mine = [e for e in found.mesh.edges if service in e[:2] and e[2] > 2.5]
    total = sum(e[2] for e in mine)
    for caller, callee, z, now, before in mine:
        text = (
            f"the mesh sees calls from {caller} to {callee} take {milliseconds(now * 1e9)} more at the caller than "
            f"at the callee, before {milliseconds(before * 1e9)}"
        )
        names = [s for s in found.samples.series if _is_edge_series(s, caller, callee)]
        refs = tuple(
            f"series:{s.source.service}/{s.source.instance}/{s.name}@{range_of(found)}" for s in names
        )
        yield Clue(CauseKind.NETWORK, score * z / total, "", Evidence(text, "metrics", refs))


def _is_edge_series(series: Series, caller: str, callee: str) -> bool:
    edge = edge_of(series)
    return edge is not None and edge[:2] == (caller, callee)


def trace_references(found: Findings, spans: Sequence[int] | I32 | I64) -> tuple[str, ...]:
    """References to the traces of the first of ``spans`` (rows of the window's trees)."""
    frame, trees = found.window.telemetry.spans, found.window.trees
    seen: list[str] = []
    for span in np.asarray(spans):
        row = int(trees.frame_row[span])
        name = f"trace:{int(frame.trace_hi[row]):016x}{int(frame.trace_lo[row]):016x}"
        if name not in seen:
            seen.append(name)
        if len(seen) == MAX_TRACES:
            break
    return tuple(seen)


def _red(found: Findings, place: int, span: int) -> str:
    return f"red:{found.window.places.services[place]}/{found.operation(span)}@{range_of(found)}"


def range_of(found: Findings) -> str:
    """The stretch asked about, as references write it."""
    telemetry = found.window.telemetry
    return f"{telemetry.start_ns // NS}..{-(-telemetry.end_ns // NS)}"


def _more(keys: Keys, row: int) -> str:
    return milliseconds(float(keys.median_w[row] - keys.median_b[row]))


def _medians(keys: Keys, row: int) -> str:
    return f"median {milliseconds(float(keys.median_w[row]))}, was {milliseconds(float(keys.median_b[row]))}, {int(keys.n_w[row])} calls"


def milliseconds(ns: float) -> str:
    ms = ns / 1e6
    return f"{ms:.0f} ms" if abs(ms) >= 10 else f"{ms:.1f} ms"


def _number(value: float) -> str:
    for size, suffix in ((1 << 30, " GiB"), (1 << 20, " MiB")):
        if value >= size:
            return f"{value / size:.1f}{suffix}"
    return f"{value:.3g}"
