"""The mesh rows of all streams as one, without what the services tell themselves.

A service's spans lie in one stream, but the series of its proxies lie where their targets are. So mesh rows meet
here before they are judged or shown, and here **spans win**: a service and kind (served, calls) that sends spans
is left to them, from ``TRACED_NS`` before the first to as long after the last. Services are compared by name,
as the API does.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from agent.detection.meshtotals import HOLD_NS
from agent.detection.red import NO_BINS, RedBins, RedKind, concat_bins
from agent.telemetry.frames import I64, Bool

TRACED_NS = 300 * 10**9
# A stream whose event time is so far behind that of the others is not waited for.
BEHIND_NS = 120 * 10**9
MAX_TRACED = 20_000


class Traced:
    """The first and last time at which spans told of a service's requests, by kind."""

    def __init__(self) -> None:
        self._stretch: dict[tuple[str, RedKind], tuple[int, int]] = {}

    def add(self, bins: RedBins) -> None:
        """The RED rows that spans gave."""
        ends = np.iinfo(np.int64)
        first, last = np.full(len(bins.keys), ends.max), np.full(len(bins.keys), ends.min)
        np.minimum.at(first, bins.series, bins.bin_start_ns)
        np.maximum.at(last, bins.series, bins.bin_start_ns)
        for key, first_ns, last_ns in zip(bins.keys, first.tolist(), last.tolist(), strict=True):
            if first_ns <= last_ns:
                self.note(key.service, key.kind, first_ns, last_ns)

    def note(self, service: str, kind: RedKind, first_ns: int, last_ns: int) -> None:
        before = self._stretch.get((service, kind), (first_ns, last_ns))
        self._stretch[service, kind] = min(before[0], first_ns), max(before[1], last_ns)
        if len(self._stretch) > MAX_TRACED:
            newest_ns = max(last for _, last in self._stretch.values())
            self._stretch = {
                key: span for key, span in self._stretch.items() if span[1] > newest_ns - 12 * TRACED_NS
            }

    def without(self, mesh: RedBins) -> RedBins:
        """The rows of services that tell nothing themselves."""
        none = (np.iinfo(np.int64).max, np.iinfo(np.int64).min)
        told = [self._stretch.get((key.service, key.kind), none) for key in mesh.keys]
        if all(one is none for one in told):
            return mesh
        first, last = np.asarray(told, np.int64).T
        first = np.where(first == none[0], first, first - TRACED_NS)
        last = np.where(last == none[1], last, last + TRACED_NS)
        at = mesh.bin_start_ns
        return rows_of(mesh, (at < first[mesh.series]) | (at > last[mesh.series]))


def rows_of(bins: RedBins, rows: Bool | I64) -> RedBins:
    """The rows that a mask or an index array names."""
    columns: dict[str, Any] = {
        f.name: getattr(bins, f.name)[rows] for f in fields(RedBins) if f.name not in ("keys", "series")
    }
    used, series = np.unique(bins.series[rows], return_inverse=True)
    keys = tuple(bins.keys[code] for code in used.tolist())
    return RedBins(keys=keys, series=series.astype(np.int32), **columns)


@dataclass(slots=True)
class _Told:
    """How far a stream's event time is, the newest bin it told of, and that when it restarted: it tells its
    history again then."""

    watermark_ns: int = 0
    newest_ns: int = -1
    again_ns: int = -1


class MeshWatch:
    """What the detectors judge of one tenant's mesh: increments in, in rounds; a stream at a time."""

    def __init__(self) -> None:
        self._traced = Traced()
        self._streams: dict[int, _Told] = {}
        self._waiting: list[RedBins] = []

    def add(self, stream: int, spans: RedBins, mesh: RedBins) -> None:
        """What one stream told: the RED rows of spans, and those of proxies."""
        if len(spans):
            self._traced.add(spans)
        if not len(mesh):
            return
        told = self._streams.setdefault(stream, _Told())
        if told.again_ns >= 0:
            mesh = rows_of(mesh, mesh.bin_start_ns > told.again_ns)
        if len(mesh):
            told.newest_ns = max(told.newest_ns, int(mesh.bin_start_ns.max()))
            self._waiting.append(mesh)

    def come_to(self, stream: int, watermark_ns: int) -> None:
        """How far a stream has handed out what it holds."""
        if stream in self._streams:
            told = self._streams[stream]
            told.watermark_ns = max(told.watermark_ns, watermark_ns)

    def restarted(self, stream: int) -> None:
        if stream in self._streams:
            self._streams[stream].again_ns = self._streams[stream].newest_ns

    def take(self) -> tuple[RedBins, int] | None:
        """What is to be judged, and how far event time is with it; None where no mesh tells anything, or no
        stream has said yet how far it is."""
        marks = [told.watermark_ns for told in self._streams.values()]
        if not any(marks):
            return None
        waiting, self._waiting = self._waiting, []
        until_ns = min(mark for mark in marks if mark >= max(marks) - BEHIND_NS) - HOLD_NS
        return self._traced.without(concat_bins(waiting) if waiting else NO_BINS), until_ns
