"""From a window and a baseline to a score for each place: the signals, and their fusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.rootcause.baseline import NS, Baseline, History
from agent.rootcause.digest import Segment, Stretch, prepare
from agent.rootcause.fusion import Signal, fuse, sureness
from agent.rootcause.hashing import hash_text
from agent.rootcause.latency import Latency, latency
from agent.rootcause.metrics import Samples, samples_of
from agent.rootcause.resources import Mesh, Past, Resources, mesh, resources
from agent.rootcause.structure import Structure, structure
from agent.telemetry.frames import F64, ChangeEvent, Telemetry

# Weight and half-confidence of each signal, as in docs/root-cause.md.
STRUCTURE, LATENCY, RESOURCES, MESH = "structure", "latency", "resources", "mesh"
WEIGHTS = {STRUCTURE: (1.0, 3.0), LATENCY: (1.0, 0.03), RESOURCES: (0.7, 6.0), MESH: (0.7, 6.0)}
HOUR_NS = 3600 * NS
# What was changed up to this long before the window is the likelier culprit, if it is odd at all.
RECENT_NS = 600 * NS
CHANGED = 1.5
WENT_WELL = 2  # normal segments after a change that acquit it


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was found; ``score`` by place of ``window.places``."""

    window: Stretch
    traced: tuple[Segment, ...]
    past: tuple[Segment, ...]
    samples: Samples
    structure: Structure
    latency: Latency
    resources: Resources
    mesh: Mesh
    signals: tuple[Signal, ...]
    score: F64
    changes: tuple[ChangeEvent, ...]

    def changes_of(self, place: int) -> list[ChangeEvent]:
        """Fresh changes of the place's service, in order of time."""
        service = self.window.places.services[place]
        return [c for c in self.changes if c.source.service == service]

    def operation(self, span: int) -> str:
        """The name of the span in a row of the window's trees."""
        names: tuple[str, ...] = self.window.telemetry.spans.names
        return names[int(self.window.trees.name[span])]

    @property
    def confidence(self) -> float:
        """How sure it is that the first place is odd, 0 to 1."""
        return sureness(self.signals, int(np.argmax(self.score))) if len(self.score) else 0.0


def find(telemetry: Telemetry, baseline: Baseline, history: History) -> Findings:
    """What ``telemetry`` shows, held against ``history``, which ``baseline`` gave."""
    settings = baseline.settings
    window = prepare(
        telemetry, baseline.templates.ids(telemetry.logs.templates, learn=False), baseline.callees
    )
    traced = [s for s in history.normal if len(s.places)][-settings.use_segments :]
    suspect = (
        [s for s in history.suspect if len(s.places)][-settings.use_segments :] if history.scarce else []
    )
    if not traced:
        traced, suspect = suspect, []
    since = telemetry.start_ns - HOUR_NS
    past = history.recent(since, HOUR_NS // 4)
    samples = samples_of(telemetry.metrics)
    n = len(window.places)
    index = {
        key: i for i, key in enumerate(zip(window.places.services, window.places.instances, strict=True))
    }
    by_instance = {instance: i for (service, instance), i in index.items() if instance}
    place_of = {}
    for i, series in enumerate(samples.series):
        source = series.source
        place_of[i] = by_instance.get(source.instance, index[source.service, source.instance])
    of_service: dict[str, list[int]] = {}
    for place, service in enumerate(window.places.services):
        of_service.setdefault(service, []).append(place)
    s = structure(window, traced, suspect, int(settings.block_s * NS))
    lat = latency(window, traced, suspect)
    res = resources(samples, place_of, n, telemetry.start_ns, telemetry.end_ns, Past(past, since))
    net = mesh(samples, of_service, n, telemetry.start_ns, telemetry.end_ns, past, since)
    values = {STRUCTURE: s.blame, LATENCY: lat.blame, RESOURCES: res.blame, MESH: net.blame}
    # Without traces to contradict them, metrics speak with full weight.
    scale = 1.0 if len(window.trees) else 1.0 / max(WEIGHTS[RESOURCES][0], WEIGHTS[MESH][0])
    signals = [
        Signal(name, WEIGHTS[name][0] * scale, WEIGHTS[name][1], np.maximum(value, 0.0))
        for name, value in values.items()
    ]
    changes = {c for c in (*baseline.changes, *telemetry.changes) if _is_fresh(c, telemetry, history.normal)}
    changed = {c.source.service for c in changes}
    boost = np.array([CHANGED if service in changed else 1.0 for service in window.places.services])
    return Findings(
        window=window,
        traced=tuple(traced),
        past=tuple(past),
        samples=samples,
        structure=s,
        latency=lat,
        resources=res,
        mesh=net,
        signals=tuple(signals),
        score=fuse(signals) * boost,
        changes=tuple(sorted(changes, key=lambda c: c.time_ns)),
    )


def _is_fresh(change: ChangeEvent, telemetry: Telemetry, normal: Sequence[Segment]) -> bool:
    """Whether the change came shortly before or in the window, and nothing went well since."""
    if not telemetry.start_ns - RECENT_NS <= change.time_ns < telemetry.end_ns:
        return False
    service = np.array([hash_text(change.source.service)], np.uint64)
    well = [s for s in normal if s.start_ns > change.time_ns and s.spans_of_service.look_up(service)[0]]
    return len(well) < WENT_WELL
