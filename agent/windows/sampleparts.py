"""Histograms, exemplars and metadata on their way into the record of a stream.

A native histogram is judged like a float sample, by a hash of its message in place of the value's bits. An
exemplar goes with its series. Metadata of a metric lie in one stream, whichever streams its series are in, and
are written once a generation, like the labels of a series.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import njit

from agent.telemetry.frames import I64, U8
from agent.telemetry.hashing import hash_bytes, mix
from agent.telemetry.remote_write import Scan
from agent.telemetry.remote_write_client import TYPES
from agent.telemetry.remote_write_labels import Fault
from agent.telemetry.remote_write_parts import (
    HELP_LEN,
    HELP_OFF,
    LABELS_LEN,
    LABELS_OFF,
    META_HASH,
    META_TYPE,
    METRIC_LEN,
    METRIC_OFF,
    PART_BITS,
    PART_FAULT,
    PART_TIME,
    UNIT_LEN,
    UNIT_OFF,
)
from agent.telemetry.remote_write_scan import (
    BODY,
    EXEMPLAR,
    HISTOGRAM,
    METADATA,
    PART_BODY,
    PART_KIND,
    PART_LEN,
    PART_OFF,
    PART_SERIES,
)
from agent.windows.admission import (
    EARLIEST_MS,
    FAULTS,
    LATEST_MS,
    SERIES_ROOM,
    WRITTEN_EXEMPLARS,
    WRITTEN_HISTOGRAMS,
    judge,
    note,
)
from agent.windows.hashindex import SeenSet
from agent.windows.seriestable import HISTOGRAM_BIT, STREAM_MASK, owner_of

MAX_HELP_BYTES = 4096  # the rest of a longer text is cut off
SEEN_METADATA = 1 << 16

_TYPES = {
    "histogram_time_ms": np.int64, "histogram_off": np.int64, "histogram_len": np.int64,
    "exemplar_series": np.int32, "exemplar_time_ms": np.int64, "exemplar_value": np.float64,
    "exemplar_off": np.int64, "exemplar_len": np.int64, "metadata_off": np.int64, "metadata_len": np.int64,
}  # fmt: skip
NO_PARTS: Mapping[str, Any] = {name: np.empty(0, dtype) for name, dtype in _TYPES.items()}

_BAD_EXEMPLAR, _BAD_METADATA = int(Fault.BAD_EXEMPLAR), int(Fault.BAD_METADATA)
_HISTOGRAM_BIT = np.uint64(1 << HISTOGRAM_BIT)
_NOBODY = -1


@njit(cache=True, nogil=True)
def judge_parts(  # type: ignore[no-untyped-def]
    rows, slots, bounds, text, series, parts, counts, examples, base, row_of, histogram_count, owners
):
    """``owners[p]`` becomes the stream that takes part ``p``, -1 where none does: metadata are not looked at
    here. ``histogram_count`` is counted up, series by series."""
    for p in range(parts.shape[1]):
        owners[p] = _NOBODY
        if parts[PART_KIND, p] == METADATA:
            if parts[PART_FAULT, p]:
                counts[parts[PART_BODY, p], FAULTS + _BAD_METADATA] += 1
            continue
        i = parts[PART_SERIES, p]
        if slots[i] < 0 or row_of[i] < 0:
            continue  # counted with its series
        slot = np.uint64(slots[i])
        stream = np.int64(rows[slot, 3] & np.uint64(STREAM_MASK))
        body = series[BODY, i]
        fault = parts[PART_FAULT, p]
        time_ms = parts[PART_TIME, p]
        if parts[PART_KIND, p] == EXEMPLAR:
            if fault == 0 and bounds[EARLIEST_MS] <= time_ms <= bounds[LATEST_MS]:
                owners[p] = stream
                counts[body, WRITTEN_EXEMPLARS] += 1
            else:
                note(counts, examples, body, _BAD_EXEMPLAR, i, np.int64(-1), 1)
            continue
        last = np.int64(rows[slot, 1])
        key = hash_bytes(text, parts[PART_OFF, p], parts[PART_LEN, p])
        if fault == 0:
            same_kind = rows[slot, 3] & _HISTOGRAM_BIT != 0
            fault = judge(time_ms, key, last, rows[slot, 2], same_kind, bounds)
        if fault > 0:
            note(counts, examples, body, fault, i, np.int64(-1), 1)
            continue
        counts[body, WRITTEN_HISTOGRAMS] += 1
        if fault < 0:  # there already
            continue
        owners[p] = stream
        histogram_count[base[SERIES_ROOM, stream] + row_of[i]] += 1
        if time_ms > last:
            rows[slot, 1] = np.uint64(time_ms)
            rows[slot, 2] = key
            rows[slot, 3] |= _HISTOGRAM_BIT


@njit(cache=True, nogil=True)
def _metadata_keys(parts, text, seed, streams, generations, keys, owners):  # type: ignore[no-untyped-def]
    """The owner of every metadata part, and what it is remembered by; returns how many there are. Metadata
    that say nothing are left out."""
    count = 0
    for p in range(parts.shape[1]):
        if parts[PART_KIND, p] != METADATA or parts[PART_FAULT, p]:
            continue
        if parts[META_TYPE, p] == 0 and parts[HELP_LEN, p] == 0 and parts[UNIT_LEN, p] == 0:
            continue
        place = mix(seed, hash_bytes(text, parts[METRIC_OFF, p], parts[METRIC_LEN, p]))
        owners[p] = owner_of(place, streams)
        keys[p] = mix(np.uint64(parts[META_HASH, p]), np.uint64(generations[owners[p]] << 10 | owners[p]))
        count += 1
    return count


@njit(cache=True, nogil=True)
def _copy(text, off, length, raw):  # type: ignore[no-untyped-def]
    """The slices of a text end to end."""
    at = 0
    for i in range(len(off)):
        for b in range(length[i]):
            raw[np.uint64(at + b)] = text[np.uint64(off[i] + b)]
        at += length[i]


class Parts:
    """The parts of a scan once they are judged; ``of`` gives the columns of a stream's record."""

    def __init__(self, scan: Scan, owners: I64, row_of: I64) -> None:
        self._text, self._parts = scan.text, scan.parts
        self._owners, self._row_of = owners, row_of

    def choose_metadata(self, seen: SeenSet, seed: np.uint64, generations: I64) -> None:
        """Give the metadata that are new in their stream's generation to it."""
        keys = np.zeros(len(self._owners), np.uint64)
        of_metadata = np.full(len(self._owners), _NOBODY)
        if _metadata_keys(self._parts, self._text, seed, len(generations), generations, keys, of_metadata):
            chosen = np.flatnonzero(of_metadata >= 0)
            fresh = chosen[seen.fresh(keys[chosen])]
            self._owners[fresh] = of_metadata[fresh]

    @property
    def streams(self) -> frozenset[int]:
        """Who gets some."""
        return frozenset(np.unique(self._owners[self._owners >= 0]).tolist())

    def of(self, stream: int, raw: U8) -> dict[str, Any]:
        """``raw`` with the parts behind it, and the columns that tell where they lie."""
        mine = self._parts[:, self._owners == stream]
        histograms, exemplars, metadata = (
            mine[:, mine[PART_KIND] == kind] for kind in (HISTOGRAM, EXEMPLAR, METADATA)
        )
        texts = [self._json(one) for one in metadata.T]
        sizes = [histograms[PART_LEN], exemplars[LABELS_LEN], np.asarray([len(t) for t in texts], np.int64)]
        off = np.cumsum(np.concatenate(sizes)) - np.concatenate(sizes) + len(raw)
        first, second = len(sizes[0]), len(sizes[0]) + len(sizes[1])
        return {
            "raw": np.concatenate(
                [
                    raw,
                    self._end_to_end(histograms[PART_OFF], sizes[0]),
                    self._end_to_end(exemplars[LABELS_OFF], sizes[1]),
                    np.frombuffer(b"".join(texts), np.uint8),
                ]
            ),
            "histogram_time_ms": histograms[PART_TIME],
            "histogram_off": off[:first],
            "histogram_len": sizes[0],
            "exemplar_series": self._row_of[exemplars[PART_SERIES]].astype(np.int32),
            "exemplar_time_ms": exemplars[PART_TIME],
            "exemplar_value": exemplars[PART_BITS].view(np.float64),
            "exemplar_off": off[first:second],
            "exemplar_len": sizes[1],
            "metadata_off": off[second:],
            "metadata_len": sizes[2],
        }

    def _end_to_end(self, off: I64, length: I64) -> U8:
        raw = np.empty(int(length.sum()), np.uint8)
        _copy(self._text, off, length, raw)
        return raw

    def _json(self, part: I64) -> bytes:
        kind = int(part[META_TYPE])
        return json.dumps(
            {
                "metric": self._string(part, METRIC_OFF, METRIC_LEN),
                "type": TYPES[kind] if kind < len(TYPES) else TYPES[0],
                "help": self._string(part, HELP_OFF, HELP_LEN),
                "unit": self._string(part, UNIT_OFF, UNIT_LEN),
            }
        ).encode()

    def _string(self, part: I64, off: int, length: int) -> str:
        begin = int(part[off])
        size = min(int(part[length]), MAX_HELP_BYTES)
        return self._text[begin : begin + size].tobytes().decode("utf-8", "replace")
