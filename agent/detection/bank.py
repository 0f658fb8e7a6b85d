"""The detector bank: RED increments and a watermark in, anomalies out, in event time.

A bin is judged once the watermark has passed its end by the allowed lateness; everything follows from the
bins, nothing from when they came, so a replay gives the same anomalies at any speed. For each bin:

1. the detectors *score* it (how many requests beyond the limits of the baseline);
2. evidence is gathered over the last bins; an anomaly *starts* when it suffices and three bins with requests
   in a row, or four of five (three for errors or a quiet unit), are odd by themselves (two where errors overwhelm): a hiccup of some seconds is not;
3. the detectors *learn* the bin, but a while later and only if no anomaly was found until then, so that a
   slow onset does not become the norm. What lasts longer than ``adapt_after_s`` does become the norm.

The needed evidence grows with the strongest that a unit showed in healthy times (*record calibration*,
grown by at most a quarter a bin), so a naturally restless service becomes quiet by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from agent.detection.anomaly import AnomalyEvent, Signal
from agent.detection.bins import OpenBins
from agent.detection.detectors.errors import ErrorDetector, ErrorSettings
from agent.detection.detectors.latency import LatencyDetector, LatencySettings
from agent.detection.detectors.resources import ResourceDetector, ResourceSettings
from agent.detection.detectors.traffic import TrafficDetector, TrafficScores
from agent.detection.evidence import WINDOWS, judge
from agent.detection.red import RedBins
from agent.detection.reports import SILENT_NS, Finding, Reports, ReportSettings
from agent.detection.units import BinBlock, UnitTable
from agent.telemetry.frames import F64, I64, Bool, MetricFrame

MEDIAN, TAIL, FAR, ERRORS = range(4)
TESTS = 4
RING = 60
SIGNAL_OF_TEST = (Signal.LATENCY, Signal.LATENCY, Signal.LATENCY, Signal.ERRORS)
MIN_SHARE: F64 = np.array([0.5, 0.1, 0.3, 0.03])
"""The least share of requests beyond the limit that is worth an anomaly, for each test."""
STALLS: Bool = np.array([True, True, True, False])
"""Which tests a stall of the whole machine can fool."""


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """Times are event time. ``lateness_s``: how long after its end a bin may still grow;
    it is learnt between this and ``max_lateness_s``.
    ``warm_up_s``: age at which a unit is judged; ``startup_s`` and ``startup_requests``: the first seconds of a
    service and the first requests of a unit, never learnt from (pools and caches are cold).
    ``learn_delay_bins``: how many bins later a bin is learnt. ``flag_nats``: evidence that makes one bin odd;
    ``start_nats``: evidence that starts an anomaly (16: one in ten million); ``alone_nats``: what a single
    witness needs to open an incident, the unit of ``Anomaly.score``. ``forget_after_s``: silence after which
    a unit's memory is freed. ``max_units``: operations and services together, about 3 KB each."""

    bin_s: float = 5.0
    lateness_s: float = 2.0
    max_lateness_s: float = 15.0
    warm_up_s: float = 45.0
    startup_s: float = 15.0
    startup_requests: int = 8
    learn_delay_bins: int = 6
    flag_nats: float = 4.0
    start_nats: float = 16.0
    alone_nats: float = 24.0
    end_after_s: float = 30.0
    adapt_after_s: float = 900.0
    forget_after_s: float = 3600.0
    max_units: int = 8192
    latency: LatencySettings = field(default_factory=LatencySettings)
    errors: ErrorSettings = field(default_factory=ErrorSettings)
    resources: ResourceSettings = field(default_factory=ResourceSettings)

    @property
    def bin_ns(self) -> int:
        return round(self.bin_s * 1e9)


