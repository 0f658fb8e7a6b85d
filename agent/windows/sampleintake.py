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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.errors import BadInput
from agent.settings import GatewaySettings
from agent.telemetry.frames import I64, U8
from agent.telemetry.remote_write import Packed, Scan
from agent.telemetry.remote_write_labels import Fault, canonical
from agent.telemetry.remote_write_scan import TEXT_LEN
from agent.telemetry.samples import SAMPLES, SampleBatch, sample_columns
from agent.windows import record
from agent.windows.admission import (
    COUNT_COLUMNS,
    DEFINE_ROOM,
    RAW_ROOM,
    SAMPLE_ROOM,
    SERIES_ROOM,
    Columns,
    admit,
    measure,
    note_faults,
)
from agent.windows.refusals import Outcome, outcome
from agent.windows.seriestable import GENERATION_MASK, TICK_MASK, TICK_S, SeriesTable

Buffers = list[bytes | memoryview]

GENERATION_BYTES = 64 << 20  # a generation lasts until the log has grown by this, or
GENERATION_RATIO = 4  # by so many times its definitions, whichever is more
IDLE_NS = 3600 * 10**9  # a tenant that sent nothing for so long is forgotten when another comes

_NO_I64, _NO_I32 = np.empty(0, np.int64), np.empty(0, np.int32)
_NO_F64 = np.empty(0, np.float64)


@dataclass(frozen=True, slots=True)
class Taken:
    """``writes`` are records to make durable, in this order; ``outcomes`` what became of each body."""

    writes: tuple[tuple[int, Buffers], ...]
    outcomes: tuple[Outcome, ...]


class _Tenant:
    """The series of a tenant, and for each stream the generation of its definitions."""

    def __init__(self, name: str, streams: int, settings: GatewaySettings, positions: Sequence[int]) -> None:
        self.table = SeriesTable(name, streams, settings.max_series, settings.max_series_per_source)
        self.generations = np.ones(streams, np.int64)
        self.since = np.asarray(positions, np.int64)
        self.defined_bytes = np.zeros(streams, np.int64)
        self.last_ns = 0

    def turn(self, positions: Sequence[int]) -> None:
        """Begin a new generation in the streams whose logs have grown enough."""
        now = np.asarray(positions, np.int64)
        due = now - self.since > np.maximum(GENERATION_BYTES, GENERATION_RATIO * self.defined_bytes)
        if due.any():
            self.generations[due] = self.generations[due] % GENERATION_MASK + 1  # 0 is: not defined
            self.since[due] = now[due]
            self.defined_bytes[due] = 0


