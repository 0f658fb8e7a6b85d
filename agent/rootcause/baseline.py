"""What normal looks like: compact statistics of past stretches, kept for hours.

Every closed stretch of event time is learned (``learn``), late or out of order as it comes, each
only once. Stretches in which something was wrong are marked (``exclude``) and left out from then
on, with the time until things had settled; marks may come before or after the stretch is learned.
Bounded by age, by number of segments and by keys a segment; the oldest go.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np

from agent.errors import Malformed
from agent.rootcause.digest import Counts, Durations, Segment, digest, prepare
from agent.rootcause.metrics import Last, samples_of
from agent.rootcause.settings import RootCauseSettings
from agent.rootcause.templates import Templates
from agent.rootcause.trees import Callees, callees, merge
from agent.telemetry.frames import ChangeEvent, Telemetry

NS = 1_000_000_000
_FORMAT = 1
_MAX_EXCLUDED = 10_000
_MAX_CHANGES = 1_000


@dataclass(frozen=True, slots=True)
class History:
    """Segments in order of time: ``normal``, and ``suspect`` ones that hold trouble or its aftermath.
    ``scarce``: too few normal ones have traces to do without the others."""

    normal: list[Segment]
    suspect: list[Segment]
    scarce: bool

    def recent(self, since_ns: int, enough_ns: int) -> list[Segment]:
        """The normal segments since ``since_ns``, with the others where they cover too little."""
        normal = [s for s in self.normal if s.end_ns > since_ns]
        if sum(s.end_ns - s.start_ns for s in normal) >= enough_ns:
            return normal
        return sorted((*normal, *(s for s in self.suspect if s.end_ns > since_ns)), key=lambda s: s.start_ns)


class Baseline:
    def __init__(self, settings: RootCauseSettings | None = None) -> None:
        self.settings = settings or RootCauseSettings()
        self.templates = Templates()
        self._segments: list[Segment] = []
        self._excluded: list[tuple[int, int]] = []
        self._last: Last = {}
        self.callees: Callees = {}
        self._changes: list[ChangeEvent] = []

    @property
    def segments(self) -> Sequence[Segment]:
        """All that is remembered, excluded or not, in order of time."""
        return self._segments

    @property
    def excluded(self) -> Sequence[tuple[int, int]]:
        """The stretches marked, ``[start_ns, end_ns)``, in order of time, none meeting another."""
        return self._excluded

    @property
    def changes(self) -> Sequence[ChangeEvent]:
        """The latest changes learned, in order of time."""
        return self._changes

    def learn(self, telemetry: Telemetry) -> int:
        """Remember the stretch, cut into segments; returns how many were new. A segment that is
        already known is left as it is."""
        samples = samples_of(telemetry.metrics, self._last)
        bounds = self._bounds(telemetry.start_ns, telemetry.end_ns)
        if not bounds:
            return 0
        self._changes = sorted({*self._changes, *telemetry.changes}, key=lambda c: c.time_ns)[-_MAX_CHANGES:]
        stretch = prepare(telemetry, self.templates.ids(telemetry.logs.templates, learn=True), self.callees)
        seen = merge(self.callees, callees(stretch.trees, stretch.places))
        self.callees = dict(list(seen.items())[-self.settings.max_keys :])
        found = digest(stretch, samples, bounds, self.settings.max_keys)
        for segment in found:
            insort(self._segments, segment, key=lambda s: s.start_ns)
        self._forget()
        return len(found)

    def exclude(self, start_ns: int, end_ns: int) -> None:
        """Something was wrong in ``[start_ns, end_ns)``: it is not normal time. Marks that meet are one."""
        if end_ns <= start_ns:
            return
        first = bisect_left(self._excluded, start_ns, key=lambda mark: mark[1])
        last = bisect_right(self._excluded, end_ns, key=lambda mark: mark[0])
        met = self._excluded[first:last]
        whole = min([start_ns, *(a for a, _ in met)]), max([end_ns, *(b for _, b in met)])
        self._excluded[first:last] = [whole]
        self._forget_marks()

    def history(self, asked_start_ns: int) -> History:
        """What a question about a stretch that starts at ``asked_start_ns`` is held against.

        Normal is what was over before, not excluded, and not settling after something excluded; the
        rest is suspect."""
        guard, settle = (int(s * NS) for s in (self.settings.guard_s, self.settings.settle_s))
        before = [s for s in self._segments if s.end_ns <= asked_start_ns - guard]
        good = [not self._is_excluded(s.start_ns, s.end_ns, settle) for s in before]
        normal = [s for s, is_good in zip(before, good, strict=True) if is_good]
        suspect = [s for s, is_good in zip(before, good, strict=True) if not is_good]
        traced_ns = sum(s.end_ns - s.start_ns for s in normal if len(s.places))
        return History(normal, suspect, scarce=traced_ns < self.settings.scarce_s * NS)

    def to_bytes(self) -> bytes:
        """All of it, to be read by ``from_bytes``."""
        return msgspec.msgpack.encode(
            {
                "format": _FORMAT,
                "segments": [_pack(s) for s in self._segments],
                "excluded": self._excluded,
                "last": [(key, *value) for key, value in self._last.items()],
                "changes": self._changes,
                "callees": [(spot, *called) for spot, called in self.callees.items()],
                "templates": self.templates.state(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes, settings: RootCauseSettings | None = None) -> Baseline:
        try:
            state = msgspec.msgpack.decode(data)
            if state["format"] != _FORMAT:
                raise Malformed(
                    "baseline_format", f"baseline of format {state['format']!r}, expected {_FORMAT}"
                )
            found = cls(settings)
            found._segments = [_unpack_segment(s) for s in state["segments"]]
            for start, end in state["excluded"]:
                found.exclude(start, end)
            found._last = {key: (time_ns, value) for key, time_ns, value in state["last"]}
            found._changes = msgspec.convert(state["changes"], list[ChangeEvent])
            found.callees = {spot: (service, what) for spot, service, what in state["callees"]}
            found.templates = Templates.from_state(state["templates"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            raise Malformed(
                "baseline_bytes", f"not a saved baseline: {error}; start with an empty one"
            ) from error
        return found

    def _bounds(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """Segments of the stretch on the grid of event time, without those known."""
        grain = int(self.settings.segment_s * NS)
        edges = [start_ns, *range((start_ns // grain + 1) * grain, end_ns, grain), end_ns]
        known = {s.start_ns for s in self._segments}
        return [(a, b) for a, b in pairwise(edges) if b > a and a not in known]

    def _is_excluded(self, start_ns: int, end_ns: int, settle_ns: int) -> bool:
        return any(start_ns < end + settle_ns and begin < end_ns for begin, end in self._excluded)

    def _forget(self) -> None:
        oldest = self._segments[-1].end_ns - int(self.settings.keep_s * NS)
        first = max(
            bisect_left(self._segments, oldest, key=lambda s: s.start_ns),
            len(self._segments) - self.settings.max_segments,
        )
        del self._segments[: max(first, 0)]
        self._forget_marks()
        if len(self._last) > self.settings.max_keys:
            for key in list(self._last)[: len(self._last) // 2]:
                del self._last[key]

    def _forget_marks(self) -> None:
        """Those that concern no segment any more: over, and settled, before the oldest that is kept."""
        if self._segments:
            kept_ns = self._segments[-1].end_ns - int((self.settings.keep_s + self.settings.settle_s) * NS)
            del self._excluded[: bisect_left(self._excluded, kept_ns, key=lambda mark: mark[1])]
        del self._excluded[:-_MAX_EXCLUDED]


def _pack(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.tobytes()]
    if isinstance(value, Segment | Counts | Durations):
        return {f.name: _pack(getattr(value, f.name)) for f in fields(value)}
    return value


def _unpack(state: Any) -> Any:
    return np.frombuffer(state[1], np.dtype(state[0])) if isinstance(state, list) else state


_PARTS: Mapping[str, type] = {
    "spans_of_service": Counts, "logged_of_service": Counts, "transition": Counts, "context": Counts,
    "bare_transition": Counts, "bare_context": Counts, "lines": Counts,
    "self_time": Durations, "edge_time": Durations,
}  # fmt: skip


def _unpack_segment(state: Mapping[str, Any]) -> Segment:
    parts = {
        name: _PARTS[name](**{k: _unpack(v) for k, v in value.items()}) if name in _PARTS else _unpack(value)
        for name, value in state.items()
    }
    return Segment(**parts)
