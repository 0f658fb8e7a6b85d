"""What is learned of a stretch of normal time: counts and a few order statistics a key.

A segment is a handful of sorted arrays named by 64-bit hashes, some tens of kilobytes for fifty
services, so that hours of them can be kept, saved and looked up fast.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba as nb
import numpy as np
import numpy.typing as npt

from agent.rootcause.hashing import hash_text, hash_texts, mix_columns
from agent.rootcause.metrics import Samples
from agent.rootcause.sequences import Transitions, owners_of_logs, transitions
from agent.rootcause.trees import Callees, Places, PlaceTable, Trees, build_trees
from agent.telemetry.frames import I32, I64, U64, Bool, Telemetry

F32 = npt.NDArray[np.float32]

MAX_ORDER_STATISTICS = 16


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of telemetry made ready: trees, who owns each log line, which template it is of."""

    telemetry: Telemetry
    places: Places
    place_hash: U64
    service_hash: U64
    trees: Trees
    log_owner: I32
    log_place: I32
    log_template: U64

    def transitions(self, skip_logs: Bool) -> Transitions:
        return transitions(self.trees, self.log_owner, self.telemetry.logs, self.log_template, skip_logs)


def prepare(telemetry: Telemetry, template_of_text: U64, known: Callees) -> Stretch:
    """``template_of_text`` names the template of each entry of the log frame's table; ``known`` what
    is called from where."""
    table = PlaceTable()
    log_places = table.codes(telemetry.logs.sources)
    for series in telemetry.metrics.series:
        table.code(series.source.service, series.source.instance)
    trees = build_trees(telemetry.spans, table, telemetry.end_ns, known)
    logs, spans = telemetry.logs, telemetry.spans
    ids = (spans.trace_hi[trees.frame_row], spans.trace_lo[trees.frame_row], spans.span_id[trees.frame_row])
    places = table.places()
    return Stretch(
        telemetry=telemetry,
        places=places,
        place_hash=np.fromiter(map(place_hash, places.services, places.instances), np.uint64),
        service_hash=hash_texts(places.services),
        trees=trees,
        log_owner=owners_of_logs(trees, ids, logs),
        log_place=log_places[logs.source] if len(logs) else np.zeros(0, np.int32),
        log_template=template_of_text[logs.template] if len(logs) else np.zeros(0, np.uint64),
    )


def place_hash(service: str, instance: str) -> int:
    return hash_text(f"{service}\x1f{instance}")


@dataclass(frozen=True, slots=True)
class Counts:
    """Sorted keys and how often each was seen."""

    key: U64
    count: I32

    @staticmethod
    def of(keys: U64) -> Counts:
        key, count = np.unique(keys, return_counts=True)
        return Counts(key, count.astype(np.int32))

    def most(self, limit: int) -> Counts:
        """At most ``limit`` keys, the most frequent."""
        if len(self.key) <= limit:
            return self
        rows = np.sort(np.argsort(-self.count, kind="stable")[:limit])
        return Counts(self.key[rows], self.count[rows])

    def look_up(self, keys: U64) -> I32:
        """The count of each of ``keys``; 0 for what was not seen."""
        if not len(self.key):
            return np.zeros(len(keys), np.int32)
        at = np.minimum(np.searchsorted(self.key, keys), len(self.key) - 1)
        return np.where(self.key[at] == keys, self.count[at], 0).astype(np.int32)


@dataclass(frozen=True, slots=True)
class Durations:
    """Order statistics of durations (ns), a key: ``values[offsets[i]:offsets[i + 1]]``, sorted, stand for
    ``count[i]`` spans. ``key`` names the instance, ``wide_key`` its service; sorted by ``key``."""

    key: U64
    wide_key: U64
    count: I32
    offsets: I32
    values: F32

    @staticmethod
    def of(key: U64, wide_key: U64, duration_ns: I64) -> Durations:
        order = np.lexsort((duration_ns, key))
        keys, wide, count, offsets, values = _thin(
            key[order], wide_key[order], duration_ns[order], MAX_ORDER_STATISTICS
        )
        return Durations(keys, wide, count, offsets, values)


@dataclass(frozen=True, slots=True)
class Segment:
    """Digest of ``[start_ns, end_ns)``."""

    start_ns: int
    end_ns: int
    places: U64  # who sent spans
    spans_of_service: Counts
    logged_of_service: Counts  # spans with at least one line of their own
    transition: Counts  # with log lines in the sequences
    context: Counts
    bare_transition: Counts  # without
    bare_context: Counts
    self_time: Durations
    edge_time: Durations
    lines: Counts  # log templates, a service
    series: U64  # metric series, sorted
    wide_series: U64  # the same, named for any instance
    level: F32  # mean of each in this segment

    def lines_of(self, service: np.uint64, template: U64) -> I32:
        """How often a service logged each of the templates."""
        return self.lines.look_up(mix_columns(np.full(len(template), service), template))