class SampleIntake:
    def __init__(self, settings: GatewaySettings, streams: int) -> None:
        self._settings = settings
        self._streams = streams
        self._label_limits = np.asarray(
            [settings.max_labels, settings.max_name_bytes, settings.max_label_value_bytes], np.int64
        )
        self._scan = Scan(settings.max_decoded_bytes)
        self._tenants: dict[str, _Tenant] = {}

    def forget(self) -> None:
        """Know no series any more: a record could not be written."""
        self._tenants.clear()

    @property
    def series(self) -> int:
        return sum(len(tenant.table) for tenant in list(self._tenants.values()))

    def take(self, tenant: str, bodies: Sequence[Packed], now_ns: int, positions: Sequence[int]) -> Taken:
        """The records for bodies of one tenant. What is refused is told in the outcome of its body."""
        scan = self._scan
        scan.clear()
        refused: dict[int, BadInput] = {}
        for number, packed in enumerate(bodies):
            try:
                scan.add(packed, number)
            except BadInput as error:
                refused[number] = error
        counts = np.zeros((len(bodies), COUNT_COLUMNS), np.int64)
        examples = np.full((2, len(bodies), len(Fault)), -1, np.int64)
        writes: list[tuple[int, Buffers]] = []
        if len(scan.hashes):
            known = self._tenant(tenant, now_ns, positions)
            slots = self._slots(known, now_ns, counts, examples)
            columns = self._admit(known, slots, now_ns, counts, examples)
            writes = [
                (stream, self._record(known, columns, stream, tenant, now_ns))
                for stream in range(self._streams)
                if columns.used[SERIES_ROOM, stream]
            ]
        outcomes = [
            outcome(scan, counts[number], examples[:, number], refused.get(number))
            for number in range(len(bodies))
        ]
        return Taken(tuple(writes), tuple(outcomes))

    def _tenant(self, name: str, now_ns: int, positions: Sequence[int]) -> _Tenant:
        found = self._tenants.get(name)
        if found is None:
            since_ns = now_ns - IDLE_NS
            self._tenants = {key: one for key, one in self._tenants.items() if one.last_ns > since_ns}
            found = self._tenants[name] = _Tenant(name, self._streams, self._settings, positions)
        found.last_ns = now_ns
        found.turn(positions)
        return found

    def _slots(self, known: _Tenant, now_ns: int, counts: I64, examples: I64) -> I64:
        """The slots of the scanned series; those that are new are entered, if they are in order."""
        scan = self._scan
        slots = np.empty(len(scan.hashes), np.int64)
        unknown = known.table.locate(scan.hashes, known.generations, slots)
        if not len(unknown):
            return slots
        scan.make_text_room(int(scan.series[TEXT_LEN, unknown].sum()))
        raw_hashes, place = np.empty((2, len(unknown)), np.uint64)
        faults = np.zeros(len(unknown), np.uint8)
        canonical(
            scan.text, unknown, scan.series, scan.hashes, raw_hashes, place, faults, self._label_limits,
            scan.cursor, known.table.seed,
        )  # fmt: skip
        known.table.register(scan.hashes, raw_hashes, place, unknown, faults, now_ns // 10**9)
        self._enter(known, slots, unknown, faults)
        note_faults(unknown, faults, scan.series, counts, examples)
        return slots

    def _enter(self, known: _Tenant, slots: I64, unknown: I64, faults: U8) -> None:
        scan = self._scan
        known.table.locate(scan.hashes, known.generations, slots)
        slots[unknown[faults != 0]] = -1

    def _admit(self, known: _Tenant, slots: I64, now_ns: int, counts: I64, examples: I64) -> Columns:
        scan, settings, rows = self._scan, self._settings, known.table.rows
        room = np.zeros((4, self._streams), np.int64)
        measure(rows, slots, scan.series, known.generations, room)
        out = Columns.for_room(room, len(slots))
        now_ms = now_ns // 10**6
        bounds = np.asarray(
            [
                now_ms - int(settings.max_past_s * 1000),
                now_ms + int(settings.max_future_s * 1000),
                int(settings.out_of_order_s * 1000),
            ],
            np.int64,
        )
        admit(
            rows, slots, known.generations, np.uint64(now_ns // 10**9 // TICK_S & TICK_MASK), bounds,
            scan.text, scan.series, scan.time_ms, scan.bits, counts, examples,
            out.base, out.used, out.series_hash, out.sample_count, out.time_ms, out.bits,
            out.define_hash, out.define_at, out.raw, out.row,
        )  # fmt: skip
        return out

    def _record(self, known: _Tenant, out: Columns, stream: int, tenant: str, now_ns: int) -> Buffers:
        series, samples = out.part(SERIES_ROOM, stream), out.part(SAMPLE_ROOM, stream)
        defined, raw = out.part(DEFINE_ROOM, stream), out.part(RAW_ROOM, stream)
        known.defined_bytes[stream] += raw.stop - raw.start
        batch = SampleBatch(
            raw=out.raw[raw],
            defined_since=known.since[stream : stream + 1].copy(),
            series_hash=out.series_hash[series],
            sample_count=out.sample_count[series],
            histogram_count=np.zeros(series.stop - series.start, np.int32),
            time_ms=out.time_ms[samples],
            value=out.bits[samples].view(np.float64),
            define_hash=out.define_hash[defined],
            define_off=out.define_at[0, defined],
            define_len=out.define_at[1, defined],
            histogram_time_ms=_NO_I64, histogram_off=_NO_I64, histogram_len=_NO_I64,
            exemplar_series=_NO_I32, exemplar_time_ms=_NO_I64, exemplar_value=_NO_F64,
            exemplar_off=_NO_I64, exemplar_len=_NO_I64,
            metadata_off=_NO_I64, metadata_len=_NO_I64,
        )  # fmt: skip
        return record.encode(SAMPLES, tenant, len(batch), now_ns, sample_columns(batch))
