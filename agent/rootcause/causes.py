"""From clues to causes: what kind of thing went wrong at a place, said with its evidence.

The kind follows from the evidence by general rules: a fresh version explains what fails on it, a
burning processor explains slow code, waiting before the first call to a database is waiting for a
connection. No name of a service, operation or fault stands here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from agent.rootcause.answer import Cause, CauseKind, Evidence
from agent.rootcause.clues import NS, Clue, clues, milliseconds, range_of, trace_references
from agent.rootcause.metrics import CPU, MEMORY, POOL
from agent.rootcause.onset import onset_ns
from agent.rootcause.ranking import Findings
from agent.telemetry.frames import STATUS_ERROR, SYSTEM_DB, ChangeEvent

MAX_EVIDENCE = 6
CPU_X, MEMORY_X, POOL_X = 3.0, 3.0, 3.0
MEMORY_TIMES = 2.0
TRAFFIC_RATIO = 2.5
JUST_BEFORE_NS = 180 * NS
SURGE_RATIO, SURGE_LINES = 3.0, 3
SEVERITY_WARN = 13
WAITED_SHARE, WAITED_NS = 0.6, 20_000_000

_POOL = re.compile(
    r"\bpool|too many (clients|connections)|connection slots|acquir\w+ (a )?connection", re.IGNORECASE
)
_MEMORY = re.compile(r"out of ?memory|\boom\b|cannot allocate|memoryerror", re.IGNORECASE)
_LOCK = re.compile(r"deadlock|lock (wait )?timeout|statement timeout|canceling statement", re.IGNORECASE)
_WORDS = ((_POOL, CauseKind.POOL_EXHAUSTED), (_MEMORY, CauseKind.MEMORY), (_LOCK, CauseKind.SLOW_DATABASE))

_SLOW = (CauseKind.SLOW_CODE, CauseKind.SLOW_DEPENDENCY, CauseKind.SLOW_DATABASE, CauseKind.NETWORK)


def causes(found: Findings, limit: int) -> tuple[Cause, ...]:
    """The places with any blame, the most blamed first."""
    total = float(found.score.sum())
    order = [int(p) for p in np.argsort(-found.score, kind="stable") if found.score[p] > 0][:limit]
    return tuple(_cause(found, place, rank, total) for rank, place in enumerate(order, 1))


def _cause(found: Findings, place: int, rank: int, total: float) -> Cause:
    observed = clues(found, place)
    changes = found.changes_of(place)
    lines = _surging_lines(found, place)
    waiting = _waiting(found, place)
    kind, lead = _kind(found, place, observed, changes, lines, waiting)
    first = [c for c in observed if c.kind is lead] or observed
    rest = [c for c in observed if c not in first[:1]]
    evidence = [*(c.evidence for c in first[:1])]
    if waiting is not None and kind is CauseKind.POOL_EXHAUSTED:
        evidence.insert(0, waiting)
    evidence += [_change(c) for c in changes]
    evidence += [c.evidence for c in rest]
    evidence += [*lines[:2], *_traffic(found, place)]
    evidence = evidence[:MAX_EVIDENCE] or [_odd(found, place)]
    places = found.window.places
    return Cause(
        rank=rank,
        service=places.services[place],
        instance=places.instances[place],
        kind=kind,
        operation=next((c.operation for c in [*first, *rest] if c.operation), ""),
        share=round(float(found.score[place]) / total, 4),
        statement=_statement(kind, evidence, changes),
        evidence=tuple(evidence),
    )


def _kind(
    found: Findings,
    place: int,
    observed: Sequence[Clue],
    changes: Sequence[ChangeEvent],
    lines: Sequence[Evidence],
    waiting: Evidence | None,
) -> tuple[CauseKind, CauseKind]:
    """What went wrong, and the kind of clue that tells it best."""
    strength: dict[CauseKind, float] = {}
    for clue in observed:
        strength[clue.kind] = strength.get(clue.kind, 0.0) + clue.strength
    lead = max(strength, key=lambda k: strength[k], default=CauseKind.UNKNOWN)
    cpu, memory = _excess(found, place, CPU) or 0.0, _excess(found, place, MEMORY) or 0.0
    spoken = _spoken(observed, lines)
    just_before = onset_ns(found, place) - JUST_BEFORE_NS
    if any(c.kind == "version" and c.time_ns >= just_before for c in changes):
        return CauseKind.BAD_DEPLOY, lead
    # What fills memory works the processor too, but not the other way round: memory twice its usual decides.
    fuller = memory >= MEMORY_X and _times_usual(found, place, MEMORY) >= MEMORY_TIMES
    if fuller or (memory >= MEMORY_X and (memory >= cpu or CauseKind.MEMORY in (lead, spoken))):
        return CauseKind.MEMORY, CauseKind.MEMORY
    if any(c.kind == "restart" for c in changes) and lead not in _SLOW:
        return CauseKind.RESTARTS, lead
    if spoken is not None:
        return spoken, lead
    database = strength.get(CauseKind.SLOW_DATABASE, 0.0)
    pool = _excess(found, place, POOL)
    if waiting is not None and pool is not None and pool < POOL_X:
        waiting = None  # the pool's own figures say that nobody waits for it
    if waiting is not None and cpu < CPU_X and database < 0.3 * sum(strength.values()):
        return CauseKind.POOL_EXHAUSTED, lead
    if lead in _SLOW and cpu >= (2 * CPU_X if lead is CauseKind.SLOW_DATABASE else CPU_X):
        return (CauseKind.TRAFFIC if _traffic(found, place) else CauseKind.CPU), CauseKind.CPU
    return lead, lead


def _spoken(observed: Sequence[Clue], lines: Sequence[Evidence]) -> CauseKind | None:
    """The kind that log lines name in so many words."""
    texts = [c.evidence.statement for c in observed if c.evidence.signal == "logs"]
    for text in [*texts, *(line.statement for line in lines)]:
        for words, kind in _WORDS:
            if words.search(text):
                return kind
    return None


def _excess(found: Findings, place: int, family: str) -> float | None:
    """How many spreads a resource of the place, or of its service's other instances, is above its usual;
    ``None`` where nobody measures it."""
    services = found.window.places.services
    same = {p for p, service in enumerate(services) if service == services[place]}
    return max((u.x for u in found.resources.usages if u.place in same and u.family == family), default=None)


def _times_usual(found: Findings, place: int, family: str) -> float:
    """How many times its usual a resource of the place itself is at."""
    mine = [u for u in found.resources.usages if u.place == place and u.family == family and u.usual > 0]
    return max((u.now / u.usual for u in mine), default=0.0)


def _waiting(found: Findings, place: int) -> Evidence | None:
    """Work that grew slow by waiting: before its first call to a database, or, having failed, without ever
    getting to one, although its like do."""
    trees = found.window.trees
    db = np.flatnonzero((trees.system == SYSTEM_DB) & (trees.parent >= 0))
    db = db[trees.place[db] == place]
    if not len(db):
        return None
    first_call = np.full(len(trees), np.iinfo(np.int64).max)
    np.minimum.at(first_call, trees.parent[db], trees.start_ns[db])
    callers = np.unique(trees.operation[trees.parent[db]])
    mine = np.flatnonzero((trees.place == place) & np.isin(trees.operation, callers) & (trees.children >= 0))
    reached = first_call[mine] < np.iinfo(np.int64).max
    waited = np.where(reached, first_call[mine] - trees.start_ns[mine], trees.self_ns[mine])
    relevant = reached | (trees.status[mine] == STATUS_ERROR)
    long = relevant & (waited > WAITED_SHARE * trees.duration_ns[mine]) & (waited > WAITED_NS)
    slow_keys = {int(trees.operation[s]) for s in found.latency.work.example[found.latency.work.elevated]}
    odd = np.isin(trees.operation[mine], list(slow_keys)) | (trees.status[mine] == STATUS_ERROR)
    rows = mine[long & odd]
    if len(rows) < max(2, 0.2 * int(relevant.sum())):
        return None
    waits = waited[long & odd]
    operation = found.operation(int(rows[np.argmax(waits)]))
    text = (
        f"{found.window.places.services[place]} `{operation}` waits {milliseconds(float(np.median(waits)))} "
        f"(median) before its first call to the database in {len(rows)} of {int(relevant.sum())} cases"
    )
    return Evidence(text, "traces", trace_references(found, rows[np.argsort(-waits)]))


def _surging_lines(found: Findings, place: int) -> list[Evidence]:
    """Warnings and errors that a place logs more often than usual, whether or not they name a span."""
    window = found.window
    logs = window.telemetry.logs
    rows = np.flatnonzero((window.log_place == place) & (logs.severity >= SEVERITY_WARN))
    if not len(rows):
        return []
    service = window.service_hash[place]
    template, first, count = np.unique(window.log_template[rows], return_index=True, return_counts=True)
    before = np.zeros(len(template))
    for segment in found.traced:
        before += segment.lines_of(service, template)
    seconds_b = sum(s.end_ns - s.start_ns for s in found.traced) / NS
    seconds_w = (window.telemetry.end_ns - window.telemetry.start_ns) / NS
    usual = before * seconds_w / max(seconds_b, 1.0)
    surged = (count >= SURGE_LINES) & (count > SURGE_RATIO * usual)
    evidence = []
    for i in np.flatnonzero(surged)[np.argsort(-count[surged])]:
        row = int(rows[first[i]])
        text = (
            f'{window.places.label(place)} logged "{logs.templates[logs.template[row]][:160]}" {count[i]} times, '
            f"usually {usual[i]:.1f} in as long"
        )
        refs = (f"log:{int(logs.ref[row])}",) if logs.ref[row] >= 0 else ()
        evidence.append(Evidence(text, "logs", refs))
    return evidence


def _traffic(found: Findings, place: int) -> list[Evidence]:
    service = found.window.service_hash[place : place + 1]
    trees = found.window.trees
    seconds_w = (found.window.telemetry.end_ns - found.window.telemetry.start_ns) / NS
    now = int((trees.service == service[0]).sum()) / seconds_w
    before = [
        int(s.spans_of_service.look_up(service)[0]) / ((s.end_ns - s.start_ns) / NS) for s in found.traced
    ]
    usual = float(np.median(before)) if before else 0.0
    if usual <= 0 or now < TRAFFIC_RATIO * usual:
        return []
    name = found.window.places.services[place]
    text = (
        f"{name} does {now / usual:.1f} times its usual work ({now:.1f} spans a second, usually {usual:.1f})"
    )
    return [Evidence(text, "traces", (f"red:{name}/@{range_of(found)}",))]


def _odd(found: Findings, place: int) -> Evidence:
    """Where no clue stands out: the traces in which the place took longest itself."""
    trees = found.window.trees
    rows = np.flatnonzero(trees.place == place)
    rows = rows[np.argsort(-trees.self_ns[rows], kind="stable")]
    return Evidence("odd, for no single reason", "traces", trace_references(found, rows))


def _change(change: ChangeEvent) -> Evidence:
    return Evidence(change.text, "changes", (f"change:{change.source.service}@{change.time_ns // NS}",))


def _statement(kind: CauseKind, evidence: Sequence[Evidence], changes: Sequence[ChangeEvent]) -> str:
    said = evidence[0].statement
    told = [c.text for c in changes if c.kind == ("version" if kind is CauseKind.BAD_DEPLOY else "restart")]
    if kind in (CauseKind.BAD_DEPLOY, CauseKind.RESTARTS, CauseKind.MEMORY) and told and told[-1] != said:
        return f"{said}, after: {told[-1]}"
    return said
