"""The life of an anomaly: it starts with a confirmed finding, is updated, and ends.

One anomaly a service, side and signal, however many operations and tests show it; it names the operation
that most of the excess comes from. It ends after ``end_after_s`` without an odd bin (and at least three bins
with requests), or when it has lasted so long that its level is the new normal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from agent.detection.anomaly import (
    Anomaly,
    AnomalyEvent,
    EventKind,
    ServiceKey,
    Side,
    Signal,
    anomaly_id,
    errors_sentence,
    latency_sentence,
    traffic_sentence,
)
from agent.detection.detectors.errors import ErrorDetector
from agent.detection.detectors.latency import LatencyDetector
from agent.detection.detectors.resources import ResourceScore
from agent.detection.detectors.traffic import TrafficScores
from agent.detection.evidence import change_point
from agent.detection.histogram import quantile_of
from agent.detection.units import BinBlock, UnitTable
from agent.telemetry.frames import I64, Bool

_MEDIAN, _TAIL, _FAR, _ERRORS = range(4)
_ONSET_BINS = 48
SILENT_NS = 300 * 10**9
_BRIEF_NS = 120 * 10**9
_RESOURCE_QUIET_NS = 60 * 10**9

Slot = tuple[ServiceKey, Side, Signal]


@dataclass(frozen=True, slots=True)
class Finding:
    """Confirmed evidence. ``service`` and ``unit`` are rows, -1 for resources; ``test`` is -1 where the
    signal has no tests; ``width`` is how many bins the evidence was gathered over."""

    service: int
    unit: int
    signal: Signal
    test: int
    score: float
    width: int
    resource: ResourceScore | None = None


class Evidence(Protocol):
    rings: npt.NDArray[np.float32]  # [n, k, mu; unit; test; bin]
    starts_ns: I64  # of the bins of the rings
    slot: int  # the newest bin
    latency: LatencyDetector
    errors: ErrorDetector
    before: list[BinBlock]


@dataclass(frozen=True, slots=True)
class ReportSettings:
    end_after_s: float
    adapt_after_s: float
    alone_nats: float


@dataclass(slots=True)
class _Active:
    anomaly: Anomaly
    finding: Finding
    last_odd_ns: int
    last_data_ns: int
    reported_score: float
    normal_bins: int = 0
    normal_since_ns: int = 0


class Reports:
    def __init__(self, units: UnitTable, settings: ReportSettings) -> None:
        self.units, self.settings = units, settings
        self._active: dict[Slot, _Active] = {}
        self._ended: dict[str, Finding] = {}

    @property
    def held(self) -> set[int]:
        """Rows of the services that are not to be learnt from now."""
        return {
            a.finding.service
            for a in self._active.values()
            if a.finding.signal in (Signal.LATENCY, Signal.ERRORS)
        }

    def update(
        self,
        block: BinBlock,
        end_ns: int,
        findings: Iterable[Finding],
        odd: Bool,
        traffic: TrafficScores,
        evidence: Evidence,
    ) -> tuple[list[AnomalyEvent], list[int]]:
        """The events of one bin, and the rows that shall start learning anew."""
        best: dict[Slot, Finding] = {}
        for finding in findings:
            slot = self._slot(finding)
            if slot not in best or finding.score > best[slot].score:
                best[slot] = finding
        self._ended = {}
        events = self._cut_off(block.start_ns)
        for slot in sorted(best):
            events.extend(self._confirm(slot, best[slot], block, end_ns, traffic, evidence))
        reset: list[int] = []
        for slot in sorted(self._active):
            events.extend(self._end(slot, slot in best, block, end_ns, odd, traffic, reset))
        return events, reset

    def brief(self, events: Sequence[AnomalyEvent]) -> list[tuple[int, int]]:
        """``(unit, test)`` of the anomalies that ended now after a short life."""
        return [
            (self._ended[e.anomaly.id].unit, self._ended[e.anomaly.id].test)
            for e in events
            if e.kind is EventKind.ENDED
            and e.anomaly.id in self._ended
            and self._ended[e.anomaly.id].test >= 0
            and (e.anomaly.ended_ns or 0) - e.anomaly.onset_ns < _BRIEF_NS
        ]

    def _cut_off(self, now_ns: int) -> list[AnomalyEvent]:
        """Nobody knows how an anomaly went on that was last seen before a gap in the telemetry."""
        events = []
        for slot in sorted(s for s, a in self._active.items() if now_ns - a.last_data_ns > SILENT_NS):
            gone = self._active.pop(slot)
            ended = replace(gone.anomaly, ended_ns=gone.last_data_ns)
            events.append(AnomalyEvent(EventKind.ENDED, ended, gone.last_data_ns + SILENT_NS))
        return events

    def _slot(self, finding: Finding) -> Slot:
        if finding.resource is not None:
            source = finding.resource.source
            return ServiceKey(source.tenant, source.namespace, source.service), Side.RESOURCE, finding.signal
        unit = self.units.unit(finding.service)
        return unit.where, unit.side, finding.signal

    def _confirm(
        self,
        slot: Slot,
        finding: Finding,
        block: BinBlock,
        end_ns: int,
        traffic: TrafficScores,
        evidence: Evidence,
    ) -> list[AnomalyEvent]:
        active = self._active.get(slot)
        if active is not None:
            active.last_odd_ns = end_ns
            if finding.score < 1.25 * active.reported_score:
                return []
        fresh = self._describe(slot, finding, block, end_ns, traffic, evidence)
        if active is None:
            self._active[slot] = _Active(fresh, finding, end_ns, end_ns, finding.score)
            return [AnomalyEvent(EventKind.STARTED, fresh, end_ns)]
        old = active.anomaly
        active.anomaly = replace(fresh, id=old.id, onset_ns=old.onset_ns, detected_ns=old.detected_ns)
        active.reported_score, active.finding = finding.score, finding
        return [AnomalyEvent(EventKind.UPDATED, active.anomaly, end_ns)]

    def _end(
        self,
        slot: Slot,
        confirmed: bool,
        block: BinBlock,
        end_ns: int,
        odd: Bool,
        traffic: TrafficScores,
        reset: list[int],
    ) -> list[AnomalyEvent]:
        active = self._active[slot]
        self._count_normal(active, confirmed, block, end_ns, odd, traffic)
        long_ns = round(self.settings.adapt_after_s * 1e9)
        calm = active.normal_bins >= 3 and end_ns - active.normal_since_ns >= round(
            self.settings.end_after_s * 1e9
        )
        if calm:
            ended_ns = active.normal_since_ns
        elif end_ns - active.last_data_ns > SILENT_NS:
            ended_ns = active.last_data_ns
        elif end_ns - active.anomaly.detected_ns > long_ns:
            ended_ns = end_ns
            if active.finding.test >= 0:
                reset.extend([active.finding.service, *self.units.children(active.finding.service).tolist()])
        else:
            return []
        del self._active[slot]
        self._ended[active.anomaly.id] = active.finding
        return [AnomalyEvent(EventKind.ENDED, replace(active.anomaly, ended_ns=ended_ns), end_ns)]

    def _count_normal(
        self,
        active: _Active,
        confirmed: bool,
        block: BinBlock,
        end_ns: int,
        odd: Bool,
        traffic: TrafficScores,
    ) -> None:
        f = active.finding
        if f.resource is not None:
            active.last_data_ns = end_ns
            present, bad = True, end_ns - active.last_odd_ns < _RESOURCE_QUIET_NS
        elif f.signal is Signal.TRAFFIC:
            present = bool(np.isfinite(traffic.observed[f.unit]))
            low = active.anomaly.observed < active.anomaly.expected
            level = active.anomaly.expected * (end_ns - block.start_ns) / 1e9
            bad = present and (traffic.observed[f.unit] < 0.5 * level if low else confirmed)
        else:
            present = bool(np.isin((f.unit, f.service), block.rows).any())
            tests = [_ERRORS] if f.test == _ERRORS else [_MEDIAN, _TAIL, _FAR]
            bad = bool(odd[f.unit, tests].any() or odd[f.service, tests].any())
        if present:
            active.last_data_ns = end_ns
        if bad:
            active.normal_bins = 0
        elif present:
            if active.normal_bins == 0:
                active.normal_since_ns = block.start_ns
            active.normal_bins += 1

    def _describe(
        self,
        slot: Slot,
        finding: Finding,
        block: BinBlock,
        end_ns: int,
        traffic: TrafficScores,
        evidence: Evidence,
    ) -> Anomaly:
        where, side, signal = slot
        bin_ns = end_ns - block.start_ns
        operation = ""
        if finding.resource is not None:
            hit = finding.resource
            onset_ns, observed, expected, unit = hit.onset_ns, hit.observed, hit.expected, hit.metric
            sentence = _resource_sentence(where.service, signal, hit)
        elif signal is Signal.TRAFFIC:
            observed = float(traffic.observed[finding.unit]) / (bin_ns / 1e9)
            expected = float(traffic.expected[finding.unit]) / (bin_ns / 1e9)
            onset_ns, unit = end_ns - finding.width * bin_ns, "1/s"
            sentence = traffic_sentence(where.service, observed, expected)
        else:
            worst, name = self._worst(finding, evidence)
            operation = name if worst != finding.unit or self.units.unit(worst).operation else ""
            onset_ns = self._onset(finding, evidence, block.start_ns, bin_ns)
            blocks = [*evidence.before, block]
            if signal is Signal.LATENCY:
                q = 0.5 if finding.test == _MEDIAN else 0.9
                observed = _pooled_quantile(blocks, worst, q) / 1e9
                expected, unit = evidence.latency.expected_ns(worst, q) / 1e9, "s"
                # A slow request is seen when it ends: the first of them began what nearly all of them take earlier.
                least = _pooled_quantile(blocks, worst, 0.1)
                onset_ns -= int(min(least, 30e9)) if least > 0 else 0
                sentence = latency_sentence(where.service, side, name, f"p{q * 100:.0f}", observed, expected)
            else:
                observed = _pooled_ratio(blocks, finding.unit)
                expected, unit = evidence.errors.expected_ratio(finding.unit), "ratio"
                sentence = errors_sentence(where.service, side, operation, observed, expected)
        return Anomaly(
            id=anomaly_id(where, side, signal, end_ns), tenant=where.tenant, namespace=where.namespace,
            service=where.service, operation=operation, signal=signal, side=side, score=round(min(finding.score, 99.0), 3),
            onset_ns=onset_ns, detected_ns=end_ns, ended_ns=None, observed=observed, expected=expected, unit=unit,
            sentence=sentence,
        )  # fmt: skip

    def _worst(self, finding: Finding, evidence: Evidence) -> tuple[int, str]:
        """The operation that most of the excess over the evidence's window comes from."""
        own = self.units.unit(finding.unit).operation
        if own is not None:
            return finding.unit, own
        children = self.units.children(finding.unit)
        slots = [(evidence.slot - back) % evidence.rings.shape[3] for back in range(max(finding.width, 1))]
        _, k, mu = (ring[children, finding.test][:, slots].sum(axis=1) for ring in evidence.rings)
        worst = int(children[int(np.argmax(k - mu))])
        return worst, self.units.unit(worst).operation or ""

    def _onset(self, finding: Finding, evidence: Evidence, start_ns: int, bin_ns: int) -> int:
        """The change point of the share of exceedances, refined inside the bin by how much of it is odd."""
        ring = evidence.rings.shape[3]
        slots = np.asarray([(evidence.slot - back) % ring for back in range(_ONSET_BINS - 1, -1, -1)])
        n, k = (evidence.rings[i, finding.unit, finding.test, slots].astype(np.float64) for i in (0, 1))
        slots, n, k = slots[n > 0], n[n > 0], k[n > 0]
        if len(n) < 2:
            return start_ns
        at, before, after = change_point(n, k / n)
        starts_ns = evidence.starts_ns[slots]
        # The change may have begun inside the first odd bin, or late in the one before it.
        for bin_ in (at - 1, at):
            part = (k[bin_] / n[bin_] - before) / (after - before) if after > before else 1.0
            if n[bin_] >= 5 and 0.2 < part < 1:
                return int(starts_ns[bin_]) + int((1 - part) * bin_ns)
        return int(starts_ns[at])


def _pooled_quantile(blocks: Sequence[BinBlock], row: int, q: float) -> float:
    lines = [(b, int(i)) for b in blocks for i in np.flatnonzero(b.rows[: b.operations] == row)]
    if not lines:
        return math.nan
    buckets = np.sum([b.buckets[i] for b, i in lines], axis=0).astype(np.float64)
    return float(quantile_of(buckets, float(buckets.sum()), q))


def _pooled_ratio(blocks: Sequence[BinBlock], row: int) -> float:
    lines = [(b, int(i)) for b in blocks for i in np.flatnonzero(b.rows == row)]
    count = sum(float(b.count[i]) for b, i in lines)
    return sum(float(b.errors[i]) for b, i in lines) / count if count else math.nan


def _resource_sentence(where: str, signal: Signal, hit: ResourceScore) -> str:
    instance = hit.source.instance or where
    if signal is Signal.RESTARTS:
        return f"{where} started anew ({instance})"
    if signal is Signal.MEMORY:
        return f"memory of {where} ({instance}) keeps growing: {hit.observed:.3g} from {hit.expected:.3g} ({hit.metric})"
    return f"CPU of {where} ({instance}) is {hit.observed:.3g}, usually {hit.expected:.3g} ({hit.metric})"
