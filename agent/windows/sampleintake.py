"""Remote write requests in, log records out: what the gateway does with samples, free of transport.

Guarantee: a sample that was acknowledged lies in the log of its stream behind, or together with, a definition
of its series that is at ``defined_since`` or later; and no sample is taken for a duplicate of one that is not
durable. Series are defined and last samples are moved on when a record is made, before it is durable, so this
holds under three conditions, which the caller keeps:

1. Records are written in the order in which ``take`` made them, by one writer.
2. When one cannot be written, every record made after it is refused as well, and ``forget`` is called before
   the next ``take``: all series are then new, defined again at their next sample, without a last sample.
3. A request is acknowledged after all records made before its own, also when it brought only samples that
   were known already.

``positions`` are how far the logs are durable, so that a generation of definitions begins at or before the
record that holds its first one. Not thread-safe.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.errors import BadInput
from agent.settings import GatewaySettings
from agent.telemetry.frames import I32, I64, Bool
from agent.telemetry.remote_write import Packed, Scan, Version
from agent.telemetry.remote_write_labels import Fault, canonical
from agent.telemetry.remote_write_scan import TEXT_LEN
from agent.telemetry.samples import SAMPLES, SampleBatch, sample_columns
from agent.windows import record
from agent.windows.admission import (
    COUNT_COLUMNS,
    DEFINE_ROOM,
    SAMPLE_ROOM,
    SERIES_ROOM,
    Columns,
    admit,
    measure,
    note_faults,
)
from agent.windows.expresslane import ExpressLane
from agent.windows.hashindex import SeenSet
from agent.windows.refusals import Outcome, outcome
from agent.windows.sampleparts import NO_PARTS, SEEN_METADATA, Parts, judge_parts
from agent.windows.seriestable import GENERATION_MASK, TICK_MASK, TICK_S, SeriesTable
from agent.windows.sourcerate import SourceRate

Buffers = list[bytes | memoryview]

GENERATION_BYTES = 64 << 20  # a generation lasts until the log has grown by this, or
GENERATION_RATIO = 4  # by so many times its definitions, whichever is more
MAX_BODIES = 64  # of one call
IDLE_NS = 3600 * 10**9  # a tenant that sent nothing for so long is forgotten when another comes


@dataclass(frozen=True, slots=True)
class Taken:
    """``writes`` are records to make durable, in this order; ``outcomes`` what became of each body."""

    writes: tuple[tuple[int, Buffers], ...]
    outcomes: tuple[Outcome, ...]


class _Tenant:
    """The series of a tenant, and for each stream the generation of its definitions."""

    def __init__(self, name: str, streams: int, settings: GatewaySettings, positions: Sequence[int]) -> None:
        rate = settings.max_rows_per_source_per_s
        self.rate = SourceRate(rate) if rate else None
        self.table = SeriesTable(
            name, streams, settings.max_series, settings.max_series_per_source, rated=rate > 0
        )
        self.generations = np.ones(streams, np.int64)
        self.since = np.asarray(positions, np.int64)
        self.defined_bytes = np.zeros(streams, np.int64)
        self.metadata = SeenSet(SEEN_METADATA)
        self.last_ns = 0

    def turn(self, positions: Sequence[int]) -> None:
        """Begin a new generation in the streams whose logs have grown enough."""
        now = np.asarray(positions, np.int64)
        due = now - self.since > np.maximum(GENERATION_BYTES, GENERATION_RATIO * self.defined_bytes)
        if due.any():
            self.generations[due] = self.generations[due] % GENERATION_MASK + 1  # 0 is: not defined
            self.since[due] = now[due]
            self.defined_bytes[due] = 0


@dataclass(frozen=True, slots=True)
class _Group:
    """What the bodies of one call are judged by, and what is counted of them (``agent.windows.admission``)."""

    tenant: _Tenant
    now_ns: int
    counts: I64
    examples: I64


class SampleIntake:
    def __init__(self, settings: GatewaySettings, streams: int) -> None:
        self._settings = settings
        self._streams = streams
        self._label_limits = np.asarray(
            [settings.max_labels, settings.max_name_bytes, settings.max_label_value_bytes], np.int64
        )
        self._scan = Scan(settings.max_decoded_bytes)
        self._lane = ExpressLane(streams)
        self._tenants: dict[str, _Tenant] = {}

    def forget(self) -> None:
        """Know no series any more: a record could not be written."""
        self._tenants.clear()

    @property
    def series(self) -> int:
        return sum(len(tenant.table) for tenant in list(self._tenants.values()))

    def take(self, tenant: str, bodies: Iterable[Packed], now_ns: int, positions: Sequence[int]) -> Taken:
        """The records for bodies of one tenant, at most MAX_BODIES, which may still be on their way. What is refused is
        told in the outcome of its body."""
        known = self._tenant(tenant, now_ns, positions)
        group = _Group(
            known,
            now_ns,
            np.zeros((MAX_BODIES, COUNT_COLUMNS), np.int64),
            np.full((2, MAX_BODIES, len(Fault)), -1, np.int64),
        )
        came, refused = self._read(group, bodies)
        writes = list(self._usual_records(group, tenant))
        owed = None
        if len(self._scan.hashes) or self._scan.parts.shape[1]:
            rest, owed = self._general_records(group, tenant, came)
            writes += rest
        outcomes = [
            outcome(self._scan, group.counts[number], group.examples[:, number], refused.get(number))
            for number in range(len(came))
        ]
        if known.rate and owed is not None:
            outcomes = known.rate.remember(self._scan, came, outcomes, owed)
        return Taken(tuple(writes), tuple(outcomes))

    def _read(self, group: _Group, bodies: Iterable[Packed]) -> tuple[list[Packed], dict[int, BadInput]]:
        """Take what is usual, up to the first series that is not, and scan the rest; the bodies, and those of them that
        are refused."""
        scan, lane, known = self._scan, self._lane, group.tenant
        scan.clear()
        lane.clear()
        came: list[Packed] = []
        refused: dict[int, BadInput] = {}
        usual = known.rate is None  # else each series may be one too many
        bounds, now_s = self._bounds(group.now_ns), group.now_ns // 10**9
        for number, packed in enumerate(bodies):
            came.append(packed)
            counts, on_lane = group.counts[number], False
            try:
                start, end = scan.unpack(packed)
                at = start
                on_lane = usual and packed.version is Version.V1
                if on_lane:
                    at = lane.take(
                        scan.text, start, end, known.table, known.generations, now_s, bounds, counts
                    )
                if at < end or not on_lane:
                    usual = False
                    scan.add_unpacked(packed.version, number, start, end, at)
            except BadInput as error:
                refused[number] = error
                if on_lane:
                    lane.undo(known.table, counts)
        return came, refused

    def _usual_records(self, group: _Group, tenant: str) -> Iterator[tuple[int, Buffers]]:
        """What went through the lane. It comes before all that did not."""
        for stream in range(self._streams):
            rows = self._lane.samples(stream)
            if rows:
                columns = self._lane.columns(stream, group.tenant.since[stream : stream + 1])
                yield stream, record.encode(SAMPLES, tenant, rows, group.now_ns, columns)

    def _general_records(
        self, group: _Group, tenant: str, bodies: Sequence[Packed]
    ) -> tuple[list[tuple[int, Buffers]], Bool | None]:
        """What is scanned, and which of its series are left for the rate of their sources."""
        scan, known = self._scan, group.tenant
        rate = known.rate
        settled = rate.settled(scan, bodies) if rate else None
        slots = self._slots(group, settled)
        owed = (
            rate.limit(known.table, scan, slots, group.now_ns, group.counts, group.examples) if rate else None
        )
        columns = self._admit(group, slots)
        histograms = np.zeros(len(columns.series_hash), np.int32)
        parts = self._parts(group, slots, columns, histograms) if scan.parts.shape[1] else None
        writes = []
        for stream in range(self._streams):
            part = parts.of(stream, columns.raw_of(stream)) if parts and stream in parts.streams else {}
            if part or columns.used[SERIES_ROOM, stream]:
                batch = self._batch(known, columns, histograms, stream, part)
                encoded = record.encode(SAMPLES, tenant, len(batch), group.now_ns, sample_columns(batch))
                writes.append((stream, encoded))
        return writes, owed

    def _tenant(self, name: str, now_ns: int, positions: Sequence[int]) -> _Tenant:
        found = self._tenants.get(name)
        if found is None:
            since_ns = now_ns - IDLE_NS
            self._tenants = {key: one for key, one in self._tenants.items() if one.last_ns > since_ns}
            found = self._tenants[name] = _Tenant(name, self._streams, self._settings, positions)
        found.last_ns = now_ns
        found.turn(positions)
        return found

    def _slots(self, group: _Group, settled: Bool | None) -> I64:
        """The slots of the scanned series; those that are new are entered, if they are in order. A series that is
        settled has none."""
        scan, known = self._scan, group.tenant
        slots = np.empty(len(scan.hashes), np.int64)
        unknown = known.table.locate(scan.hashes, known.generations, slots)
        if settled is not None:
            unknown = unknown[~settled[unknown]]
        if len(unknown):
            self._enter(group, unknown, slots)
        if settled is not None:
            slots[settled] = -1
        return slots

    def _enter(self, group: _Group, unknown: I64, slots: I64) -> None:
        scan, known = self._scan, group.tenant
        scan.make_text_room(int(scan.series[TEXT_LEN, unknown].sum()))
        raw_hashes, place = np.empty((2, len(unknown)), np.uint64)
        faults = np.zeros(len(unknown), np.uint8)
        canonical(
            scan.text, unknown, scan.series, scan.hashes, raw_hashes, place, faults, self._label_limits,
            scan.cursor, known.table.seed,
        )  # fmt: skip
        known.table.register(scan.hashes, raw_hashes, place, unknown, faults, group.now_ns // 10**9)
        known.table.locate(scan.hashes, known.generations, slots)
        slots[unknown[faults != 0]] = -1
        note_faults(unknown, faults, scan.series, group.counts, group.examples)

    def _bounds(self, now_ns: int) -> I64:
        settings, now_ms = self._settings, now_ns // 10**6
        return np.asarray(
            [
                now_ms - int(settings.max_past_s * 1000),
                now_ms + int(settings.max_future_s * 1000),
                int(settings.out_of_order_s * 1000),
            ],
            np.int64,
        )

    def _admit(self, group: _Group, slots: I64) -> Columns:
        scan, known = self._scan, group.tenant
        room = np.zeros((4, self._streams), np.int64)
        measure(known.table.rows, slots, scan.series, known.generations, room)
        out = Columns.for_room(room, len(slots))
        admit(
            known.table.rows, slots, known.generations,
            np.uint64(group.now_ns // 10**9 // TICK_S & TICK_MASK), self._bounds(group.now_ns),
            scan.text, scan.series, scan.time_ms, scan.bits, group.counts, group.examples,
            out.base, out.used, out.series_hash, out.sample_count, out.time_ms, out.bits,
            out.define_hash, out.define_at, out.raw, out.row,
        )  # fmt: skip
        return out

    def _parts(self, group: _Group, slots: I64, out: Columns, histograms: I32) -> Parts:
        scan, known = self._scan, group.tenant
        owners = np.empty(scan.parts.shape[1], np.int64)
        judge_parts(
            known.table.rows, slots, self._bounds(group.now_ns), scan.text, scan.series, scan.parts,
            group.counts, group.examples, out.base, out.row, histograms, owners,
        )  # fmt: skip
        parts = Parts(scan, owners, out.row)
        parts.choose_metadata(known.metadata, known.table.seed, known.generations)
        return parts

    @staticmethod
    def _batch(
        known: _Tenant, out: Columns, histograms: I32, stream: int, part: Mapping[str, Any]
    ) -> SampleBatch:
        series, samples = out.part(SERIES_ROOM, stream), out.part(SAMPLE_ROOM, stream)
        defined = out.part(DEFINE_ROOM, stream)
        raw = out.raw_of(stream)
        known.defined_bytes[stream] += len(raw)
        columns: dict[str, Any] = {
            "raw": raw,
            "defined_since": known.since[stream : stream + 1].copy(),
            "series_hash": out.series_hash[series],
            "sample_count": out.sample_count[series],
            "histogram_count": histograms[series],
            "time_ms": out.time_ms[samples],
            "value": out.bits[samples].view(np.float64),
            "define_hash": out.define_hash[defined],
            "define_off": out.define_at[0, defined],
            "define_len": out.define_at[1, defined],
        }
        return SampleBatch(**{**NO_PARTS, **columns, **part})
