"""Signal L, latency: which places spend more time of their own than they did.

Self times of servers and of calls to databases and models speak of the place itself; the time of a
call that its callee did not spend (an edge) lies between the two and speaks of both ends: a victim
has one slow edge, a culprit all of them. Constants as in docs/root-cause.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from agent.rootcause.digest import Durations, Segment, Stretch, edge_keys, self_keys
from agent.telemetry.frames import F64, I32, I64, U64, Bool

MIN_BEFORE, MIN_SEEN = 5, 2
MIN_Z, FULL_Z = 2.5, 10.0
MIN_SEGMENT_SPANS = 2


@dataclass(frozen=True, slots=True)
class Keys:
    """Kinds of work, one row each: medians (ns) and counts in the window (``w``) and before (``b``).
    ``extra_ns`` is what it costs more, over all calls, by how sure that is. ``example`` is a row of
    the trees, the slowest of the window; ``near``/``far`` are caller and callee of an edge, else both the place."""

    key: U64
    near: I32
    far: I32
    median_w: F64
    median_b: F64
    n_w: I64
    n_b: I64
    z: F64
    elevated: Bool
    judged: Bool
    extra_ns: F64
    example: I64


@dataclass(frozen=True, slots=True)
class Latency:
    """``blame``: extra time a place as a share of the time of all requests; ``work``, ``edges``: why."""

    blame: F64
    own: F64
    links: F64
    work: Keys
    edges: Keys


def latency(window: Stretch, baseline: Sequence[Segment], suspect: Sequence[Segment]) -> Latency:
    """``suspect`` segments may hold trouble; they speak for what normal time knows too little of."""
    trees = window.trees
    known = np.unique(np.concatenate([np.zeros(0, np.uint64), *(s.places for s in (*baseline, *suspect))]))
    is_new = ~np.isin(window.place_hash, known)
    rows, key, wide = self_keys(window)
    place = trees.place[rows]
    work = _compare(
        trees.self_ns,
        rows,
        key,
        wide,
        place,
        place,
        is_new[place],
        [s.self_time for s in baseline],
        [s.self_time for s in suspect],
    )
    rows, key, wide = edge_keys(window)
    caller, callee = trees.place[rows], trees.callee[rows]
    edges = _compare(
        trees.self_ns,
        rows,
        key,
        wide,
        caller,
        callee,
        is_new[caller] | is_new[callee],
        [s.edge_time for s in baseline],
        [s.edge_time for s in suspect],
    )
    n = len(window.places)
    own = _sum(work.far, work.extra_ns, n)
    links = _edge_blame(edges, n)
    share = _share(np.concatenate([work.far, edges.far, edges.near]),
                   np.concatenate([work.elevated, edges.elevated, edges.elevated]),
                   np.concatenate([work.judged, edges.judged, edges.judged]), n)  # fmt: skip
    is_root = trees.parent < 0
    total = float(trees.duration_ns[is_root].sum()) or 1.0
    scale = np.sqrt(share) / total
    return Latency((own + links) * scale, own * scale, links * scale, work, edges)


def _edge_blame(edges: Keys, n: int) -> F64:
    into = _share(edges.far, edges.elevated, edges.judged, n) ** 2
    out = _share(edges.near, edges.elevated, edges.judged, n) ** 2
    return _sum(edges.far, edges.extra_ns, n) * into + _sum(edges.near, edges.extra_ns, n) * out


def _sum(place: I32, value: F64, n: int) -> F64:
    return np.bincount(place, weights=value, minlength=n).astype(np.float64)


def _share(place: I32, elevated: Bool, judged: Bool, n: int) -> F64:
    return _sum(place, elevated.astype(np.float64), n) / np.maximum(
        _sum(place, judged.astype(np.float64), n), 1
    )


def _compare(
    self_ns: I64,
    rows: I64,
    key: U64,
    wide: U64,
    near: I32,
    far: I32,
    is_new: Bool,
    before: Sequence[Durations],
    suspect: Sequence[Durations],
) -> Keys:
    """Hold each key's durations in the window against those before. What ran on an instance that is
    new is held against its service's other instances."""
    looked_up = np.where(is_new, wide, key)
    order = np.lexsort((self_ns[rows], key))
    keys, first, count = np.unique(key[order], return_index=True, return_counts=True)
    values = self_ns[rows][order].astype(np.float64)
    middle = _quantile(values, first, count, 0.5)
    past = _past(looked_up[order][first], before, suspect)
    spread = np.maximum(past.iqr, 0)
    n_min = np.maximum(np.minimum(count, past.count), 1)
    error = (
        1.9 * spread / 1.35 / np.sqrt(n_min)
        + 0.15 * past.median
        + 0.2e6
        + 0.5 * np.maximum(past.high_median - past.median, 0)
    )
    z = (middle - past.median) / error
    judged = (past.count >= MIN_BEFORE) & (count >= MIN_SEEN)
    elevated = judged & (z > MIN_Z)
    sure = np.clip((z - MIN_Z) / (FULL_Z - MIN_Z), 0, 1)
    extra = np.where(elevated, (middle - past.median) * count * sure, 0.0)
    return Keys(
        key=keys,
        near=near[order][first],
        far=far[order][first],
        median_w=middle,
        median_b=past.median,
        n_w=count,
        n_b=past.count,
        z=z,
        elevated=elevated,
        judged=judged,
        extra_ns=extra,
        example=rows[order][first + count - 1] if len(first) else np.zeros(0, np.int64),
    )