def digest(
    stretch: Stretch, samples: Samples, bounds: Sequence[tuple[int, int]], max_keys: int
) -> list[Segment]:
    """Digests of the parts of ``stretch`` that ``bounds`` name: spans that start in ``[start, end)``.

    No more than ``max_keys`` transitions and durations of a kind are kept, the most frequent first."""
    trees = stretch.trees
    none = np.zeros(len(trees), np.bool_)
    full, bare = stretch.transitions(none), stretch.transitions(~none)
    logged = logged_spans(stretch)
    self_rows, edge_rows = self_keys(stretch), edge_keys(stretch)
    # By the sender's own clock: the aligned one may lie outside the stretch.
    start = trees.start_ns - trees.shift_ns
    lines = mix_columns(stretch.service_hash[stretch.log_place], stretch.log_template)
    found = []
    for begin, end in bounds:
        inside = (start >= begin) & (start < end)
        at_full, at_bare = inside[full.span], inside[bare.span]
        log_time = stretch.telemetry.logs.time_ns
        series, wide_series, level = samples.means(begin, end)
        segment = Segment(
            start_ns=begin,
            end_ns=end,
            places=np.unique(stretch.place_hash[trees.place[inside]]),
            spans_of_service=Counts.of(trees.service[inside]),
            logged_of_service=Counts.of(trees.service[inside & logged]),
            transition=Counts.of(full.key[at_full]).most(max_keys),
            context=Counts.of(full.context[at_full]).most(max_keys),
            bare_transition=Counts.of(bare.key[at_bare]).most(max_keys),
            bare_context=Counts.of(bare.context[at_bare]).most(max_keys),
            self_time=_durations(self_rows, inside, trees.self_ns),
            edge_time=_durations(edge_rows, inside, trees.self_ns),
            lines=Counts.of(lines[(log_time >= begin) & (log_time < end)]).most(max_keys),
            series=series,
            wide_series=wide_series,
            level=level,
        )
        found.append(segment)
    return found


def _durations(keyed: tuple[I64, U64, U64], inside: Bool, duration_ns: I64) -> Durations:
    rows, near, wide = keyed
    keep = inside[rows]
    return Durations.of(near[keep], wide[keep], duration_ns[rows[keep]])


def logged_spans(stretch: Stretch) -> Bool:
    logged = np.zeros(len(stretch.trees), np.bool_)
    logged[stretch.log_owner[stretch.log_owner >= 0]] = True
    return logged


def self_keys(stretch: Stretch) -> tuple[I64, U64, U64]:
    """Rows whose self time is their own (not an edge), and their instance and service keys."""
    trees = stretch.trees
    rows = np.flatnonzero((trees.callee < 0) & trees.whole)
    place = trees.place[rows]
    work = trees.work[rows]
    return (
        rows,
        mix_columns(stretch.place_hash[place], work),
        mix_columns(stretch.service_hash[place], work),
    )


def edge_keys(stretch: Stretch) -> tuple[I64, U64, U64]:
    """Rows that only call another place, and keys of (caller, callee, operation called)."""
    trees = stretch.trees
    rows = np.flatnonzero((trees.callee >= 0) & trees.whole)
    caller, callee = trees.place[rows], trees.callee[rows]
    what = trees.called_operation[rows]
    near = mix_columns(mix_columns(stretch.place_hash[caller], stretch.place_hash[callee]), what)
    wide = mix_columns(mix_columns(stretch.service_hash[caller], stretch.service_hash[callee]), what)
    return rows, near, wide


@nb.njit(cache=True, nogil=True)
def _thin(key, wide_key, value, most):  # type: ignore[no-untyped-def]
    """At most ``most`` evenly spaced order statistics of each run of equal keys."""
    n, runs = len(key), 0
    for i in range(n):
        runs += i == 0 or key[i] != key[i - 1]
    keys = np.empty(runs, np.uint64)
    wide = np.empty(runs, np.uint64)
    count = np.empty(runs, np.int32)
    offsets = np.zeros(runs + 1, np.int32)
    values = np.empty(n, np.float32)
    filled, run, i = 0, 0, 0
    while i < n:
        end = i
        while end < n and key[end] == key[i]:
            end += 1
        size = end - i
        keys[run], wide[run], count[run] = key[i], wide_key[i], size
        kept = min(size, most)
        for k in range(kept):
            values[filled] = value[i + ((2 * k + 1) * size) // (2 * kept)]
            filled += 1
        run += 1
        offsets[run] = filled
        i = end
    return keys, wide, count, offsets, values[:filled].copy()