class DetectorBank:
    """All request and resource detectors of some streams. Pickles as it is."""

    def __init__(self, settings: DetectionSettings | None = None) -> None:
        self.settings = s = settings or DetectionSettings()
        self.units = UnitTable(s.max_units)
        self.open = OpenBins(self.units, s.bin_ns, round(s.lateness_s * 1e9), round(s.max_lateness_s * 1e9))
        self.latency = LatencyDetector(s.latency)
        self.errors = ErrorDetector(s.errors)
        self.traffic = TrafficDetector()
        self.resources = ResourceDetector(s.resources)
        self.reports = Reports(
            self.units,
            ReportSettings(s.end_after_s, s.adapt_after_s, s.alone_nats),
        )
        self._rings = np.zeros((3, 0, TESTS, RING), np.float32)
        self._record = np.zeros((0, TESTS))
        self._reported_ns = np.zeros(0, np.int64)  # when a service was last under report
        self._starts_ns = np.zeros(RING, np.int64)
        self._slot = 0
        self._delayed: deque[_Delayed] = deque()

    @property
    def requests_late(self) -> int:
        """Requests that came after their bin had been judged; they are not."""
        return self.open.requests_late

    def observe_metrics(self, frame: MetricFrame) -> None:
        """Samples of CPU, memory and restarts; others are passed over. Judged with the next bins."""
        self.resources.learn(frame)

    def advance(self, bins: RedBins, watermark_ns: int) -> list[AnomalyEvent]:
        """Adds the increments and judges every bin that the watermark has completed, oldest first."""
        self.open.add(bins)
        events: list[AnomalyEvent] = []
        for block in self.open.close(watermark_ns):
            events.extend(self._judge(block))
        return events

    def _judge(self, block: BinBlock) -> list[AnomalyEvent]:
        end_ns = block.start_ns + self.settings.bin_ns
        self._reserve()
        if block.start_ns - self._starts_ns[self._slot] > SILENT_NS:
            self._rings[:] = 0  # what was odd before a gap confirms nothing after it
        self._slot = (self._slot + 1) % RING
        self._starts_ns[self._slot] = block.start_ns
        ready = self._score(block)
        verdict = self._gather()
        traffic = self._traffic(block)
        findings = [
            *self._requests(verdict),
            *self._traffic_findings(traffic),
            *self._resource_findings(end_ns),
        ]
        evidence = _Evidence(
            self._rings,
            self._starts_ns,
            self._slot,
            self.latency,
            self.errors,
            [d.block for d in self._delayed][-2:],
        )
        events, reset = self.reports.update(block, end_ns, findings, verdict.odd, traffic, evidence)
        self._learn(block, ready, verdict)
        self._calm(events)
        self._forget(np.asarray(reset, np.int64), end_ns)
        if self._slot == 0:
            silent_since_ns = end_ns - round(self.settings.forget_after_s * 1e9)
            self._forget(self.units.forget(silent_since_ns), None)
            self.resources.forget(silent_since_ns)
        return events

    def _score(self, block: BinBlock) -> Bool:
        """Fills the newest slot of the rings; returns which lines of the block are judged."""
        latency, errors = self.latency.score(block), self.errors.score(block)
        n, k, mu = (ring[:, :, self._slot] for ring in self._rings)
        self._rings[:, :, :, self._slot] = 0
        warm = block.start_ns - self.units.first_ns[block.rows] >= round(self.settings.warm_up_s * 1e9)
        operations = slice(0, block.operations)
        for test in (MEDIAN, TAIL, FAR):
            p = latency.probability[:, test]
            lines = np.flatnonzero(np.isfinite(p) & warm[operations])
            rows = block.rows[lines]
            parents = self.units.parent[rows]
            for ring, what in (
                (n, block.count[lines]),
                (k, latency.beyond[lines, test]),
                (mu, p[lines] * block.count[lines]),
            ):
                ring[rows, test] = what
                np.add.at(ring[:, test], parents, what.astype(np.float32))
        p = errors.probability[:, 0]
        judged = np.isfinite(p) & warm
        rows = block.rows[judged]
        n[rows, ERRORS] = block.count[judged]
        k[rows, ERRORS] = errors.beyond[judged, 0]
        mu[rows, ERRORS] = (p * block.count)[judged]
        return np.asarray(judged, np.bool_)

    def _gather(self) -> _Verdict:
        units = len(self.units)
        verdict = _Verdict(
            nats=np.zeros((units, TESTS)),
            width=np.zeros((units, TESTS), np.int64),
            flagged=np.zeros((units, TESTS), np.int64),
            odd=np.zeros((units, TESTS), np.bool_),
        )
        judge(
            self._rings[0], self._rings[1], self._rings[2], self._slot, units, MIN_SHARE, STALLS, self.settings.flag_nats,
            verdict.nats, verdict.width, verdict.flagged, verdict.odd,
        )  # fmt: skip
        return verdict

    def _requests(self, verdict: _Verdict) -> Iterator[Finding]:
        s, units = self.settings, len(self.units)
        parent = self.units.parent[:units]
        family = np.bincount(parent[parent >= 0], minlength=units)
        # The best of many operations is compared with the bar for one.
        tries = np.where(parent >= 0, np.log(np.maximum(family[parent], 1)), 0.0)[:, None]
        nats = verdict.nats - tries
        needed = np.maximum(s.start_nats, 1.3 * self._record[:units])
        fast = np.zeros_like(verdict.odd)
        fast[:, ERRORS] = (verdict.flagged[:, ERRORS] >= 2) & (nats[:, ERRORS] >= 3 * s.start_nats)
        confirmed = (nats >= needed) & ((verdict.flagged >= 3) | fast)
        for row, test in np.argwhere(confirmed):
            service = int(parent[row]) if parent[row] >= 0 else int(row)
            alone = max(s.alone_nats, 2 * float(self._record[row, test]))
            yield Finding(
                service, int(row), SIGNAL_OF_TEST[test], int(test),
                float(nats[row, test]) / alone, int(verdict.width[row, test]),
            )  # fmt: skip

    def _traffic(self, block: BinBlock) -> TrafficScores:
        """Scores and learns the traffic of all units; a tenant with no request at all says nothing."""
        counts = np.full(len(self.units), np.nan)
        present = {self.units.unit(int(row)).where.tenant for row in block.rows[block.operations :]}
        for row, unit in enumerate(self.units.units):
            if unit is not None and unit.operation is None and unit.where.tenant in present:
                counts[row] = 0
        services = block.rows[block.operations :]
        counts[services] = block.count[block.operations :]
        scores = self.traffic.score(counts)
        self.traffic.learn(counts)
        return scores

    def _traffic_findings(self, traffic: TrafficScores) -> Iterator[Finding]:
        for row in np.flatnonzero(traffic.collapse >= self.settings.start_nats):
            score = float(traffic.collapse[row]) / self.settings.alone_nats
            yield Finding(int(row), int(row), Signal.TRAFFIC, -1, score, 3)
        for row in np.flatnonzero(traffic.surge >= self.settings.start_nats):
            yield Finding(int(row), int(row), Signal.TRAFFIC, -1, 0.2, 6)

    def _resource_findings(self, until_ns: int) -> Iterator[Finding]:
        for hit in self.resources.score(until_ns):
            yield Finding(-1, -1, hit.signal, -1, hit.score, 1, hit)

    def _learn(self, block: BinBlock, ready: Bool, verdict: _Verdict) -> None:
        """What is not judged yet is learnt at once (after the start-up), the rest later."""
        parent = self.units.parent[block.rows]
        service = np.where(parent >= 0, parent, block.rows)
        started = block.start_ns - self.units.first_ns[service] >= round(self.settings.startup_s * 1e9)
        started &= self.units.requests[block.rows] >= self.settings.startup_requests
        self._teach(block, ~ready & started)
        self.units.requests[block.rows] += block.count
        self._delayed.append(_Delayed(block, ready, verdict.nats))
        if len(self._delayed) > self.settings.learn_delay_bins:
            old = self._delayed.popleft()
            held = self.reports.held | self._suspected(verdict)
            parent = self.units.parent[old.block.rows]
            service = np.where(parent >= 0, parent, old.block.rows)
            free = np.asarray([int(row) not in held for row in service], np.bool_)
            self._teach(old.block, old.ready & free)
            self._recalibrate(old, held, block.start_ns)

    def _teach(self, block: BinBlock, lines: Bool) -> None:
        if lines.any():
            self.latency.learn(block, lines)
            self.errors.learn(block, lines)

    def _suspected(self, verdict: _Verdict) -> set[int]:
        """Services that may be about to be reported: two odd bins and half the evidence."""
        units = len(self.units)
        needed = np.maximum(self.settings.start_nats, 1.3 * self._record[:units])
        rows = np.flatnonzero(((verdict.flagged >= 2) & (verdict.nats >= needed / 2)).any(axis=1))
        parent = self.units.parent[rows]
        return {int(row) for row in np.where(parent >= 0, parent, rows)}

    def _recalibrate(self, old: _Delayed, held: set[int], now_ns: int) -> None:
        """Evidence is gathered over ``WINDOWS`` bins, so what a report was about is in it for as long
        afterwards: it says nothing of healthy times, and the next fault of its kind would be noticed late."""
        self._reported_ns[list(self.reports.held)] = now_ns
        units = min(len(old.nats), len(self.units))
        parent = self.units.parent[:units]
        service = np.where(parent >= 0, parent, np.arange(units))
        free = ~np.isin(service, np.asarray(sorted(held), np.int64))
        free &= now_ns - self._reported_ns[service] > WINDOWS * self.settings.bin_ns
        record = self._record[:units] * (1 - 1 / 720)
        bounded = np.minimum(old.nats[:units], 1.25 * np.maximum(record, 0.75 * self.settings.start_nats))
        self._record[:units] = np.where(free[:, None], np.maximum(record, bounded), self._record[:units])

    def _calm(self, events: list[AnomalyEvent]) -> None:
        """An anomaly that was over within two minutes raises the bar for its kind a little."""
        for row, test in self.reports.brief(events):
            record = self._record[row, test]
            self._record[row, test] = 1.25 * max(float(record), 0.75 * self.settings.start_nats)

    def _forget(self, rows: I64, anew_ns: int | None) -> None:
        """Clears the columns of freed rows, or lets the units start learning anew."""
        if len(rows) == 0:
            return
        self.latency.forget(rows)
        self.errors.forget(rows)
        self._rings[:, rows] = 0
        self._record[rows] = 0
        self._reported_ns[rows] = 0
        if anew_ns is None:
            self.traffic.forget(rows)
        else:
            self.units.first_ns[rows] = anew_ns

    def _reserve(self) -> None:
        have, want = self._rings.shape[1], self.units.capacity
        if want > have:
            self._rings = np.append(self._rings, np.zeros((3, want - have, TESTS, RING), np.float32), axis=1)
            self._record = np.append(self._record, np.zeros((want - have, TESTS)), axis=0)
            self._reported_ns = np.append(self._reported_ns, np.zeros(want - have, np.int64))


@dataclass(slots=True)
class _Verdict:
    """``[unit, test]``, see ``evidence.judge``."""

    nats: F64
    width: I64
    flagged: I64
    odd: Bool


@dataclass(slots=True)
class _Delayed:
    block: BinBlock
    ready: Bool
    nats: F64


@dataclass(slots=True)
class _Evidence:
    """What a report reads to say since when, how much and where."""

    rings: npt.NDArray[np.float32]
    starts_ns: I64
    slot: int
    latency: LatencyDetector
    errors: ErrorDetector
    before: list[BinBlock]
