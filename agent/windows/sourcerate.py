"""Which series of scanned bodies go on, where the rows a second of a source are limited.

A series of a body is taken whole or not at all. From the first for which the bucket of its source holds too little,
that source gets none in this call; other sources of the body do. Samples, histograms and exemplars are rows, but
not a first sample that is the last one of its series again: it is written nowhere.

The sender is told to send the whole body again, so nothing of it may be taken twice when it does (remote write 2.0,
section Retries on Partial Writes: the receiver must support the same request again). To judge its samples against
the last ones of their series is not enough, for where several of a series were taken, all but the last would be late
or refused as out of order. So the last bodies of which something is left are remembered, by a hash of their bytes:
the first time settles what becomes of a series that was not left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numba import njit

from agent.telemetry.allowance import take
from agent.telemetry.frames import I64, U8, Bool
from agent.telemetry.remote_write import Packed, Scan
from agent.telemetry.remote_write_labels import Fault
from agent.telemetry.remote_write_scan import BODY, FIRST_SAMPLE, PART_COUNT, SAMPLE_COUNT
from agent.windows.admission import WAIT_NS, note
from agent.windows.refusals import Outcome
from agent.windows.seriestable import HISTOGRAM_BIT, LAST_BITS, LAST_MS, META, SeriesTable, source_of

MAX_REMEMBERED = 256  # bodies of a tenant: more than a Prometheus has on their way at once
_RATE_LIMITED = int(Fault.RATE_LIMITED)
_HISTOGRAM = np.uint64(1 << HISTOGRAM_BIT)


@njit(cache=True, nogil=True)
def limit(  # type: ignore[no-untyped-def]
    rows, slots, places, sources, buckets, rate, now_ns, series, times, values, counts, examples, owed
):
    """Take the rows of all series that have a slot from the buckets of their sources. Who found too little has a
    slot no more, and is marked in ``owed``."""
    for i in range(len(slots)):
        if slots[i] < 0:
            continue
        slot = np.uint64(slots[i])
        n = series[SAMPLE_COUNT, i] + series[PART_COUNT, i]
        first = np.uint64(series[FIRST_SAMPLE, i])
        if (
            series[SAMPLE_COUNT, i] > 0
            and times[first] == np.int64(rows[slot, LAST_MS])
            and values[first] == rows[slot, LAST_BITS]
            and rows[slot, META] & _HISTOGRAM == 0
        ):
            n -= 1
        if n == 0:
            continue
        wait = take(buckets[source_of(sources, places[slot])], n, rate, now_ns)
        if wait == 0:
            continue
        body = series[BODY, i]
        slots[i] = -1
        owed[i] = True
        counts[body, WAIT_NS] = max(counts[body, WAIT_NS], wait)
        note(counts, examples, body, _RATE_LIMITED, i, np.int64(-1), n)


@dataclass(frozen=True, slots=True)
class _Left:
    """What is left of a body: a bit for each of its series, and what its sender was told of the others."""

    owed: U8
    message: str


class SourceRate:
    """The limit of a tenant, and the bodies of which something is left. Not thread-safe."""

    def __init__(self, rows_per_s: int) -> None:
        self._rate = rows_per_s
        self._left: dict[tuple[object, ...], _Left] = {}

    def settled(self, scan: Scan, bodies: Sequence[Packed]) -> Bool | None:
        """Which series have been judged already, with a body that comes again; None where there are none."""
        if not self._left:
            return None
        settled = np.zeros(scan.series.shape[1], np.bool_)
        for number, packed in enumerate(bodies):
            left = self._left.get(_key(packed))
            if left is not None:
                part = settled[_part(scan, number)]
                part[:] = np.unpackbits(left.owed, count=len(part)) == 0
        return settled if settled.any() else None

    def limit(
        self, table: SeriesTable, scan: Scan, slots: I64, now_ns: int, counts: I64, examples: I64
    ) -> Bool:
        """Take the slots of the series that are too much; which these are."""
        owed = np.zeros(len(slots), np.bool_)
        limit(
            table.rows, slots, table.places, table.sources, table.buckets, self._rate, now_ns,
            scan.series, scan.time_ms, scan.bits, counts, examples, owed,
        )  # fmt: skip
        return owed

    def remember(
        self, scan: Scan, bodies: Sequence[Packed], outcomes: Sequence[Outcome], owed: Bool
    ) -> list[Outcome]:
        """Keep what is left of the bodies; their outcomes, with what was said of them when they came before."""
        if not self._left and not owed.any():
            return list(outcomes)
        return [
            self._remember(_key(packed), outcome, owed[_part(scan, number)])
            for number, (packed, outcome) in enumerate(zip(bodies, outcomes, strict=True))
        ]

    def _remember(self, key: tuple[object, ...], outcome: Outcome, owed: Bool) -> Outcome:
        before = self._left.pop(key, None)
        if before is not None:
            outcome = outcome.after(before.message)
        if outcome.later is not None:
            if len(self._left) >= MAX_REMEMBERED:
                del self._left[next(iter(self._left))]
            self._left[key] = _Left(np.packbits(owed), outcome.message)
        return outcome


def _part(scan: Scan, number: int) -> slice:
    """The series of a body: bodies are scanned one after the other."""
    begin, end = np.searchsorted(scan.series[BODY], [number, number + 1])
    return slice(int(begin), int(end))


def _key(packed: Packed) -> tuple[object, ...]:
    return packed.version, packed.encoding, blake2b(packed.body, digest_size=16).digest()
