"""OTLP metrics as samples of Prometheus series, batch by batch, for one tenant of one stream.

A row of a MetricBatch is known by its resource and its ``series_hash``; a table of kernels leads from there to
the canonical hash of the series. Python runs for series that are new, for native histograms and for exemplars.

Guarantees:

- what Prometheus 3 makes of the same body (names, labels, ``target_info``), but for two things: delta
  temporality is taken and becomes cumulative by adding up, and a zero threshold that a point brings is kept.
- the same batches in the same order give the same samples; there is no clock here.
- a series is defined in the batch that brings its first sample, and again after ``forget``. What has brought
  nothing between two calls of ``forget`` is let go of, with its running sum, so that memory stays bounded.
- rows that Prometheus has no series for are left out and counted in ``refused``, by reason.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import fields
from math import isnan

import numpy as np

from agent.telemetry.batch import (
    COMPONENT_COUNT,
    COMPONENT_PART,
    METRIC_EXP_HISTOGRAM,
    METRIC_HISTOGRAM,
    TEMPORALITY_DELTA,
    MetricBatch,
)
from agent.telemetry.frames import I32, I64
from agent.telemetry.labels import hash_labels
from agent.telemetry.otlp_prometheus_exemplars import NS_PER_MS, read_exemplars, rows_with_exemplars
from agent.telemetry.otlp_prometheus_labels import (
    Attributes,
    Family,
    Resource,
    Translation,
    Untranslatable,
    bounds_of,
    target_times,
)
from agent.telemetry.otlp_prometheus_native import Exponential, added, encode, read_point
from agent.telemetry.otlp_prometheus_output import Output
from agent.telemetry.otlp_prometheus_reader import RowReader
from agent.telemetry.otlp_prometheus_table import (
    NONE,
    Emitted,
    Entries,
    KeyTable,
    SeriesColumns,
    emit,
    hash_all,
    make_room,
    mix_scopes,
    raw_keys,
)
from agent.telemetry.samples import SampleBatch

REASONS = ("", "bad_metric_name", "bad_label_name", "unspecified_temporality", "series_limit")
ENTRIES_A_SERIES = 3  # rows that lead nowhere, and rows of several scopes that are one series


class OtlpSeries:
    """Belongs to one tenant: feed it the METRICS records of the log, in their order."""

    def __init__(self, max_series: int, translation: Translation | None = None) -> None:
        self._known = _Known(max_series, translation or Translation())

    def __len__(self) -> int:
        """How many series are known."""
        return len(self._known.series_table)

    @property
    def refused(self) -> Counter[str]:
        """Rows that became no sample, by reason."""
        return self._known.refused

    @property
    def nbytes(self) -> int:
        """What the tables hold, about."""
        known = self._known
        columns = (getattr(c, f.name) for c in (known.entries, known.series) for f in fields(c))
        held = sum(int(column.nbytes) for column in columns)
        return held + known.entry_table.nbytes + known.series_table.nbytes

    def translate(self, batch: MetricBatch, rows: I64, position: int = 0) -> SampleBatch:
        """The samples of these rows (ascending, none rejected). ``position`` goes into ``defined_since``."""
        return _Work(self._known, batch, rows, position).samples()

    def forget(self) -> None:
        """Define every series anew when it brings its next sample; those that have brought none since the
        last call are let go of."""
        self._known.forget()


class _Known:
    """What outlives a batch."""

    def __init__(self, max_series: int, translation: Translation) -> None:
        self.attributes, self._max_series = Attributes(translation), max_series
        self.entries, self.entry_table = Entries.empty(), KeyTable(ENTRIES_A_SERIES * max_series)
        self.series, self.series_table = SeriesColumns.empty(), KeyTable(max_series)
        self.native: dict[int, tuple[int, Exponential]] = {}  # by series: time and sum of its deltas
        self.resources: dict[int, Resource] = {}  # by the hash of their bytes
        self.targets: dict[int, int] = {}  # the series of their target_info, -1 for none
        self.families: dict[str, Family] = {}
        self.generation = 1
        self.refused: Counter[str] = Counter()

    def refuse(self, reason: str, count: int = 1) -> None:
        if count:
            self.refused[reason] += count

    def forget(self) -> None:
        used = self.series.defined[: len(self.series_table)] == self.generation
        place = np.where(used, np.cumsum(used) - 1, NONE).astype(np.int32)
        self._keep_entries(np.append(place, np.int32(NONE)))
        self.native = {int(place[s]): kept for s, kept in self.native.items() if place[s] >= 0}
        for f in fields(SeriesColumns):
            setattr(self.series, f.name, getattr(self.series, f.name)[: len(used)][used])
        self.series_table = KeyTable(self._max_series, self.series_table.keys[used])
        self.resources.clear()
        self.targets.clear()
        self.families.clear()
        self.generation += 1

    def _keep_entries(self, place: I32) -> None:
        """Keep the entries that lead to series, all of which stay; ``place`` has the new codes of these, and
        -1 at its end. Those that lead nowhere are made again when they are met."""
        n, entries = len(self.entry_table), self.entries
        kept, leads = np.ones(n, np.bool_), np.zeros(n, np.bool_)
        for name in ("first", "second", "native"):
            before = getattr(entries, name)[:n]
            after = place[before]
            kept &= (before < 0) | (after >= 0)
            leads |= after >= 0
            setattr(entries, name, after)
        kept &= leads
        for f in fields(Entries):
            setattr(entries, f.name, getattr(entries, f.name)[:n][kept])
        self.entry_table = KeyTable(ENTRIES_A_SERIES * self._max_series, self.entry_table.keys[kept])


class _Work:
    """One batch on its way; what it learns stays in ``known``."""

    def __init__(self, known: _Known, batch: MetricBatch, rows: I64, position: int) -> None:
        self._known, self._batch, self._rows, self._position = known, batch, rows, position
        self._of_block = np.empty(len(batch.block_off), np.uint64)
        self._reader = RowReader(batch, known.attributes, known.resources, self._of_block)
        self._out = Output()
        self._histogram_place: dict[int, int] = {}  # by row
        self._canonical: dict[int, bytes] = {}  # by series, of those that this batch made
        self._described = -1  # the metric whose family was looked at last

    def samples(self) -> SampleBatch:
        known, batch, rows = self._known, self._batch, self._rows
        code = self._codes()
        found = emit(batch, rows, code, known.entries, known.series, known.generation)
        known.refuse("late_delta", found.late)
        self._define(found.again, found.again_series)
        for place in found.native.tolist():
            self._add_native(int(rows[place]), int(known.entries.native[code[place]]))
        self._add_targets()
        self._add_exemplars(found)
        return self._out.batch(found, known.series_table.keys, self._position)

    def _codes(self) -> I32:
        """The entry of every row; new ones are made."""
        batch, known = self._batch, self._known
        keys = np.empty(len(self._rows), np.uint64)
        raw_keys(
            batch.raw, batch.resource_off, batch.resource_len, batch.block, batch.series_hash, self._rows,
            self._of_block, keys,
        )  # fmt: skip
        if known.attributes.translation.promote_scope:
            mix_scopes(
                batch.raw, batch.block_off, batch.block_len, batch.block, batch.metric_off, self._rows, keys
            )
        before = len(known.entry_table)
        code, fresh = known.entry_table.codes(keys)
        if len(fresh):
            self._make_entries(before, self._rows[fresh])
        known.refuse("series_limit", int((code < 0).sum()))
        reasons = np.bincount(known.entries.reason[code[code >= 0]], minlength=len(REASONS))
        for reason, count in zip(REASONS[1:], reasons[1:].tolist(), strict=True):
            known.refuse(reason, count)
        return code

    def _make_entries(self, before: int, rows: I64) -> None:
        """Entries ``before``, ``before + 1``, ... for rows whose keys are new."""
        entries, batch = self._known.entries, self._batch
        made = slice(before, before + len(rows))
        make_room(entries, made.stop)
        entries.first[made] = entries.second[made] = entries.native[made] = NONE
        entries.delta[made] = batch.temporality[rows] == TEMPORALITY_DELTA
        entries.reason[made] = 0
        native = batch.kind[rows] == METRIC_EXP_HISTOGRAM
        # The row of the count stands for the whole point.
        leading = np.flatnonzero(~native | (batch.component[rows] == COMPONENT_COUNT))
        self._reader.prefetch(rows[leading])
        places, slots, pieces = list[int](), list[int](), list[bytes]()
        for place, row in zip(leading.tolist(), rows[leading].tolist(), strict=True):
            try:
                found = self._reader.describe(row)
            except Untranslatable as refused:
                entries.reason[before + place] = REASONS.index(refused.reason)
                continue
            for slot, canonical in enumerate(found):
                places.append(place)
                slots.append(slot)
                pieces.append(canonical)
        codes, place_of, slot_of = self._series_of(pieces), np.asarray(places, np.int64), np.asarray(slots)
        entry_of, is_native = before + place_of, native[place_of]
        entries.native[entry_of[is_native]] = codes[is_native]
        for slot, column in enumerate((entries.first, entries.second)):
            chosen = ~is_native & (slot_of == slot)
            column[entry_of[chosen]] = codes[chosen]
        entries.reason[entry_of[codes == NONE]] = REASONS.index("series_limit")

    def _series_of(self, pieces: list[bytes]) -> I32:
        """The codes of series by their canonical labels; -1 where there is no room."""
        hashes = np.empty(len(pieces), np.uint64)
        ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        hash_all(np.frombuffer(b"".join(pieces), np.uint8), ends, hashes)
        codes, _ = self._known.series_table.codes(hashes)
        make_room(self._known.series, len(self._known.series_table))
        self._canonical.update(zip(codes.tolist(), pieces, strict=True))
        return codes

    def _define(self, rows: I64, series: I32) -> None:
        """Give the labels of series, each of which a row leads to, and the metadata of their metrics."""
        hashes = self._known.series_table.keys[series].tolist()
        codes = series.tolist()
        unread = [i for i, code in enumerate(codes) if code not in self._canonical]
        if unread:
            self._reader.prefetch(np.unique(rows[unread]))
        for row, code, wanted in zip(rows.tolist(), codes, hashes, strict=True):
            canonical = self._canonical.get(code)
            if canonical is None:
                canonical = next(c for c in self._reader.describe(row) if hash_labels(c) == wanted)
            self._out.define(wanted, canonical)
            self._describe_family(row)

    def _describe_family(self, row: int) -> None:
        metric = int(self._batch.metric_off[row])
        if metric != self._described:
            self._described = metric
            family = self._reader.family(row)
            if self._known.families.get(family.name) != family:
                self._known.families[family.name] = family
                self._out.describe(family)

    def _is_defined(self, series: int) -> bool:
        """Whether it is in this generation; it is taken to be from now on."""
        known = self._known
        before, known.series.defined[series] = int(known.series.defined[series]), known.generation
        return before == known.generation

    def _add_native(self, row: int, series: int) -> None:
        known, batch = self._known, self._batch
        time_ns = int(batch.time_ns[row])
        histogram = read_point(self._message(row))
        if histogram is None:
            known.refuse("scale_too_coarse")
            return
        if batch.temporality[row] == TEMPORALITY_DELTA:
            last_ns, total = known.native.get(series, (0, None))
            if time_ns <= last_ns:
                known.refuse("late_delta")
                return
            if not histogram.stale:
                histogram = histogram if total is None else added(total, histogram)
                known.native[series] = time_ns, histogram
        if not self._is_defined(series):
            self._define(np.asarray([row]), np.asarray([series], np.int32))
        time_ms = time_ns // NS_PER_MS
        self._histogram_place[row] = self._out.histogram(series, time_ms, encode(histogram, time_ms))

    def _add_targets(self) -> None:
        """``target_info`` of the resources in the batch."""
        batch, rows = self._batch, self._rows
        if not len(rows) or not self._known.attributes.translation.target_info:
            return
        starts = np.flatnonzero(np.diff(batch.block[rows], prepend=-1))
        first = np.minimum.reduceat(batch.time_ns[rows], starts) // NS_PER_MS
        last = np.maximum.reduceat(batch.time_ns[rows], starts) // NS_PER_MS
        blocks = batch.block[rows[starts]].tolist()
        for block, first_ms, last_ms in zip(blocks, first.tolist(), last.tolist(), strict=True):
            labels = self._reader.resource(block).target
            series = self._target_series(int(self._of_block[block]), labels) if labels else NONE
            if series == NONE:
                continue
            if not self._is_defined(series):
                self._out.define(int(self._known.series_table.keys[series]), labels)
            self._out.target(series, target_times(first_ms, last_ms))

    def _target_series(self, resource: int, labels: bytes) -> int:
        known = self._known
        if resource not in known.targets:
            known.targets[resource] = int(self._series_of([labels])[0])
            known.refuse("series_limit", known.targets[resource] == NONE)
        return known.targets[resource]

    def _add_exemplars(self, found: Emitted) -> None:
        batch = self._batch
        rows = np.empty(len(self._rows), np.int64)
        n = rows_with_exemplars(
            batch.raw, self._rows, batch.kind, batch.component, batch.point_off, batch.point_len, rows
        )
        for row in rows[:n].tolist():
            message, kind = self._message(row), int(batch.kind[row])
            bounds = bounds_of(message) if kind == METRIC_HISTOGRAM else []
            for exemplar in read_exemplars(message, kind):
                if bounds and isnan(exemplar.value):
                    continue  # of no bucket
                at = self._exemplar_series(found, row, bisect_left(bounds, exemplar.value), len(bounds))
                if at is not None:
                    self._out.exemplar(at, exemplar)

    def _exemplar_series(self, found: Emitted, row: int, bucket: int, buckets: int) -> int | None:
        """The row of ``series_hash`` that an exemplar of a point belongs to: its bucket, where there are any."""
        kind = int(self._batch.kind[row])
        if kind == METRIC_EXP_HISTOGRAM:
            place = self._histogram_place.get(row)
            return None if place is None else len(found.row) + place
        wanted = row
        if bucket < buckets - 1:
            wanted += 1 + bucket
            if self._batch.component[row + 1] != COMPONENT_PART:
                wanted += 1  # the sum lies between
        first, stop = np.searchsorted(found.row, (wanted, wanted + 1)).tolist()
        # The row of a histogram's count gives its count and then its last bucket, where both have room.
        samples = 2 if kind == METRIC_HISTOGRAM and wanted == row else 1
        return stop - 1 if stop - first == samples else None

    def _message(self, row: int) -> bytes:
        off = int(self._batch.point_off[row])
        return self._batch.raw[off : off + int(self._batch.point_len[row])].tobytes()
