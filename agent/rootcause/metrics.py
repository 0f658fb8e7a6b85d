"""Metric series for the analysis: counters made rates, families told from names, means a stretch.

A family is what a metric says about, told from the words of its name, whoever sent it: ``cpu``,
``memory``, ``restarts``, ``pool`` (connections, waiting for them), ``latency`` between two services.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agent.detection.detectors.resources import waits_for_pool
from agent.rootcause.hashing import hash_text
from agent.telemetry.frames import F64, I32, I64, U64, MetricFrame, Series

_WORDS = re.compile(r"[a-z]+[0-9]*|[0-9]+")

CPU, MEMORY, POOL = "cpu", "memory", "pool"
# Of a machine, not of the place that reports it.
_NOT_THE_PLACES_OWN = frozenset({"node", "system", "host", "machine"})
_BOUNDS = frozenset({"limit", "limits", "request", "requests"})
_FAMILIES: Mapping[str, frozenset[str]] = {
    CPU: frozenset({"cpu"}),
    MEMORY: frozenset({"memory", "rss", "heap"}),
}
_SAYS_USE = {"usage", "utilization", "time", "used", "working", "rss", "total", "seconds", "rate"}


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of all series of a stretch in time order a series, with counters as rates a second."""

    series: tuple[Series, ...]
    key: U64
    wide_key: U64
    row: I32  # series of each sample
    time_ns: I64
    value: F64

    def means(self, start_ns: int, end_ns: int) -> tuple[U64, U64, npt.NDArray[np.float32]]:
        """Sorted keys of the series that have samples in ``[start_ns, end_ns)``, the keys that name them
        for any instance, and their means."""
        keep = (self.time_ns >= start_ns) & (self.time_ns < end_ns) & np.isfinite(self.value)
        count = np.bincount(self.row[keep], minlength=len(self.series))
        total = np.bincount(self.row[keep], weights=self.value[keep], minlength=len(self.series))
        seen = np.flatnonzero(count)
        seen = seen[np.argsort(self.key[seen])]
        return self.key[seen], self.wide_key[seen], (total[seen] / count[seen]).astype(np.float32)


# OpenTelemetry's naming: ``usage`` and ``utilization`` are levels; Prometheus ends totals with ``total``.
_LEVELS = frozenset({"usage", "utilization", "pending", "virtual", "rss", "heap"})
_TOTALS = frozenset({"total", "seconds", "time"})

Last = dict[int, tuple[int, float]]


def samples_of(frame: MetricFrame, last: Last | None = None) -> Samples:
    """``last`` holds the latest ``(time, value)`` of each counter by key, so that a counter sampled
    once a stretch has a rate too; it is brought up to date."""
    key = np.fromiter(map(series_key, frame.series), np.uint64)
    row = np.repeat(np.arange(len(frame.series), dtype=np.int32), np.diff(frame.offsets))
    value = frame.value.copy()
    for i in np.flatnonzero(frame.cumulative):
        if _is_level(frame.series[i].name):
            continue
        begin, end = int(frame.offsets[i]), int(frame.offsets[i + 1])
        if end > begin:
            before = last.get(int(key[i])) if last is not None else None
            value[begin:end] = _rates(frame.time_ns[begin:end], frame.value[begin:end], before)
            if last is not None:
                last[int(key[i])] = (int(frame.time_ns[end - 1]), float(frame.value[end - 1]))
    wide = np.fromiter((series_key(s, any_instance=True) for s in frame.series), np.uint64)
    return Samples(frame.series, key, wide, row, frame.time_ns, value)


def series_key(series: Series, *, any_instance: bool = False) -> int:
    """The series as a number; with ``any_instance`` the same for all instances of the service."""
    labels = "\x1f".join(f"{name}={value}" for name, value in series.labels)
    instance = "" if any_instance else series.source.instance
    return hash_text(f"{series.source.service}\x1f{instance}\x1f{series.name}\x1f{labels}")


def family(series: Series) -> str:
    """What the series is about, empty for what is not looked at as a resource of its place."""
    words = set(_WORDS.findall(series.name.lower()))
    if waits_for_pool(words):
        return POOL
    if words & _NOT_THE_PLACES_OWN or (words & _BOUNDS and "utilization" not in words):
        return ""
    for name, tokens in _FAMILIES.items():
        if words & tokens and words & _SAYS_USE:
            return name
    return ""


def edge_of(series: Series) -> tuple[str, str, bool] | None:
    """``(caller, callee, told by the caller)`` of a latency between two services, else ``None``."""
    labels = dict(series.labels)
    peer = labels.get("peer.service")
    words = set(_WORDS.findall(series.name.lower()))
    if not peer or not words & {"duration", "latency"} or not words & {"p50", "median"}:
        return None
    if "client" in words:
        return series.source.service, peer, True
    return (peer, series.source.service, False) if "server" in words else None


def _is_level(name: str) -> bool:
    """Whether a running total goes up and down by its name (OpenTelemetry's UpDownCounter), so that its
    value is what counts and not its increase."""
    words = set(_WORDS.findall(name.lower()))
    return bool(words & _LEVELS) and not words & _TOTALS


def _rates(time_ns: I64, value: F64, before: tuple[int, float] | None) -> F64:
    """Increase a second since the sample before; NaN for the first; a reset counts from 0."""
    rates = np.full(len(value), np.nan)
    times, values = time_ns, value
    if before is not None and before[0] < time_ns[0]:
        times = np.concatenate([[before[0]], time_ns])
        values = np.concatenate([[before[1]], value])
    step = np.diff(values)
    step = np.where(step < 0, values[1:], step)
    seconds = np.maximum(np.diff(times) / 1e9, 1e-3)
    rates[len(rates) - len(step) :] = step / seconds
    return rates
