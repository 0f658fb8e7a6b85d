"""What the correlator knows of one tenant, free of Ray: the graph, what is normal, the incidents.

Event time is cut into slices on a fixed grid; a slice is taken in once it is closed, each once and in order,
so a restart goes on where it stopped and a replay learns the same at any speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from agent.correlation.incidents import Incident, IncidentBook, IncidentChange, IncidentSettings
from agent.correlation.topology import Topology
from agent.detection.anomaly import AnomalyEvent
from agent.detection.red import NO_BINS, RedBins
from agent.rootcause.answer import Answer
from agent.rootcause.baseline import Baseline
from agent.rootcause.engine import analyse
from agent.rootcause.question import parse
from agent.rootcause.settings import RootCauseSettings
from agent.settings import Settings
from agent.telemetry.frames import Telemetry

NS = 1_000_000_000
SLICE_S = 20.0
MAX_TAKE_S = 300.0
# While an incident is this young, a question is about the time since shortly before its onset; an older one has
# been wrong all along, and the last two minutes tell as much.
BEFORE_ONSET_S = 30.0
NEW_NORMAL_S = 900.0
MIN_WINDOW_S, MAX_WINDOW_S = 60.0, 300.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """``start_ns`` inclusive, ``end_ns`` exclusive."""

    start_ns: int
    end_ns: int


class TenantView:
    def __init__(self, tenant: str, settings: Settings) -> None:
        self.tenant = tenant
        self._settings = RootCauseSettings(**asdict(settings.rootcause))
        self._lateness_ns = int(settings.streams.lateness_s * NS)
        self._window_ns = int(settings.streams.window_s * NS)
        self.baseline = Baseline(self._settings)
        self.topology = Topology()
        # A detector ends what lasts for ``adapt_after_s``, so it has lost what it says nothing of for twice that.
        silent_s = 2 * settings.detection.adapt_after_s
        self.book = IncidentBook(IncidentSettings(**asdict(settings.incidents), silent_s=silent_s))
        self.cursor_ns = 0
        self.mark_ns = 0

    def come_to(self, mark_ns: int) -> None:
        """Event time has come that far at least; incidents resolve by it."""
        self.mark_ns = max(self.mark_ns, mark_ns)

    def due(self, mark_ns: int) -> Stretch | None:
        """The next stretch of closed slices to take in, when event time has come to ``mark_ns``; at most
        five minutes at once. None: nothing is closed yet."""
        self.come_to(mark_ns)
        grid = int(SLICE_S * NS)
        closed = (self.mark_ns - self._lateness_ns) // grid * grid
        start = max(self.cursor_ns, (self.mark_ns - self._window_ns) // grid * grid)
        end = min(closed, start + int(MAX_TAKE_S * NS))
        return Stretch(start, end) if end > start else None

    def take(self, stretch: Stretch, telemetry: Telemetry | None, mesh: RedBins = NO_BINS) -> None:
        """Learn a stretch that ``due`` named; None where no stream holds anything of it. ``mesh`` is what proxies
        told of services, each row once."""
        self.cursor_ns = stretch.end_ns
        self.topology.observe_mesh(mesh)
        if telemetry is not None:
            self.topology.observe(telemetry.spans)
            self.baseline.learn(telemetry)
            for incident in self.open_incidents():
                self._exclude(incident, stretch.end_ns)

    def report(self, events: Sequence[AnomalyEvent]) -> list[IncidentChange]:
        """Group anomalies into incidents; what lies in an incident is not normal time."""
        changes = self.book.observe(events, self.topology, self.mark_ns)
        for change in changes:
            self._exclude(change.incident, self.mark_ns)
        return changes

    def _exclude(self, incident: Incident, until_ns: int) -> None:
        """An incident is not normal time; what lasts longer than ``NEW_NORMAL_S`` is how things are now."""
        end_ns = min(incident.resolved_ns or until_ns, incident.onset_ns + int(NEW_NORMAL_S * NS))
        self.baseline.exclude(incident.onset_ns - int(BEFORE_ONSET_S * NS), end_ns)

    def open_incidents(self) -> list[Incident]:
        return [incident for incident in self.book.incidents() if incident.open]

    def stretch_of(self, at_ns: int) -> Stretch:
        """What a question asked at ``at_ns`` is about."""
        recent = [i.onset_ns for i in self.open_incidents() if 0 < at_ns - i.onset_ns < MAX_WINDOW_S * NS]
        if not recent:
            return Stretch(at_ns - int(self._settings.window_s * NS), at_ns)
        start = min(recent) - int(BEFORE_ONSET_S * NS)
        return Stretch(min(start, at_ns - int(MIN_WINDOW_S * NS)), at_ns)

    def answer(self, question: str, service: str | None, telemetry: Telemetry) -> Answer:
        """Why, for the stretch that ``telemetry`` holds. With a cause, the time since its onset is not normal."""
        scope = parse(question, _services(telemetry), self.tenant)
        if service:
            scope = replace(scope, service=service)
        answer = analyse(scope, telemetry, self.baseline, self._settings)
        if answer.causes:
            self.baseline.exclude(round(answer.start_s * NS), telemetry.end_ns)
        return answer


def _services(telemetry: Telemetry) -> set[str]:
    sources = (
        *telemetry.spans.sources,
        *telemetry.logs.sources,
        *(s.source for s in telemetry.metrics.series),
    )
    return {source.service for source in sources}
