"""Resources: CPU that steps up, memory that keeps growing, processes that start anew.

Gauges and running totals of the usual exporters are recognised by the words in their names (``cpu`` with
time, usage or utilization; ``memory`` with usage, working set or rss); those of a whole machine
(``system.``, ``node``) belong to no service. What is found is a *witness*: it lets an incident of requests
open earlier and says where to look. Only memory that grows without a stop speaks for itself, because by
the time requests suffer from it, the process is gone."""

from __future__ import annotations

import re
from array import array
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

import numpy as np

from agent.detection.anomaly import Signal
from agent.telemetry.frames import F64, I64, MetricFrame
from agent.telemetry.source import Source

_WORD = re.compile(r"[a-z]+|\d+")
_NOT_USED = {"limit", "limits", "request", "requests", "available", "system", "node", "host", "throttled", "virtual",
             "faults", "failcnt", "max", "peak", "cached", "cache", "swap", "count", "context"}  # fmt: skip
_CPU_WORDS = {"time", "usage", "utilization", "util", "seconds", "used"}
_RESTART_SHOWS_NS = 60 * 10**9
_POOL_WORDS = {"connection", "connections", "pool"}
_WAITING_WORDS = {"pending", "waiting", "timeouts", "wait"}
_MEMORY_WORDS = {"usage", "working", "rss", "resident", "used"}


def signal_of(metric: str) -> Signal | None:
    """What a metric of that name measures of its source; None if it is none of the three."""
    words = _WORD.findall(re.sub(r"([a-z])([A-Z])", r"\1 \2", metric).lower())
    if "restart" in words or "restarts" in words:
        return Signal.RESTARTS
    if _NOT_USED.intersection(words):
        return None
    if "cpu" in words and _CPU_WORDS.intersection(words):
        return Signal.CPU
    if "memory" in words and _MEMORY_WORDS.intersection(words):
        return Signal.MEMORY
    return None


def watched(metric: str) -> bool:
    """Whether samples of a metric of that name are of any use to the detectors and to root cause."""
    words = set(_WORD.findall(metric.lower()))
    return signal_of(metric) is not None or waits_for_pool(words)


def waits_for_pool(words: AbstractSet[str]) -> bool:
    """Whether a metric's words tell of requests that wait for a connection of a pool, or waited in vain."""
    return not words.isdisjoint(_POOL_WORDS) and not words.isdisjoint(_WAITING_WORDS)


@dataclass(frozen=True, slots=True)
class ResourceSettings:
    """``settle_s``: a source younger than that is not judged for growth (a process fills its caches)."""

    settle_s: float = 60.0
    max_sources: int = 2000
    samples: int = 128


@dataclass(frozen=True, slots=True)
class ResourceScore:
    source: Source
    metric: str
    signal: Signal
    score: float
    onset_ns: int
    time_ns: int
    observed: float
    expected: float


class Recent:
    """The last samples, the newest last: sixteen bytes each, where a tuple of two Python numbers takes 120."""

    __slots__ = ("_most", "times", "values")

    def __init__(self, most: int) -> None:
        self._most = most
        self.times, self.values = array("q"), array("d")

    def append(self, time_ns: int, value: float) -> None:
        if len(self.times) >= self._most + self._most // 4:
            del self.times[: -self._most + 1], self.values[: -self._most + 1]
        self.times.append(time_ns)
        self.values.append(value)

    @property
    def newest_ns(self) -> int:
        """0 where there is none."""
        return self.times[-1] if self.times else 0

    def columns(self) -> tuple[I64, F64]:
        """Times in ns, and values."""
        most = self._most
        return np.array(self.times[-most:], np.int64), np.array(self.values[-most:], np.float64)


@dataclass(slots=True)
class _Track:
    """The recent samples of one metric of one source, all its label sets added up."""

    signal: Signal
    cumulative: bool
    born_ns: int
    samples: Recent
    waiting: dict[int, float] = field(default_factory=dict)
    last_total: dict[tuple[tuple[str, str], ...], tuple[int, float]] = field(default_factory=dict)
    restarted_ns: int = 0
    judged_ns: int = 0