@dataclass(frozen=True, slots=True)
class _Past:
    median: F64
    iqr: F64
    high_median: F64
    count: I64


def _past(keys: U64, before: Sequence[Durations], suspect: Sequence[Durations]) -> _Past:
    past = _pool(keys, before)
    if not suspect:
        return past
    few = past.count < MIN_BEFORE
    wider = _pool(keys, [*before, *suspect])
    return _Past(*(np.where(few, getattr(wider, f.name), getattr(past, f.name)) for f in fields(_Past)))


def _pool(keys: U64, before: Sequence[Durations]) -> _Past:
    """Quantiles of each of ``keys`` over all segments: an order statistic stands for its share of spans."""
    unique, back = np.unique(keys, return_inverse=True)
    parts = [part for d in before for part in (_samples(unique, d),)]
    at = np.concatenate([np.zeros(0, np.int64), *(p[0] for p in parts)])
    value = np.concatenate([np.zeros(0), *(p[1] for p in parts)])
    weight = np.concatenate([np.zeros(0), *(p[2] for p in parts)])
    order = np.lexsort((value, at))
    at, value, weight = at[order], value[order], weight[order]
    median_at = np.concatenate([np.zeros(0, np.int64), *(p[3] for p in parts)])
    medians = np.concatenate([np.zeros(0), *(p[4] for p in parts)])
    n = len(unique)
    q25, q50, q75 = _weighted(at, value, weight, n, (0.25, 0.5, 0.75))
    order = np.lexsort((medians, median_at))
    (high,) = _weighted(median_at[order], medians[order], np.ones(len(medians)), n, (0.9,))
    count = np.rint(np.bincount(at, weights=weight, minlength=n)).astype(np.int64)
    return _Past(q50[back], (q75 - q25)[back], high[back], count[back])


def _samples(keys: U64, d: Durations) -> tuple[I64, F64, F64, I64, F64]:
    """Of one segment: (index into ``keys``, value, weight) a sample, (index, median) a key."""
    out: list[tuple[I64, I64]] = []
    for column in (d.key, d.wide_key):
        at = np.minimum(np.searchsorted(keys, column), max(len(keys) - 1, 0))
        hit = np.flatnonzero(keys[at] == column) if len(keys) and len(column) else np.zeros(0, np.int64)
        out.append((at[hit], hit) if len(hit) else (np.zeros(0, np.int64), hit))
    index = np.concatenate([out[0][0], out[1][0]])
    hit = np.concatenate([out[0][1], out[1][1]])
    size = np.diff(d.offsets)[hit] if len(hit) else np.zeros(0, np.int64)
    begin = d.offsets[:-1][hit].astype(np.int64)
    where = np.repeat(begin - (np.cumsum(size) - size), size) + np.arange(int(size.sum()))
    weight = np.repeat(d.count[hit] / np.maximum(size, 1), size)
    counted = d.count[hit] >= MIN_SEGMENT_SPANS
    middle = (
        (d.values[begin + (size - 1) // 2] + d.values[begin + size // 2]) / 2.0 if len(hit) else np.zeros(0)
    )
    return (
        np.repeat(index, size),
        d.values[where].astype(np.float64),
        weight.astype(np.float64),
        index[counted],
        middle[counted].astype(np.float64),
    )


def _weighted(group: I64, value: F64, weight: F64, n: int, quantiles: tuple[float, ...]) -> list[F64]:
    """Weighted quantiles of each group 0..n-1 of values sorted by (group, value); NaN for an empty one."""
    total = np.bincount(group, weights=weight, minlength=n)
    before = np.cumsum(total) - total
    # Position of each value's middle on one axis on which group g covers [g, g + 1].
    position = group + (np.cumsum(weight) - weight / 2 - before[group]) / np.maximum(total[group], 1e-12)
    found = []
    for q in quantiles:
        at = np.searchsorted(position, np.arange(n) + q)
        low = np.clip(at - 1, 0, max(len(value) - 1, 0))
        high = np.clip(at, 0, max(len(value) - 1, 0))
        if not len(value):
            found.append(np.full(n, np.nan))
            continue
        same_low, same_high = group[low] == np.arange(n), group[high] == np.arange(n)
        a = np.where(same_low, value[low], value[high])
        b = np.where(same_high, value[high], a)
        result = np.where(same_low | same_high, (a + b) / 2, np.nan)
        found.append(np.where(total > 0, result, np.nan))
    return found


def _quantile(values: F64, first: I64, count: I64, q: float) -> F64:
    """Quantile ``q`` of runs of sorted values, interpolated."""
    if not len(first):
        return np.zeros(0)
    position = first + q * (count - 1)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, first + count - 1)
    found: F64 = values[low] + (values[high] - values[low]) * (position - low)
    return found
