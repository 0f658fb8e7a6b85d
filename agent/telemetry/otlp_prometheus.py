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

from collections import Counter
from dataclasses import fields

import numpy as np

from agent.telemetry.batch import (
    COMPONENT_COUNT,
    COMPONENT_PART,
    METRIC_EXP_HISTOGRAM,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
    METRIC_SUMMARY,
    TEMPORALITY_DELTA,
    TEMPORALITY_UNSPECIFIED,
    MetricBatch,
)
from agent.telemetry.frames import I32, I64
from agent.telemetry.labels import METRIC_NAME, encode_labels, hash_labels, labels_of
from agent.telemetry.otlp_attributes import text
from agent.telemetry.otlp_prometheus_exemplars import NS_PER_MS, read_exemplars, rows_with_exemplars
from agent.telemetry.otlp_prometheus_labels import (
    NO_SCOPE,
    Family,
    Point,
    Resource,
    Scope,
    Translation,
    Untranslatable,
    family_of,
    instrument_of,
    resource_of,
    scope_of,
    target_times,
)
from agent.telemetry.otlp_prometheus_native import Exponential, added, encode, read_point
from agent.telemetry.otlp_prometheus_output import Output
from agent.telemetry.otlp_prometheus_table import (
    NONE,
    Emitted,
    Entries,
    KeyTable,
    SeriesColumns,
    emit,
    find_scope,
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
        self.translation, self._max_series = translation, max_series
        self.entries, self.entry_table = Entries.empty(), KeyTable(ENTRIES_A_SERIES * max_series)
        self.series, self.series_table = SeriesColumns.empty(), KeyTable(max_series)
        self.native: dict[int, tuple[int, Exponential]] = {}  # by series: time and sum of its deltas
        self.resources: dict[int, tuple[Resource, int, bytes]] = {}
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
        self._out = Output()
        self._histogram_place: dict[int, int] = {}  # by row
        self._canonical: dict[int, bytes] = {}
        self._last_point: tuple[int, Point] | None = None
        self._last_family: tuple[int, Family] | None = None

    def samples(self) -> SampleBatch:
        known, batch, rows = self._known, self._batch, self._rows
        code = self._codes()
        found = emit(batch, rows, code, known.entries, known.series, known.generation)
        known.refuse("late_delta", found.late)
        for row, series in zip(found.again.tolist(), found.again_series.tolist(), strict=True):
            self._define_from_row(row, series)
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
        if known.translation.promote_scope:
            mix_scopes(
                batch.raw, batch.block_off, batch.block_len, batch.block, batch.metric_off, self._rows, keys
            )
        before = len(known.entry_table)
        code, fresh = known.entry_table.codes(keys)
        make_room(known.entries, len(known.entry_table))
        for entry, row in enumerate(self._rows[fresh].tolist(), before):
            self._make_entry(entry, row)
        known.refuse("series_limit", int((code < 0).sum()))
        reasons = np.bincount(known.entries.reason[code[code >= 0]], minlength=len(REASONS))
        for reason, count in zip(REASONS[1:], reasons[1:].tolist(), strict=True):
            known.refuse(reason, count)
        return code

    def _make_entry(self, entry: int, row: int) -> None:
        entries, batch = self._known.entries, self._batch
        entries.first[entry] = entries.second[entry] = entries.native[entry] = NONE
        entries.delta[entry] = batch.temporality[row] == TEMPORALITY_DELTA
        entries.reason[entry] = 0
        kind, component = int(batch.kind[row]), int(batch.component[row])
        if kind == METRIC_EXP_HISTOGRAM and component != COMPONENT_COUNT:
            return  # the row of the count stands for the whole point
        try:
            codes = [self._code(canonical) for canonical in self._describe(row)]
        except Untranslatable as refused:
            entries.reason[entry] = REASONS.index(refused.reason)
            return
        if kind == METRIC_EXP_HISTOGRAM:
            entries.native[entry] = codes[0]
        else:
            for column, code in zip((entries.first, entries.second), codes, strict=False):
                column[entry] = code

    def _describe(self, row: int) -> list[bytes]:
        """The canonical labels of the series that a row leads to. Raises Untranslatable."""
        batch = self._batch
        kind, component = int(batch.kind[row]), int(batch.component[row])
        if kind not in (METRIC_GAUGE, METRIC_SUMMARY) and batch.temporality[row] == TEMPORALITY_UNSPECIFIED:
            raise Untranslatable("unspecified_temporality")
        family, point = self._family(row), self._point(row)
        suffix, more = point.part(component)
        if kind == METRIC_HISTOGRAM and component >= COMPONENT_PART and more["le"] == "+Inf":
            return []  # the count says it
        base = point.base(self._resource(int(batch.block[row]))[0], self._scope(row))
        names = [(suffix, more)]
        if kind == METRIC_HISTOGRAM and component == COMPONENT_COUNT:
            names.append(("_bucket", {"le": "+Inf"}))
        return [
            encode_labels(labels_of({**base, **more, METRIC_NAME: family.name + suffix}))
            for suffix, more in names
        ]

    def _code(self, canonical: bytes) -> int:
        """The code of a series. Raises Untranslatable where there is no room for it."""
        known = self._known
        code = int(known.series_table.codes(np.asarray([hash_labels(canonical)], np.uint64))[0][0])
        if code == NONE:
            raise Untranslatable("series_limit")
        make_room(known.series, len(known.series_table))
        self._canonical[code] = canonical
        return code

    def _define_from_row(self, row: int, series: int) -> None:
        canonical = self._canonical.get(series)
        if canonical is None:
            wanted = int(self._known.series_table.keys[series])
            canonical = next(c for c in self._describe(row) if hash_labels(c) == wanted)
        self._put_definition(series, canonical)
        family = self._family(row)
        if self._known.families.get(family.name) != family:
            self._known.families[family.name] = family
            self._out.describe(family)

    def _put_definition(self, series: int, canonical: bytes) -> None:
        self._known.series.defined[series] = self._known.generation
        self._out.define(int(self._known.series_table.keys[series]), canonical)

    def _add_native(self, row: int, series: int) -> None:
        known, batch = self._known, self._batch
        off, time_ns = int(batch.point_off[row]), int(batch.time_ns[row])
        histogram = read_point(batch.raw[off : off + int(batch.point_len[row])].tobytes())
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
        if known.series.defined[series] != known.generation:
            self._define_from_row(row, series)
        time_ms = time_ns // NS_PER_MS
        message = encode(histogram, time_ms)
        self._histogram_place[row] = self._out.histogram(series, time_ms, message)

    def _add_targets(self) -> None:
        """``target_info`` of the resources in the batch."""
        batch, rows = self._batch, self._rows
        if not len(rows) or not self._known.translation.target_info:
            return
        starts = np.flatnonzero(np.diff(batch.block[rows], prepend=-1))
        first = np.minimum.reduceat(batch.time_ns[rows], starts) // NS_PER_MS
        last = np.maximum.reduceat(batch.time_ns[rows], starts) // NS_PER_MS
        blocks = batch.block[rows[starts]].tolist()
        for block, first_ms, last_ms in zip(blocks, first.tolist(), last.tolist(), strict=True):
            _, series, canonical = self._resource(block)
            if series != NONE:
                if self._known.series.defined[series] != self._known.generation:
                    self._put_definition(series, canonical)
                self._out.target(series, target_times(first_ms, last_ms).tolist())

    def _add_exemplars(self, found: Emitted) -> None:
        batch = self._batch
        rows = np.empty(len(self._rows), np.int64)
        n = rows_with_exemplars(
            batch.raw, self._rows, batch.kind, batch.component, batch.point_off, batch.point_len, rows
        )
        for row in rows[:n].tolist():
            off = int(batch.point_off[row])
            point = batch.raw[off : off + int(batch.point_len[row])].tobytes()
            for exemplar in read_exemplars(point, int(batch.kind[row])):
                at = self._exemplar_series(found, row, exemplar.value)
                if at is not None:
                    self._out.exemplar(at, exemplar)

    def _exemplar_series(self, found: Emitted, row: int, value: float) -> int | None:
        """The row of ``series_hash`` that an exemplar belongs to: its bucket, where there are buckets."""
        batch = self._batch
        kind = int(batch.kind[row])
        if kind == METRIC_EXP_HISTOGRAM:
            place = self._histogram_place.get(row)
            return None if place is None else len(found.row) + place
        wanted = row
        if kind == METRIC_HISTOGRAM:
            bounds = self._point(row).bounds()
            bucket = next((i for i, bound in enumerate(bounds) if value <= bound), len(bounds) - 1)
            if bucket < len(bounds) - 1:
                wanted += 1 + bucket
                if batch.component[row + 1] != COMPONENT_PART:
                    wanted += 1  # the sum lies between
        at = int(np.searchsorted(found.row, wanted))
        if at == len(found.row) or found.row[at] != wanted:
            return None
        return at + 1 if kind == METRIC_HISTOGRAM and wanted == row else at

    def _family(self, row: int) -> Family:
        metric = int(self._batch.metric_off[row])
        if self._last_family is None or self._last_family[0] != metric:
            strategy = self._known.translation.strategy
            self._last_family = metric, family_of(*instrument_of(self._batch, row), strategy)
        return self._last_family[1]

    def _point(self, row: int) -> Point:
        off = int(self._batch.point_off[row])
        if self._last_point is None or self._last_point[0] != off:
            self._last_point = off, Point(self._batch, row, self._known.translation)
        return self._last_point[1]

    def _resource(self, block: int) -> tuple[Resource, int, bytes]:
        """A resource with the series of its ``target_info`` (-1: it has none) and that one's labels."""
        key = int(self._of_block[block])
        found = self._known.resources.get(key)
        if found is None:
            off, length = int(self._batch.resource_off[block]), int(self._batch.resource_len[block])
            resource = resource_of(self._batch.raw, off, length, self._known.translation)
            series, canonical = NONE, b""
            if resource.target is not None:
                canonical = encode_labels(resource.target)
                try:
                    series = self._code(canonical)
                except Untranslatable:
                    self._known.refuse("series_limit")
            found = self._known.resources[key] = resource, series, canonical
        return found

    def _scope(self, row: int) -> Scope:
        if not self._known.translation.promote_scope:
            return NO_SCOPE
        batch, block = self._batch, int(self._batch.block[row])
        off = int(batch.block_off[block])
        end = off + int(batch.block_len[block])
        scope, size, url, url_size, _ = find_scope(batch.raw, off, end, int(batch.metric_off[row]))
        return scope_of(
            batch.raw[scope : scope + size].tobytes(),
            text(batch.raw[url : url + url_size].tobytes()),
            self._known.translation,
        )
