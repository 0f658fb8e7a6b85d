"""The series of one target, by their labels, and what of them goes out as remote write.

A series is a number in the order of appearance. It is *tracked* when its last sample came without a time of
its own: when it is missing in the next scrape, it gets a stale marker (Prometheus' rule). Bodies are messages
``prometheus.WriteRequest`` without compression; put one behind another, they are one request still.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit

from agent.telemetry.frames import I64, U8, U64, Bool
from agent.telemetry.labels import Labels, encode_labels
from agent.telemetry.varint import varint

STALE_NAN_BITS = 0x7FF0000000000002
NEVER = -1


@lru_cache(maxsize=1 << 16)
def _label(name: str, value: str) -> bytes:
    """One label in canonical form: most labels of a target are on many of its series."""
    return encode_labels(((name, value),))


@njit(cache=True, nogil=True)
def _put_varint(out, at, value):  # type: ignore[no-untyped-def]
    while value > np.uint64(127):
        out[at] = np.uint8(value & np.uint64(127)) | np.uint8(128)
        value >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(value)
    return at + 1


@njit(cache=True, nogil=True)
def _width(value):  # type: ignore[no-untyped-def]
    width = 1
    while value > np.uint64(127):
        value >>= np.uint64(7)
        width += 1
    return width


@njit(cache=True, nogil=True)
def _encode(texts, places, series, time_ms, bits, out):  # type: ignore[no-untyped-def]
    """A TimeSeries with one Sample for each row; the number of bytes written."""
    at = 0
    for i in range(len(series)):
        off, length = places[series[i], 0], places[series[i], 1]
        time = np.uint64(time_ms[i])
        sample = 10 + _width(time)
        out[at] = 0x0A
        at = _put_varint(out, at + 1, np.uint64(length + 2 + sample))
        out[at : at + length] = texts[off : off + length]
        at += length
        out[at], out[at + 1], out[at + 2] = 0x12, sample, 0x09
        for k in range(8):
            out[at + 3 + k] = np.uint8((bits[i] >> np.uint64(8 * k)) & np.uint64(255))
        out[at + 11] = 0x10
        at = _put_varint(out, at + 12, time)
    return at


@njit(cache=True, nogil=True)
def _mark(series, tracked, times, seen, seen_ms, round_number, first):  # type: ignore[no-untyped-def]
    """Whether each row is the first of its series in this round (or has another time than the one before);
    ``seen`` becomes the round for the tracked. Returns the number of series that were not in the round before."""
    added = 0
    for i in range(len(series)):
        row = series[i]
        again = seen_ms[row, 1] == round_number
        first[i] = not again or seen_ms[row, 0] != times[i]
        added += not again and seen_ms[row, 1] != round_number - 1
        seen_ms[row, 0], seen_ms[row, 1] = times[i], round_number
        if tracked[i]:
            seen[row] = round_number
    return added


@dataclass(frozen=True, slots=True)
class Samples:
    """Rows: the series, its time, the bits of its value, and whether it is tracked."""

    series: I64
    time_ms: I64
    bits: U64
    tracked: Bool

    def __len__(self) -> int:
        return len(self.series)

    def only(self, rows: Bool) -> Samples:
        return Samples(self.series[rows], self.time_ms[rows], self.bits[rows], self.tracked[rows])


class SeriesStore:
    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._texts: U8 = np.empty(1 << 14, np.uint8)
        self._places: I64 = np.empty((256, 2), np.int64)
        self._seen: I64 = np.full(256, NEVER, np.int64)
        self._last: I64 = np.full((256, 2), NEVER, np.int64)
        self._used_bytes = 0

    def __len__(self) -> int:
        return len(self._numbers)

    def number(self, labels: Labels) -> int:
        """The number of a series, a new one where it is not known."""
        canonical = b"".join([_label(name, value) for name, value in labels])
        known = self._numbers.get(canonical)
        return self._add(canonical) if known is None else known

    def canonical(self, series: int) -> bytes:
        off, length = self._places[series].tolist()
        return self._texts[off : off + length].tobytes()

    def take(self, samples: Samples, round_number: int) -> tuple[Samples, int]:
        """The samples without those that repeat a series at the same time, which Prometheus refuses too, and
        how many series were not there in the round before."""
        first = np.empty(len(samples), np.bool_)
        added = _mark(
            samples.series, samples.tracked, samples.time_ms, self._seen, self._last, round_number, first
        )
        if first.all():
            return samples, int(added)
        return samples.only(first), int(added)

    def see(self, series: int, round_number: int) -> bool:
        """A series of native histograms is there in this round; whether it was not in the one before."""
        before = int(self._last[series, 1])
        self._seen[series] = self._last[series, 1] = round_number
        return before not in (round_number, round_number - 1)

    def vanished(self, round_number: int) -> I64:
        """The series that were tracked in the round before and not in this one."""
        return np.flatnonzero(self._seen[: len(self)] == round_number - 1)

    def tracked(self) -> I64:
        """Every series that has not got a stale marker since its last sample."""
        return np.flatnonzero(self._seen[: len(self)] != NEVER)

    def end(self, series: I64) -> None:
        """What got a stale marker is not tracked any more."""
        self._seen[series] = NEVER

    def move(self, before: SeriesStore, series: I64, round_number: int) -> None:
        """Take over series of another store as they are in this round."""
        for row in series.tolist():
            number = self._add(before.canonical(row))
            self._seen[number], self._last[number] = round_number, before._last[row]

    def stale(self, series: I64, time_ms: int) -> Samples:
        return Samples(
            series,
            np.full(len(series), time_ms, np.int64),
            np.full(len(series), STALE_NAN_BITS, np.uint64),
            np.zeros(len(series), np.bool_),
        )

    def encode(self, samples: Samples) -> bytes:
        """The body of a write request of the samples."""
        lengths = self._places[samples.series, 1]
        out = np.empty(int(lengths.sum()) + 40 * len(samples), np.uint8)
        used = _encode(self._texts, self._places, samples.series, samples.time_ms, samples.bits, out)
        return out[:used].tobytes()

    def _add(self, canonical: bytes) -> int:
        number, end = len(self._numbers), self._used_bytes + len(canonical)
        if end > len(self._texts):
            self._texts = np.resize(self._texts, max(end, 2 * len(self._texts)))
        if number == len(self._places):
            self._places = np.resize(self._places, (2 * number, 2))
            self._seen = np.concatenate([self._seen, np.full(number, NEVER, np.int64)])
            self._last = np.concatenate([self._last, np.full((number, 2), NEVER, np.int64)])
        self._texts[self._used_bytes : end] = np.frombuffer(canonical, np.uint8)
        self._places[number] = self._used_bytes, len(canonical)
        self._numbers[canonical] = number
        self._used_bytes = end
        return number


def series_message(canonical: bytes, parts: Iterable[bytes]) -> bytes:
    """A TimeSeries with parts (exemplars, histograms) that are fields already."""
    content = canonical + b"".join(parts)
    return b"\x0a" + varint(len(content)) + content


def exemplar_field(labels: Labels, value: float, time_ms: int) -> bytes:
    content = encode_labels(labels) + b"\x11" + struct.pack("<d", value) + b"\x18" + varint(time_ms)
    return b"\x1a" + varint(len(content)) + content


def metadata_field(metric: str, kind: int, text: str, unit: str) -> bytes:
    """``MetricMetadata`` as a field of the request; ``kind`` is its enumeration (0 is unknown)."""
    content = b"\x08" + varint(kind) + _text(0x12, metric) + _text(0x22, text) + _text(0x2A, unit)
    return b"\x1a" + varint(len(content)) + content


def _text(tag: int, text: str) -> bytes:
    content = text.encode("utf-8", "surrogateescape")
    return bytes((tag,)) + varint(len(content)) + content if content else b""
