"""ExportLogsServiceRequest -> LogBatch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from agent.telemetry.batch import ANY_STRING, LogBatch, Reject, Signal
from agent.telemetry.otlp_body import DEFAULT_LIMITS, Body, DecodeLimits, checked
from agent.telemetry.wire import big64, byte_at, little64, skip, varint

_NO_TIME, _TIME_OUT_OF_RANGE = int(Reject.NO_TIME), int(Reject.TIME_OUT_OF_RANGE)
_MAX_NS = np.uint64((1 << 63) - 1)

_TIME, _OBSERVED, _SEVERITY, _SEVERITY_TEXT, _BODY, _TRACE_ID, _SPAN_ID = 9, 89, 16, 26, 42, 74, 82


def _first_letters(word: bytes) -> int:
    return word[0] << 16 | word[1] << 8 | word[2]


# Severity numbers of the words in use (syslog, log4j, Python, Go), told by their first three letters.
_TRACE, _DEBUG, _INFO = _first_letters(b"tra"), _first_letters(b"deb"), _first_letters(b"inf")
_NOTICE, _WARN, _ERROR = _first_letters(b"not"), _first_letters(b"war"), _first_letters(b"err")
_CRITICAL, _FATAL, _PANIC = _first_letters(b"cri"), _first_letters(b"fat"), _first_letters(b"pan")
_ALERT, _EMERGENCY = _first_letters(b"ale"), _first_letters(b"eme")


def decode_logs(body: Body, limits: DecodeLimits = DEFAULT_LIMITS) -> LogBatch:
    """The log records of a body. Raises Malformed or TooLarge for the whole of it; single records without
    a usable time are marked in ``reject``. A record without a severity number gets the one that the
    first letters of its severity text stand for."""
    found = checked(body, Signal.LOGS, limits)
    n = found.items.shape[1]
    u64, i64, u8 = np.empty((3, n), np.uint64), np.empty((3, n), np.int64), np.empty((3, n), np.uint8)
    _fill(found.raw, found.items, u64, i64, u8)
    where = found.items[0], found.items[1], found.items[2].astype(np.int32)
    in_order: list[npt.NDArray[Any]] = [found.raw, *found.blocks, *u64, *i64, *where, *u8]
    return LogBatch(*in_order)


@njit(cache=True, nogil=True)
def _severity_of(raw, off, length):  # type: ignore[no-untyped-def]
    if length < 3:
        return 0
    letters = np.int64(0)
    for i in range(3):
        letters = letters << 8 | np.int64(byte_at(raw, off + i)) | 0x20
    if letters == _INFO:
        return 9
    if letters == _ERROR:
        return 17
    if letters == _WARN:
        return 13
    if letters == _DEBUG:
        return 5
    if letters == _TRACE:
        return 1
    if letters == _NOTICE:
        return 10
    if letters in (_CRITICAL, _ALERT):
        return 18
    return 21 if letters in (_FATAL, _PANIC, _EMERGENCY) else 0


@njit(cache=True, nogil=True)
def _any_value(raw, pos, stop):  # type: ignore[no-untyped-def]
    """``(kind, off, len)``: the text of a string, else the whole AnyValue."""
    kind = np.uint64(0)
    off = pos
    length = stop - pos
    whole = pos
    while pos < stop:
        tag, pos = varint(raw, pos)
        field = tag >> np.uint64(3)
        if field == ANY_STRING:
            size, pos = varint(raw, pos)
            kind = field
            off = pos
            length = np.int64(size)
            pos += length
            continue
        if field <= 7:
            kind = field
            off = whole
            length = stop - whole
        pos = skip(raw, pos, tag & np.uint64(7))
    return kind, off, length


@njit(cache=True, nogil=True)
def _fill(raw, items, u64, i64, u8):  # type: ignore[no-untyped-def]
    """One row a log record. ``u64``: trace hi, lo, span; ``i64``: time, body off, len; ``u8``: severity,
    body kind, reject."""
    for row in range(items.shape[1]):
        pos = items[0, row]
        stop = pos + items[1, row]
        hi = lo = span = time = observed = severity = body_kind = np.uint64(0)
        body_off = text_off = pos
        body_len = text_len = np.int64(0)
        while pos < stop:
            tag, pos = varint(raw, pos)
            wire = tag & np.uint64(7)
            if wire == 2:
                size, pos = varint(raw, pos)
                length = np.int64(size)
                if tag == _BODY:
                    body_kind, body_off, body_len = _any_value(raw, pos, pos + length)
                elif tag == _TRACE_ID:
                    hi = big64(raw, pos) if length == 16 else np.uint64(0)
                    lo = big64(raw, pos + 8) if length == 16 else np.uint64(0)
                elif tag == _SPAN_ID:
                    span = big64(raw, pos) if length == 8 else np.uint64(0)
                elif tag == _SEVERITY_TEXT:
                    text_off = pos
                    text_len = length
                pos += length
            elif tag == _TIME:
                time = little64(raw, pos)
                pos += 8
            elif tag == _OBSERVED:
                observed = little64(raw, pos)
                pos += 8
            elif tag == _SEVERITY:
                severity, pos = varint(raw, pos)
            else:
                pos = skip(raw, pos, wire)
        if time == 0:
            time = observed
        u64[0, row] = hi
        u64[1, row] = lo
        u64[2, row] = span
        i64[0, row] = np.int64(time) if time <= _MAX_NS else 0
        i64[1, row] = body_off
        i64[2, row] = body_len
        if severity == 0:
            u8[0, row] = _severity_of(raw, text_off, text_len)
        else:
            u8[0, row] = severity if severity <= 24 else 0
        u8[1, row] = body_kind
        u8[2, row] = _NO_TIME if time == 0 else (_TIME_OUT_OF_RANGE if time > _MAX_NS else 0)