class ResourceDetector:
    def __init__(self, settings: ResourceSettings | None = None) -> None:
        self.settings = settings or ResourceSettings()
        self.series_refused = 0
        self._signals: dict[str, Signal | None] = {}
        self._tracks: dict[tuple[Source, str], _Track] = {}

    def learn(self, frame: MetricFrame) -> None:
        for i, series in enumerate(frame.series):
            signal = self._signal(series.name)
            rows = slice(int(frame.offsets[i]), int(frame.offsets[i + 1]))
            if signal is None or rows.start == rows.stop:
                continue
            track = self._track(
                series.source, series.name, signal, bool(frame.cumulative[i]), int(frame.time_ns[rows.start])
            )
            if track is not None:
                _take(track, series.labels, frame.time_ns[rows].tolist(), frame.value[rows].tolist())
                # Without requests nobody asks for a score, which would settle them.
                if len(track.waiting) > self.settings.samples:
                    _settle(track, sorted(track.waiting)[-self.settings.samples // 2])

    def score(self, until_ns: int) -> list[ResourceScore]:
        """What is odd now about each source, by the samples before ``until_ns``; strongest score first."""
        found = []
        for (source, metric), track in self._tracks.items():
            _settle(track, until_ns)
            if track.samples.newest_ns <= track.judged_ns:
                continue
            track.judged_ns = track.samples.newest_ns
            hit = self._judge(track)
            if hit is not None:
                signal, score, onset_ns, observed, expected = hit
                found.append(
                    ResourceScore(
                        source, metric, signal, score, onset_ns, track.judged_ns, observed, expected
                    )
                )
        return sorted(found, key=lambda hit: (-hit.score, hit.source, hit.metric))

    def forget(self, silent_since_ns: int) -> None:
        self._tracks = {
            key: track
            for key, track in self._tracks.items()
            if max(track.born_ns, track.samples.newest_ns, *track.waiting, 0) >= silent_since_ns
        }

    def _judge(self, track: _Track) -> tuple[Signal, float, int, float, float] | None:
        times, values = track.samples.columns()
        if track.signal is Signal.RESTARTS or track.restarted_ns > times[-1] - _RESTART_SHOWS_NS:
            signal, hit = Signal.RESTARTS, restarts(values, times, track.restarted_ns)
        elif track.signal is Signal.MEMORY:
            settled = times >= track.born_ns + int(self.settings.settle_s * 1e9)
            signal, hit = Signal.MEMORY, growth(times[settled], values[settled])
        else:
            signal, hit = Signal.CPU, step_up(times, values)
        return None if hit is None else (signal, *hit)

    def _signal(self, name: str) -> Signal | None:
        if name not in self._signals:
            if len(self._signals) > 50_000:
                self._signals.clear()
            self._signals[name] = signal_of(name)
        return self._signals[name]

    def _track(
        self, source: Source, metric: str, signal: Signal, cumulative: bool, now_ns: int
    ) -> _Track | None:
        track = self._tracks.get((source, metric))
        if track is None:
            if len(self._tracks) >= 4 * self.settings.max_sources:
                self.series_refused += 1
                return None
            track = _Track(signal, cumulative, now_ns, Recent(self.settings.samples))
            self._tracks[source, metric] = track
        return track


def _take(track: _Track, labels: tuple[tuple[str, str], ...], times: list[int], values: list[float]) -> None:
    for time_ns, value in zip(times, values, strict=True):
        if not np.isfinite(value):
            continue
        if track.cumulative and track.signal is not Signal.RESTARTS:
            before = track.last_total.get(labels)
            if before is None and len(track.last_total) >= 64:
                continue
            track.last_total[labels] = (time_ns, value)
            if before is None or time_ns <= before[0]:
                continue
            if value < before[1]:
                track.restarted_ns, track.born_ns = time_ns, time_ns
                continue
            value = (value - before[1]) / ((time_ns - before[0]) / 1e9)
        track.waiting[time_ns] = track.waiting.get(time_ns, 0.0) + value


def _settle(track: _Track, until_ns: int) -> None:
    for time_ns in sorted(t for t in track.waiting if t < until_ns):
        track.samples.append(time_ns, track.waiting.pop(time_ns))


def step_up(times: I64, values: F64) -> tuple[float, int, float, float] | None:
    """The samples of the last 12 s, at least three, stand clear above the median and IQR of those before."""
    recent = max(3, int(np.sum(times > times[-1] - 12 * 10**9))) if len(times) else 3
    if len(values) < recent + 8:
        return None
    before, now = values[:-recent], values[-recent:]
    usual, low, high = np.percentile(before, [50, 25, 75])
    # Below a few units it is cores or a ratio, and a twentieth of a core is nobody's trouble.
    noise = (high - low) / 1.35 + 0.2 * usual + (0.025 if values.max() < 4 else 1e-9)
    z = float((now.min() - usual) / noise)
    if z < 4 or now.min() < 2 * usual:
        return None
    return 0.4, int(times[-recent]), float(np.median(now)), float(usual)


def growth(times: I64, values: F64) -> tuple[float, int, float, float] | None:
    """Memory that rose steadily by a fifth or more over the last samples (at least 6, at most 5 minutes).

    Steady means: the medians of the three thirds rise, most steps go up, and the end is above all that was
    before. The score reaches 1 at a growth of one half; the longest stretch that fits gives the onset."""
    best = None
    for width in (6, 9, 12, 18, 24, 36):
        if (
            len(values) < width
            or times[-1] - times[-width] > 300 * 10**9
            or times[-1] - times[-width] < 20 * 10**9
        ):
            continue
        part = values[-width:]
        first, middle, last = (float(np.median(third)) for third in np.array_split(part, 3))
        rising = np.mean(np.diff(part) > 0)
        start = max(float(part[0]), 1e-9)
        gained = float(part[-1]) / start - 1
        if (
            gained < 0.2
            or rising < 0.7
            or middle < first + 0.2 * (last - first)
            or last < middle + 0.2 * (last - first)
        ):
            continue
        if len(values) > width and part[-1] < 1.1 * values[:-width].max():
            continue
        if best is None or gained > best[0]:
            best = (gained, int(times[-width]), float(part[-1]), start)
    if best is None:
        return None
    return min(1.0, 2 * best[0]), best[1], best[2], best[3]


def restarts(values: F64, times: I64, restarted_ns: int) -> tuple[float, int, float, float] | None:
    """A running total that fell back, or a restart counter that went up, within the last samples."""
    if restarted_ns:
        return 0.5, restarted_ns, 1.0, 0.0
    if len(values) >= 2 and values[-1] > values[-2]:
        return 0.5, int(times[-1]), float(values[-1] - values[-2]), 0.0
    return None
