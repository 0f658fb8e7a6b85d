"""The lines of an exposition found in one compiled pass, and the series among them known again by their text.

A line that is not blank is one column of the table ``lines``: a sample, with its series (the text up to the
value), value, timestamp and exemplar as slices of the body, or a comment, which is all series. Lenient as
Prometheus is: any white space between the parts, labels are not looked into.

``Table`` maps the text of a series to a number: open addressing by a 64-bit hash, the text compared in full.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

from agent.telemetry.frames import I32, I64, U8, U64
from agent.telemetry.hashing import hash_bytes
from agent.telemetry.wire import byte_at

Array = TypeVar("Array", bound=np.ndarray[Any, Any])

# Rows of the table ``lines``: one column for each line that is not blank.
TEXT_OFF, TEXT_LEN, VALUE_OFF, VALUE_LEN, TIME_OFF, TIME_LEN, EXEMPLAR_OFF, EXEMPLAR_LEN = range(8)
FIELDS = 8

OK, NO_SERIES, UNCLOSED, NO_VALUE, AFTER_TIME, NO_EOF, AFTER_EOF = range(7)
ERRORS = {
    NO_SERIES: "expected a metric name",
    UNCLOSED: "the braces of the labels are not closed in the line",
    NO_VALUE: "the series has no value",
    AFTER_TIME: "text after the timestamp",
    NO_EOF: "the exposition does not end with # EOF",
    AFTER_EOF: "text after # EOF",
}
_SPACE, _TAB, _LINE_FEED, _HASH, _QUOTE, _BACKSLASH, _OPEN, _CLOSE = 32, 9, 10, 35, 34, 92, 123, 125
_EOF = np.frombuffer(b"# EOF", np.uint8)


@njit(cache=True, nogil=True)
def _skip_white(raw, pos, end):  # type: ignore[no-untyped-def]
    while pos < end and (byte_at(raw, pos) == _SPACE or byte_at(raw, pos) == _TAB):
        pos += 1
    return pos


@njit(cache=True, nogil=True)
def _word_end(raw, pos, end):  # type: ignore[no-untyped-def]
    while pos < end:
        byte = byte_at(raw, pos)
        if byte in (_SPACE, _TAB, _LINE_FEED):
            break
        pos += 1
    return pos


@njit(cache=True, nogil=True)
def _series_end(raw, pos, end):  # type: ignore[no-untyped-def]
    """Behind the series that begins at ``pos``; minus an error. ``end`` is the end of the body."""
    begin = pos
    while pos < end:
        byte = byte_at(raw, pos)
        if byte in (_SPACE, _TAB, _OPEN, _LINE_FEED):
            break
        pos += 1
    name_end = pos
    pos = _skip_white(raw, pos, end)
    if pos >= end or byte_at(raw, pos) != _OPEN:
        return name_end if name_end > begin else -NO_SERIES
    quoted = False
    while pos < end:
        byte = byte_at(raw, pos)
        if byte == _LINE_FEED:
            break
        if quoted and byte == _BACKSLASH:
            pos += 1
        elif byte == _QUOTE:
            quoted = not quoted
        elif byte == _CLOSE and not quoted:
            return pos + 1
        pos += 1
    return -UNCLOSED


@njit(cache=True, nogil=True)
def _same(a, a_off, b, b_off, length):  # type: ignore[no-untyped-def]
    i = 0
    while i < length and byte_at(a, a_off + i) == byte_at(b, b_off + i):
        i += 1
    return i == length


@njit(cache=True, nogil=True)
def _is_eof(raw, pos, end):  # type: ignore[no-untyped-def]
    if end - pos < len(_EOF) or (end - pos > len(_EOF) and byte_at(raw, pos + len(_EOF)) != _LINE_FEED):
        return False
    return _same(raw, pos, _EOF, 0, len(_EOF))


@njit(cache=True, nogil=True)
def _sample(raw, pos, end, openmetrics, lines, i):  # type: ignore[no-untyped-def]
    """Fills column ``i`` from the line at ``pos``; ``(behind it, error)``."""
    stop = _series_end(raw, pos, end)
    if stop < 0:
        return pos, -stop
    lines[TEXT_OFF, i], lines[TEXT_LEN, i] = pos, stop - pos
    pos = _skip_white(raw, stop, end)
    stop = _word_end(raw, pos, end)
    lines[VALUE_OFF, i], lines[VALUE_LEN, i] = pos, stop - pos
    if stop == pos:
        return pos, NO_VALUE
    pos = _skip_white(raw, stop, end)
    lines[TIME_LEN, i], lines[EXEMPLAR_LEN, i] = 0, 0
    if pos < end and byte_at(raw, pos) != _LINE_FEED and byte_at(raw, pos) != _HASH:
        stop = _word_end(raw, pos, end)
        lines[TIME_OFF, i], lines[TIME_LEN, i] = pos, stop - pos
        pos = _skip_white(raw, stop, end)
    if openmetrics and pos < end and byte_at(raw, pos) == _HASH:
        lines[EXEMPLAR_OFF, i] = pos
        while pos < end and byte_at(raw, pos) != _LINE_FEED:
            pos += 1
        lines[EXEMPLAR_LEN, i] = pos - lines[EXEMPLAR_OFF, i]
    if pos < end and byte_at(raw, pos) != _LINE_FEED:
        return pos, AFTER_TIME
    return pos, OK


@njit(cache=True, nogil=True)
def scan(raw, openmetrics, lines):  # type: ignore[no-untyped-def]
    """``(number of lines, error, position of the error)``. ``lines`` has room for one line more than ``raw`` has
    line feeds."""
    pos, end, count = 0, len(raw), 0
    while pos < end:
        pos = _skip_white(raw, pos, end)
        if pos >= end:
            break
        byte = byte_at(raw, pos)
        if byte == _LINE_FEED:
            pos += 1
            continue
        if byte != _HASH:
            pos, error = _sample(raw, pos, end, openmetrics, lines, count)
            if error != OK:
                return count, error, pos
        elif openmetrics and _is_eof(raw, pos, end):
            pos += len(_EOF) + 1
            return count, OK if pos >= end else AFTER_EOF, pos
        else:
            begin = pos
            while pos < end and byte_at(raw, pos) != _LINE_FEED:
                pos += 1
            lines[TEXT_OFF, count], lines[TEXT_LEN, count] = begin, pos - begin
            lines[VALUE_LEN, count] = 0
        count += 1
        pos += 1
    return count, NO_EOF if openmetrics else OK, end


@njit(cache=True, nogil=True)
def _look_up(raw, lines, slots, hashes, places, texts, hash_out, out):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(slots) - 1)
    for i in range(lines.shape[1]):
        off, length = lines[TEXT_OFF, i], lines[TEXT_LEN, i]
        key = hash_bytes(raw, off, length)
        hash_out[i] = key
        slot = key & mask
        out[i] = -1
        while slots[slot] >= 0:
            entry = slots[slot]
            same = hashes[entry] == key and places[entry, 1] == length
            if same and _same(raw, off, texts, places[entry, 0], length):
                out[i] = entry
                break
            slot = (slot + np.uint64(1)) & mask


@njit(cache=True, nogil=True)
def _insert(hashes, first, count, slots):  # type: ignore[no-untyped-def]
    mask = np.uint64(len(slots) - 1)
    for entry in range(first, count):
        slot = hashes[entry] & mask
        while slots[slot] >= 0:
            slot = (slot + np.uint64(1)) & mask
        slots[slot] = entry


class Table:
    """Numbers 0, 1, 2, ... for texts, in the order in which they are added."""

    def __init__(self) -> None:
        self._slots: I32 = np.full(1024, -1, np.int32)
        self._hashes: U64 = np.empty(512, np.uint64)
        self._places: I64 = np.empty((512, 2), np.int64)
        self._texts: U8 = np.empty(1 << 14, np.uint8)
        self._used_bytes = 0
        self.count = 0

    def look_up(self, raw: U8, lines: I64) -> tuple[I32, U64]:
        """The number of the text of each line, -1 where it is not known, and its hash."""
        count = lines.shape[1]
        found, hashes = np.empty(count, np.int32), np.empty(count, np.uint64)
        _look_up(raw, lines, self._slots, self._hashes, self._places, self._texts, hashes, found)
        return found, hashes

    def add(self, texts: Sequence[bytes], keys: U64) -> int:
        """Number texts that are not known yet; ``keys`` are their hashes. The number of the first."""
        first, begin = self.count, self._used_bytes
        lengths = np.asarray([len(text) for text in texts], np.int64)
        self.count, self._used_bytes = first + len(texts), begin + int(lengths.sum())
        if self._used_bytes > len(self._texts):
            self._texts = _grown(self._texts, self._used_bytes)
        if self.count > len(self._hashes):
            self._hashes = _grown(self._hashes, self.count)
            self._places = _grown(self._places, self.count)
        self._texts[begin : self._used_bytes] = np.frombuffer(b"".join(texts), np.uint8)
        self._hashes[first : self.count] = keys
        self._places[first : self.count, 0] = begin + np.cumsum(lengths) - lengths
        self._places[first : self.count, 1] = lengths
        size = len(self._slots)
        while 2 * self.count > size:
            size *= 2
        grown = size > len(self._slots)
        if grown:
            self._slots = np.full(size, -1, np.int32)
        _insert(self._hashes, 0 if grown else first, self.count, self._slots)
        return first


def _grown(array: Array, least: int) -> Array:
    larger = np.empty((max(least, 2 * len(array)), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return cast("Array", larger)
