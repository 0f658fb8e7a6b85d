"""Signals C, resources, and E, the mesh's view of calls: metrics held against the hour before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.rootcause.digest import Segment
from agent.rootcause.metrics import CPU, MEMORY, POOL, Samples, edge_of, family
from agent.telemetry.frames import F64, U64

# The families that speak for a place by themselves, and how loud: memory that is used slows nothing yet.
BLAMED = {CPU: 1.0, MEMORY: 0.5}
# The least spread, as a part of the place's own usual use and of what is usual over the places. Memory
# hardly varies by itself.
SWINGS = {CPU: 0.2, POOL: 0.2, MEMORY: 0.2}
FLOORS = {CPU: 0.5, POOL: 0.5, MEMORY: 0.2}
MIN_PAST = 2  # segments with a value
MAX_X = 1000.0  # what was always 0 has no spread


@dataclass(frozen=True, slots=True)
class Usage:
    """One series of a resource: its use in the window, the median and spread of the hour before,
    ``x`` spreads above."""

    series: int
    place: int
    family: str
    now: float
    usual: float
    x: float


@dataclass(frozen=True, slots=True)
class Resources:
    """``blame``: the largest excess of CPU or memory a place; ``usages``: every series looked at, largest first."""

    blame: F64
    usages: tuple[Usage, ...]


def resources(
    samples: Samples, place_of: dict[int, int], n_places: int, start_ns: int, end_ns: int, past: Past
) -> Resources:
    """``place_of`` maps series to places."""
    whole = _window_means(samples, start_ns, end_ns)
    latter = _window_means(samples, (start_ns + end_ns) // 2, end_ns)
    # A spike that is over explains nothing, so CPU has to be as high in the latter half as in the whole.
    # Memory is a level, and says by its end how it stands.
    lower, last = np.fmin(whole, latter), np.where(np.isfinite(latter), latter, whole)
    found: list[Usage] = []
    kinds: dict[str, dict[int, list[int]]] = {}
    for i in place_of:
        if family(samples.series[i]) and np.isfinite(whole[i]):
            kinds.setdefault(samples.series[i].name, {}).setdefault(place_of[i], []).append(i)
    for places in kinds.values():
        members = [i for of_place in places.values() for i in of_place]
        kind = family(samples.series[members[0]])
        now = last if kind == MEMORY else lower
        median, high = past.quantiles(samples.key[members], samples.wide_key[members])
        rows = {i: row for row, i in enumerate(members) if np.isfinite(median[row])}
        # The series of one metric at one place (user and system time, the cores) are parts of one use.
        parts = {p: [i for i in of_place if i in rows] for p, of_place in places.items()}
        usual = {
            p: float(sum(median[rows[i]] for i in of_place)) for p, of_place in parts.items() if of_place
        }
        floor = FLOORS[kind] * float(np.median(list(usual.values()))) if usual else 0.0
        for place, level in usual.items():
            use = float(sum(now[i] for i in parts[place]))
            swing = float(sum(high[rows[i]] - median[rows[i]] for i in parts[place]))
            spread = max(swing, SWINGS[kind] * level, floor, 1e-12)
            found.append(Usage(parts[place][0], place, kind, use, level, min((use - level) / spread, MAX_X)))
    blame = np.zeros(n_places)
    for usage in found:
        if usage.family in BLAMED:
            blame[usage.place] = max(blame[usage.place], BLAMED[usage.family] * usage.x)
    return Resources(blame, tuple(sorted(found, key=lambda u: -u.x)))


class Past:
    """Levels of series in the segments before, for quantiles."""

    def __init__(self, baseline: Sequence[Segment], since_ns: int) -> None:
        recent = [s for s in baseline if s.end_ns > since_ns]
        level = np.concatenate([np.zeros(0, np.float32), *(s.level for s in recent)]).astype(np.float64)
        self._own = _Levels(np.concatenate([np.zeros(0, np.uint64), *(s.series for s in recent)]), level)
        self._wide = _Levels(
            np.concatenate([np.zeros(0, np.uint64), *(s.wide_series for s in recent)]), level
        )

    def quantiles(self, keys: U64, wide_keys: U64) -> tuple[F64, F64]:
        """Median and 90th percentile of each series, those of its service's other instances where it
        is new, NaN where too little is known."""
        median, high = self._own.quantiles(keys)
        new = np.flatnonzero(np.isnan(median))
        median[new], high[new] = self._wide.quantiles(wide_keys[new])
        return median, high


class _Levels:
    def __init__(self, key: U64, level: F64) -> None:
        order = np.lexsort((level, key))
        self._key, self._level = key[order], level[order]

    def quantiles(self, keys: U64) -> tuple[F64, F64]:
        first = np.searchsorted(self._key, keys, "left")
        count = np.searchsorted(self._key, keys, "right") - first
        median, high = np.full(len(keys), np.nan), np.full(len(keys), np.nan)
        for i in np.flatnonzero(count >= MIN_PAST):
            median[i], high[i] = np.quantile(self._level[first[i] : first[i] + count[i]], [0.5, 0.9])
        return median, high


@dataclass(frozen=True, slots=True)
class Mesh:
    """``blame`` by place; ``edges``: (caller, callee, z, caller's view less the callee's now, before)."""

    blame: F64
    edges: tuple[tuple[str, str, float, float, float], ...]


def mesh(
    samples: Samples,
    places_of_service: dict[str, list[int]],
    n_places: int,
    start_ns: int,
    end_ns: int,
    baseline: Sequence[Segment],
    since_ns: int,
) -> Mesh:
    """The caller's view of a call's latency less the callee's is the network's part."""
    now = _window_means(samples, start_ns, end_ns)
    sides: dict[tuple[str, str], dict[bool, int]] = {}
    for i, series in enumerate(samples.series):
        edge = edge_of(series)
        if edge is not None:
            sides.setdefault(edge[:2], {})[edge[2]] = i
    both = {edge: (side[True], side[False]) for edge, side in sides.items() if len(side) == 2}
    found = []
    recent = [s for s in baseline if s.end_ns > since_ns]
    for (caller, callee), (theirs, own) in both.items():
        gap_now = now[theirs] - now[own]
        past, level = _paired(recent, samples.key[theirs], samples.key[own])
        if len(past) < MIN_PAST or not np.isfinite(gap_now):
            continue
        median = float(np.median(past))
        q25, q75 = np.quantile(past, [0.25, 0.75])
        # A quantile read from buckets is no surer than a part of itself.
        spread = max((q75 - q25) / 1.35, 0.05 * level, 0.5e-3)
        found.append((caller, callee, float((gap_now - median) / spread), float(gap_now), median))
    blame = np.zeros(n_places)
    for service, at in places_of_service.items():
        for side in (0, 1):
            mine = [e for e in found if e[side] == service]
            slow = [e for e in mine if e[2] > 2.5]
            for place in at:
                blame[place] += sum(e[2] for e in slow) * (len(slow) / max(len(mine), 1)) ** 2
    return Mesh(blame, tuple(sorted(found, key=lambda e: -e[2])))


def _paired(recent: Sequence[Segment], a: np.uint64, b: np.uint64) -> tuple[F64, float]:
    """The gaps between two series, segment by segment, and the median of the first."""
    gaps, levels = [], []
    for segment in recent:
        at = np.searchsorted(segment.series, np.array([a, b], np.uint64))
        if (
            at.max(initial=0) < len(segment.series)
            and segment.series[at[0]] == a
            and segment.series[at[1]] == b
        ):
            gaps.append(float(segment.level[at[0]] - segment.level[at[1]]))
            levels.append(float(segment.level[at[0]]))
    return np.array(gaps), float(np.median(levels)) if levels else 0.0


def _window_means(samples: Samples, start_ns: int, end_ns: int) -> F64:
    keep = (samples.time_ns >= start_ns) & (samples.time_ns < end_ns) & np.isfinite(samples.value)
    count = np.bincount(samples.row[keep], minlength=len(samples.series))
    total = np.bincount(samples.row[keep], weights=samples.value[keep], minlength=len(samples.series))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
