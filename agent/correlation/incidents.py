"""Incidents: anomalies that are close in time and connected in the topology are one trouble.

*Opening.* Each anomaly is a witness with a weight (see ``weight``); a group of witnesses opens an incident
when their weights reach 1. Requests that the service answered can do that alone, everything else needs
company. *Growing.* A new anomaly joins the open incident it is connected to. *Resolving.* When all its
anomalies have ended, after a quiet time. *Flapping.* What comes back soon after on the same services opens
the same incident again, and each time the quiet time doubles.

*Silence.* An anomaly of which nothing is heard for so long that its detector must have lost it is over.

All times are event time and every id follows from what was seen, so a replay or a restart names the same
incident again, and what is told again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby
from uuid import UUID, uuid5

import msgspec

from agent.correlation.topology import Topology
from agent.detection.anomaly import Anomaly, AnomalyEvent, EventKind, ServiceKey, Side, Signal
from agent.errors import Malformed

_FORMAT = 1
_NAMESPACE = UUID("0c4f3d52-5b1c-5c57-8a53-5a4be2f6a3d1")


class Severity(StrEnum):
    WARNING = "warning"
    CRITICAL = "critical"


class ChangeKind(StrEnum):
    OPENED = "opened"
    UPDATED = "updated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Incident:
    """``services`` begins with the one that the title names: the deepest of those concerned, where the
    trouble most likely comes from. ``anomalies`` are in order of onset, ended ones included. ``resolved_ns``
    is None while it is open; ``reopened`` counts how often it came back."""

    id: str
    tenant: str
    title: str
    severity: Severity
    onset_ns: int
    opened_ns: int
    updated_ns: int
    resolved_ns: int | None
    services: tuple[str, ...]
    anomalies: tuple[Anomaly, ...]
    reopened: int = 0

    @property
    def open(self) -> bool:
        return self.resolved_ns is None


@dataclass(frozen=True, slots=True)
class IncidentChange:
    kind: ChangeKind
    incident: Incident


@dataclass(frozen=True, slots=True)
class IncidentSettings:
    """``together_s``: how far apart the onsets of one trouble lie, at most. ``within_hops``: likewise in the
    topology. ``quiet_s``: calm after which an incident is resolved; doubles with each reopening up to
    ``max_quiet_s``. ``reopen_s``: how long after that the same trouble opens it again. ``critical_slowdown``
    and ``critical_error_ratio``: what makes trouble at the users' door critical. ``silent_s``: an
    anomaly of which nothing is heard for longer is over; a detector holds none that long without a word.
    ``keep``: resolved incidents remembered; ``max_anomalies``: kept in one incident."""

    together_s: float = 120.0
    within_hops: int = 2
    quiet_s: float = 30.0
    max_quiet_s: float = 300.0
    reopen_s: float = 300.0
    critical_slowdown: float = 3.0
    critical_error_ratio: float = 0.05
    silent_s: float = 1800.0
    keep: int = 200
    max_anomalies: int = 200


def weight(anomaly: Anomaly) -> float:
    """What an anomaly counts as a witness. The users' side speaks for itself, as do memory that grows
    without a stop and a service that nobody reaches any more; calls need twice the
    evidence, because the callee is the better witness where there is one; CPU, restarts and surges of traffic
    only support others."""
    if anomaly.side is Side.CALLS:
        return min(anomaly.score / 2, 1.0)
    if anomaly.signal is Signal.TRAFFIC and anomaly.observed > anomaly.expected:
        return 0.2
    if anomaly.signal in (Signal.CPU, Signal.RESTARTS):
        return min(anomaly.score, 0.5)
    return min(anomaly.score, 1.0)


@dataclass(slots=True)
class _Case:
    """An incident and its state: ``anomalies`` by id and the time of the last event of each, ``calm_ns``
    since when all of them have ended."""

    incident: Incident
    anomalies: dict[str, Anomaly] = field(default_factory=dict)
    heard_ns: dict[str, int] = field(default_factory=dict)
    calm_ns: int | None = None

    def knows(self, event: AnomalyEvent) -> bool:
        """Whether the event is old news, told again after a restart of who tells or of who listens."""
        ends = event.kind is EventKind.ENDED and self.anomalies[event.anomaly.id].active
        return event.time_ns <= self.heard_ns[event.anomaly.id] and not ends


class _State(msgspec.Struct):
    format: int
    waiting: dict[str, Anomaly]
    cases: dict[str, _Case]


class IncidentBook:
    def __init__(self, settings: IncidentSettings | None = None) -> None:
        self.settings = settings or IncidentSettings()
        self._waiting: dict[str, Anomaly] = {}
        self._cases: dict[str, _Case] = {}
        self._case_of: dict[str, str] = {}

    def incidents(self) -> tuple[Incident, ...]:
        """The open ones first, then the resolved, each newest first."""
        every = [case.incident for case in self._cases.values()]
        return tuple(sorted(every, key=lambda i: (not i.open, -i.onset_ns, i.id)))

    def observe(
        self, events: Sequence[AnomalyEvent], topology: Topology, now_ns: int
    ) -> list[IncidentChange]:
        """Takes in what the detectors reported up to event time ``now_ns``. Events may come in one call or
        in many; they are taken in the order of their time."""
        changes: list[IncidentChange] = []
        for at_ns, together in groupby(sorted(events, key=_order), key=lambda event: event.time_ns):
            changes.extend(self._resolve(topology, at_ns))
            changes.extend(self._take(list(together), topology, at_ns))
        changes.extend(self._end_silent(topology, now_ns))
        changes.extend(self._resolve(topology, now_ns))
        self._prune(now_ns)
        return changes

    def to_bytes(self) -> bytes:
        """All of it, to be read by ``from_bytes``."""
        return msgspec.msgpack.encode(_State(_FORMAT, self._waiting, self._cases))

    @classmethod
    def from_bytes(cls, data: bytes, settings: IncidentSettings | None = None) -> IncidentBook:
        try:
            state = msgspec.msgpack.decode(data, type=_State)
        except msgspec.DecodeError as error:
            raise Malformed(
                "incidents_bytes", f"not a saved book of incidents: {error}; start with an empty one"
            ) from error
        if state.format != _FORMAT:
            raise Malformed("incidents_format", f"incidents of format {state.format}, expected {_FORMAT}")
        book = cls(settings)
        book._waiting, book._cases = state.waiting, state.cases
        book._case_of = {id_: case.incident.id for case in state.cases.values() for id_ in case.anomalies}
        return book

    def _take(self, events: Sequence[AnomalyEvent], topology: Topology, at_ns: int) -> list[IncidentChange]:
        """The events of one moment; each incident changes at most once by them."""
        touched: dict[str, ChangeKind] = {}
        for event in events:
            anomaly = event.anomaly
            if anomaly.id in self._case_of:
                case = self._cases[self._case_of[anomaly.id]]
                if not case.knows(event):
                    self._put(case, anomaly, at_ns, touched)
            elif event.kind is EventKind.ENDED:
                self._waiting.pop(anomaly.id, None)
            else:
                self._waiting[anomaly.id] = anomaly
        for event in events:
            if event.anomaly.id in self._waiting:
                home = self._home(event.anomaly, topology, at_ns)
                if home is not None:
                    self._put(home, self._waiting.pop(event.anomaly.id), at_ns, touched)
                else:
                    self._open(event.anomaly, at_ns, topology, touched)
        for event in events:
            self._heard(event)
        return self._changed(touched, topology, at_ns)

    def _heard(self, event: AnomalyEvent) -> None:
        id_ = event.anomaly.id
        if id_ in self._case_of:
            heard_ns = self._cases[self._case_of[id_]].heard_ns
            heard_ns[id_] = max(heard_ns[id_], event.time_ns)

    def _changed(
        self, touched: dict[str, ChangeKind], topology: Topology, at_ns: int
    ) -> list[IncidentChange]:
        changes = []
        for id_, kind in touched.items():
            case = self._cases[id_]
            case.incident = self._rendered(case, topology, at_ns)
            changes.append(IncidentChange(kind, case.incident))
        return changes

    def _home(self, anomaly: Anomaly, topology: Topology, at_ns: int) -> _Case | None:
        """The open incident that the anomaly belongs to, or a resolved one that it brings back."""
        fitting = [
            case
            for case in self._cases.values()
            if case.incident.tenant == anomaly.tenant
            and (
                self._joins(case, anomaly, topology)
                if case.incident.open
                else self._revives(case, anomaly, at_ns)
            )
        ]
        return min(
            fitting, key=lambda c: (not c.incident.open, c.incident.onset_ns, c.incident.id), default=None
        )

    def _joins(self, case: _Case, anomaly: Anomaly, topology: Topology) -> bool:
        return any(
            self._together(other, anomaly, topology, open_case=True) for other in case.anomalies.values()
        )

    def _revives(self, case: _Case, anomaly: Anomaly, at_ns: int) -> bool:
        """Whether the same thing is wrong again at the incident's deepest service. Its callers suffer from
        whatever is wrong below them, so what shows there again may well have another cause."""
        recent = at_ns - (case.incident.resolved_ns or 0) <= self.settings.reopen_s * 1e9
        deepest = case.incident.services[:1] == (anomaly.service,)
        again = any(_what(other) == _what(anomaly) for other in case.anomalies.values())
        return recent and deepest and again and weight(anomaly) >= 0.5

    def _together(self, a: Anomaly, b: Anomaly, topology: Topology, *, open_case: bool = False) -> bool:
        near = abs(a.onset_ns - b.onset_ns) <= self.settings.together_s * 1e9
        lasting = open_case and a.active
        return (near or lasting) and (
            a.where == b.where or topology.connected(a.where, b.where, self.settings.within_hops)
        )

    def _open(self, anomaly: Anomaly, at_ns: int, topology: Topology, touched: dict[str, ChangeKind]) -> None:
        group = self._group(anomaly, topology)
        if sum(weight(a) for a in group) < 1.0:
            return
        first = min(group, key=lambda a: (a.onset_ns, a.where, a.id))
        incident = Incident(
            id=str(uuid5(_NAMESPACE, "\x1f".join((first.tenant, str(first.onset_ns), *first.where, first.id)))),
            tenant=anomaly.tenant, title="", severity=Severity.WARNING, onset_ns=first.onset_ns, opened_ns=at_ns,
            updated_ns=at_ns, resolved_ns=None, services=(), anomalies=(),
        )  # fmt: skip
        case = self._cases[incident.id] = _Case(incident)
        for a in group:
            self._put(case, self._waiting.pop(a.id), at_ns, touched)
        touched[incident.id] = ChangeKind.OPENED

    def _group(self, anomaly: Anomaly, topology: Topology) -> list[Anomaly]:
        """All waiting anomalies that hang together with this one, through each other."""
        group, edge = {anomaly.id: anomaly}, [anomaly]
        while edge:
            at = edge.pop()
            for other in self._waiting.values():
                if (
                    other.id not in group
                    and other.tenant == at.tenant
                    and self._together(at, other, topology)
                ):
                    group[other.id] = other
                    edge.append(other)
        return sorted(group.values(), key=lambda a: (a.onset_ns, a.where, a.id))

    def _put(self, case: _Case, anomaly: Anomaly, at_ns: int, touched: dict[str, ChangeKind]) -> None:
        incident = case.incident
        if anomaly.id not in case.anomalies and len(case.anomalies) >= self.settings.max_anomalies:
            self._drop_oldest(case)
        case.anomalies[anomaly.id] = anomaly
        case.heard_ns.setdefault(anomaly.id, anomaly.detected_ns)
        self._case_of[anomaly.id] = incident.id
        touched.setdefault(incident.id, ChangeKind.UPDATED)
        if not incident.open and anomaly.active:
            case.incident = replace(incident, resolved_ns=None, reopened=incident.reopened + 1)
            touched[incident.id] = ChangeKind.OPENED
        calm = not any(a.active for a in case.anomalies.values())
        # Calm counts from when it was noticed: the first normal bin lies before the last doubt.
        case.calm_ns = (case.calm_ns or at_ns) if calm else None

    def _drop_oldest(self, case: _Case) -> None:
        gone = min(case.anomalies.values(), key=lambda a: (a.active, a.onset_ns, a.id))
        del case.anomalies[gone.id], case.heard_ns[gone.id], self._case_of[gone.id]

    def _end_silent(self, topology: Topology, now_ns: int) -> list[IncidentChange]:
        """Ends, at the time of the last word of each, the anomalies that nobody speaks of any more."""
        since_ns = now_ns - round(self.settings.silent_s * 1e9)
        touched: dict[str, ChangeKind] = {}
        for case in self._cases.values():
            lost = [a for a in case.anomalies.values() if a.active and case.heard_ns[a.id] < since_ns]
            for a in lost:
                self._put(case, replace(a, ended_ns=case.heard_ns[a.id]), now_ns, touched)
        return self._changed(touched, topology, now_ns)

    def _resolve(self, topology: Topology, now_ns: int) -> list[IncidentChange]:
        changes = []
        for case in sorted(self._cases.values(), key=lambda c: c.incident.id):
            s = self.settings
            quiet_ns = round(min(s.quiet_s * 2**case.incident.reopened, s.max_quiet_s) * 1e9)
            if case.incident.open and case.calm_ns is not None and now_ns - case.calm_ns >= quiet_ns:
                resolved_ns = case.calm_ns + quiet_ns
                case.incident = replace(self._rendered(case, topology, resolved_ns), resolved_ns=resolved_ns)
                changes.append(IncidentChange(ChangeKind.RESOLVED, case.incident))
        return changes

    def _prune(self, now_ns: int) -> None:
        old_ns = now_ns - round((self.settings.together_s + 900) * 1e9)
        self._waiting = {id_: a for id_, a in self._waiting.items() if a.detected_ns >= old_ns}
        resolved = sorted(
            (c for c in self._cases.values() if not c.incident.open),
            key=lambda c: c.incident.resolved_ns or 0,
        )
        for case in resolved[: max(0, len(resolved) - self.settings.keep)]:
            del self._cases[case.incident.id]
            for id_ in case.anomalies:
                self._case_of.pop(id_, None)

    def _rendered(self, case: _Case, topology: Topology, at_ns: int) -> Incident:
        anomalies = tuple(sorted(case.anomalies.values(), key=lambda a: (a.onset_ns, a.where, a.id)))
        order = _by_depth(anomalies, topology)
        return replace(
            case.incident,
            title=_title(anomalies, order),
            severity=max(
                case.incident.severity, self._severity(anomalies, topology), key=list(Severity).index
            ),
            updated_ns=at_ns,
            services=tuple(where.service for where in order),
            anomalies=anomalies,
        )

    def _severity(self, anomalies: Sequence[Anomaly], topology: Topology) -> Severity:
        s = self.settings
        for a in anomalies:
            if a.side is not Side.SERVED or topology.callers(a.where):
                continue
            slow = a.signal is Signal.LATENCY and a.observed >= s.critical_slowdown * a.expected
            failing = a.signal is Signal.ERRORS and a.observed >= s.critical_error_ratio
            gone = a.signal is Signal.TRAFFIC and a.observed < a.expected
            if slow or failing or gone:
                return Severity.CRITICAL
        return Severity.WARNING


def _order(event: AnomalyEvent) -> tuple[int, int, str]:
    return event.time_ns, event.anomaly.onset_ns, event.anomaly.id


def _what(anomaly: Anomaly) -> tuple[object, ...]:
    return anomaly.where, anomaly.operation, anomaly.signal, anomaly.side


def _by_depth(anomalies: Sequence[Anomaly], topology: Topology) -> list[ServiceKey]:
    """The services concerned: first those that call no other of them, the strongest of these in front."""
    strength: dict[ServiceKey, float] = {}
    for a in anomalies:
        own = a.score if a.side is not Side.CALLS else a.score / 2
        strength[a.where] = max(strength.get(a.where, 0.0), own)
    return sorted(
        strength,
        key=lambda where: (
            len(strength.keys() & set(topology.callees(where)) - {where}),
            -strength[where],
            where,
        ),
    )


_WORDS = {
    Signal.ERRORS: "Errors", Signal.LATENCY: "Latency up", Signal.MEMORY: "Memory growing",
    Signal.RESTARTS: "Restarts", Signal.CPU: "CPU up",
}  # fmt: skip


def _title(anomalies: Sequence[Anomaly], order: Sequence[ServiceKey]) -> str:
    first = order[0]
    own = max((a for a in anomalies if a.where == first), key=lambda a: (weight(a), a.id))
    word = _WORDS.get(own.signal) or ("Traffic gone" if own.observed < own.expected else "Traffic up")
    rest = [where.service for where in order[1:]]
    more = (
        ""
        if not rest
        else f" and {len(rest)} more service{'s' * (len(rest) > 1)} ({', '.join(rest[:5])}{', …' * (len(rest) > 5)})"
    )
    return f"{word} in {first.service}{more}"
