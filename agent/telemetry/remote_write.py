"""Prometheus remote write, 1.0 and 2.0: bodies unpacked and scanned into columns.

A ``Scan`` takes the bodies of several requests of one tenant one after the other; its columns are used again
for the next group, so that no memory is asked for on the way in. A body that is refused leaves no trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import cramjam
import numpy as np

from agent.errors import BadInput, Malformed, TooLarge, Unsupported
from agent.telemetry import remote_write_scan as kernels
from agent.telemetry.frames import I64, U64
from agent.telemetry.remote_write_parts import read_parts
from agent.telemetry.wire import ERRORS, OK, WRONG_TYPE

CONTENT_TYPE = "application/x-protobuf"
SNAPPY, ZSTD = "snappy", "zstd"
MAX_ROWS = 1_000_000  # series, samples or other parts of one body
KEPT_TEXT_BYTES = 32 << 20  # more is given back after the group that needed it
FIRST_ROWS = 16_384
SLACK = 8  # the kernels read whole words

# Labels of an exemplar, bytes of a name and of a value: OpenMetrics allows 128 characters in all.
EXEMPLAR_LIMITS = np.asarray([64, 512, 512], np.int64)

_WORDS = {
    **ERRORS,
    WRONG_TYPE: "the field has another wire type than in remote write",
    kernels.NO_SYMBOL: "a symbol reference leads outside of the symbols table",
    kernels.ODD_REFS: "labels_refs holds an odd number of references",
    kernels.MANY_REFS: f"a series has more than {kernels.MAX_REFS // 2} labels",
}


class Version(IntEnum):
    V1 = 1
    V2 = 2


_PROTO = {"": Version.V1, "prometheus.WriteRequest": Version.V1, "io.prometheus.write.v2.Request": Version.V2}


@lru_cache(maxsize=64)
def message_version(content_type: str) -> Version:
    """Which message a Content-Type announces; none at all is taken for 1.0, as old senders have it. Raises
    ``Unsupported``."""
    kind, *parameters = (part.strip() for part in content_type.split(";"))
    named = dict(part.partition("=")[::2] for part in parameters)
    proto = named.get("proto", "").strip('" ')
    if kind.lower() not in ("", CONTENT_TYPE) or proto not in _PROTO:
        raise Unsupported(
            "unknown_content_type",
            f"Content-Type {content_type!r} is not spoken here; use {CONTENT_TYPE}, for remote write 2.0 "
            f"{CONTENT_TYPE};proto=io.prometheus.write.v2.Request",
        )
    return _PROTO[proto]


@lru_cache(maxsize=64)
def content_encoding(header: str) -> str:
    """``snappy`` or ``zstd``; none is taken for snappy. Raises ``Unsupported``."""
    encoding = header.strip().lower() or SNAPPY
    if encoding not in (SNAPPY, ZSTD):
        raise Unsupported(
            "unknown_encoding", f"Content-Encoding {encoding!r} is not spoken here; use snappy or zstd"
        )
    return encoding


@dataclass(frozen=True, slots=True)
class Packed:
    """A body as it came, and what its headers say of it."""

    body: bytes
    version: Version = Version.V1
    encoding: str = SNAPPY


class Scan:
    """The columns of a group of bodies; ``remote_write_scan`` tells their rows."""

    def __init__(self, max_decoded_bytes: int, max_rows: int = MAX_ROWS) -> None:
        self._max_bytes = max_decoded_bytes
        self._max_rows = max_rows
        # What belongs to a series lies together: columns that are a power of two apart share a place in the cache.
        self._columns = np.empty((kernels.SERIES_ROWS, FIRST_ROWS), np.int64, order="F")
        self._hashes = np.empty(FIRST_ROWS, np.uint64)
        self._times = np.empty(FIRST_ROWS, np.int64)
        self._bits = np.empty(FIRST_ROWS, np.uint64)
        self._parts = np.empty((kernels.PART_ROWS, 1024), np.int64, order="F")
        self.text = np.empty(1 << 20, np.uint8)
        self.cursor = np.zeros(kernels.CURSOR_ROWS, np.int64)

    def clear(self) -> None:
        """Begin a group of bodies."""
        self.cursor[:] = 0
        if len(self.text) > KEPT_TEXT_BYTES:
            self.text = np.empty(1 << 20, np.uint8)

    @property
    def series(self) -> I64:
        return self._columns[:, : self.cursor[kernels.SERIES]]

    @property
    def hashes(self) -> U64:
        return self._hashes[: self.cursor[kernels.SERIES]]

    @property
    def time_ms(self) -> I64:
        return self._times[: self.cursor[kernels.SAMPLES]]

    @property
    def bits(self) -> U64:
        """The values as their bit patterns: a NaN stays the NaN that it is."""
        return self._bits[: self.cursor[kernels.SAMPLES]]

    @property
    def parts(self) -> I64:
        return self._parts[:, : self.cursor[kernels.PARTS]]

    def add(self, packed: Packed, number: int) -> None:
        """Append the rows of a body, marked as body ``number``. Raises ``Malformed`` or ``TooLarge``; nothing
        is appended then."""
        start, end = self.unpack(packed)
        self.add_unpacked(packed.version, number, start, end, start)

    def add_unpacked(self, version: Version, number: int, start: int, end: int, at: int) -> None:
        """The same of a body that ``unpack`` has put to ``text[start:end]``, from the message at ``at`` on."""
        before = self.cursor.copy()
        try:
            self.cursor[kernels.TEXT] = end
            symbols = self._symbols(start, end) if version is Version.V2 else NO_SYMBOLS
            self._scan(version, start, at, end, number, symbols)
            if self.cursor[kernels.PARTS] > before[kernels.PARTS]:
                self._read_parts(version, int(before[kernels.PARTS]), symbols)
        except BadInput:
            self.cursor[:] = before
            raise

    def make_text_room(self, size: int) -> None:
        """Room for ``size`` more bytes behind the text."""
        used = int(self.cursor[kernels.TEXT])
        if used + size + SLACK > len(self.text):
            grown = np.empty(max(2 * len(self.text), used + size + SLACK), np.uint8)
            grown[:used] = self.text[:used]
            self.text = grown

    def unpack(self, packed: Packed) -> tuple[int, int]:
        """Unpack a body behind the text that is in use; where it lies. What is unpacked next takes its place, unless
        it is added. Raises ``Malformed`` or ``TooLarge``."""
        start = int(self.cursor[kernels.TEXT])
        try:
            size = (
                cramjam.snappy.decompress_raw_len(packed.body)
                if packed.encoding == SNAPPY
                else self._max_bytes
            )
            if size > self._max_bytes:
                raise TooLarge("body_too_large", f"the body unpacks to {size} bytes, {self._limit}")
            self.make_text_room(size)
            room = self.text[start : start + size]
            unpack = (
                cramjam.snappy.decompress_raw_into
                if packed.encoding == SNAPPY
                else cramjam.zstd.decompress_into
            )
            return start, start + int(unpack(packed.body, room.data))
        except cramjam.DecompressionError as error:
            if "whole buffer" in str(error):
                raise TooLarge("body_too_large", f"the body unpacks to more: {self._limit}") from None
            raise Malformed(f"bad_{packed.encoding}", f"the body is not {packed.encoding}: {error}") from None

    @property
    def _limit(self) -> str:
        return f"at most {self._max_bytes} are taken (gateway.max_decoded_bytes): send smaller batches"

    def _symbols(self, start: int, end: int) -> I64:
        symbols = np.empty((2, 4096), np.int64)
        error, position, count = kernels.scan_symbols(self.text, start, end, symbols)
        if error == OK and count > symbols.shape[1]:
            if count > self._max_rows:
                raise self._too_many("symbols")
            symbols = np.empty((2, count), np.int64)
            error, position, count = kernels.scan_symbols(self.text, start, end, symbols)
        if error != OK:
            raise _malformed(error, position - start)
        return symbols[:, :count]

    def _scan(self, version: Version, start: int, at: int, end: int, number: int, symbols: I64) -> None:
        before = self.cursor.copy()
        while True:
            columns = self._columns, self._hashes, self._times, self._bits, self._parts, self.cursor
            if version is Version.V1:
                error, position = kernels.scan_v1(self.text, at, end, number, *columns)
            else:
                error, position = kernels.scan_v2(self.text, start, end, number, symbols, *columns)
            if error == OK:
                return
            self._grow(error, position - start, before)
            self.cursor[:] = before

    def _read_parts(self, version: Version, first: int, symbols: I64) -> None:
        before = self.cursor.copy()
        while not read_parts(
            self.text,
            first,
            self.parts,
            version is Version.V2,
            symbols,
            self.series,
            EXEMPLAR_LIMITS,
            self.cursor,
        ):
            self._grow(kernels.ROOM_TEXT, 0, before)
            self.cursor[:] = before

    def _grow(self, error: int, position: int, before: I64) -> None:
        """Make the column longer that was full. Raises what the error is where it is another."""
        if error == kernels.ROOM_SERIES:
            self._columns = self._longer(self._columns, int(before[kernels.SERIES]), "series")
            self._hashes = self._longer(self._hashes, int(before[kernels.SERIES]), "series")
        elif error == kernels.ROOM_SAMPLES:
            self._times = self._longer(self._times, int(before[kernels.SAMPLES]), "samples")
            self._bits = self._longer(self._bits, int(before[kernels.SAMPLES]), "samples")
        elif error == kernels.ROOM_PARTS:
            self._parts = self._longer(self._parts, int(before[kernels.PARTS]), "histograms and exemplars")
        elif error == kernels.ROOM_TEXT:
            if len(self.text) - int(before[kernels.TEXT]) > self._max_bytes:
                raise TooLarge("body_too_large", f"the labels of the body take more bytes: {self._limit}")
            self.cursor[:] = before
            self.make_text_room(len(self.text))
        else:
            raise _malformed(error, position)

    def _longer(self, column: np.ndarray, used: int, what: str) -> np.ndarray:
        length = column.shape[-1]
        if length - used > self._max_rows:
            raise self._too_many(what)
        grown = np.empty((*column.shape[:-1], 4 * length), column.dtype, order="F")
        grown[..., :used] = column[..., :used]
        return grown

    def _too_many(self, what: str) -> TooLarge:
        return TooLarge(
            "too_many_rows",
            f"the body holds more than {self._max_rows} {what}: send smaller batches",
        )


NO_SYMBOLS: I64 = np.empty((2, 0), np.int64)


def _malformed(error: int, position: int) -> Malformed:
    return Malformed("malformed_protobuf", f"{_WORDS[int(error)]} at byte {position} of the unpacked body")
