"""ExportTraceServiceRequest -> SpanBatch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from agent.telemetry.batch import Reject, Signal, SpanBatch
from agent.telemetry.frames import (
    SYSTEM_DB,
    SYSTEM_GEN_AI,
    SYSTEM_HTTP,
    SYSTEM_MESSAGING,
    SYSTEM_NONE,
    SYSTEM_RPC,
)
from agent.telemetry.hashing import hash_bytes
from agent.telemetry.otlp_body import DEFAULT_LIMITS, Body, DecodeLimits, checked
from agent.telemetry.wire import big64, byte_at, little64, skip, varint

_BAD_TRACE_ID, _BAD_SPAN_ID = int(Reject.BAD_TRACE_ID), int(Reject.BAD_SPAN_ID)
_BAD_PARENT_ID, _END_BEFORE_START = int(Reject.BAD_PARENT_ID), int(Reject.END_BEFORE_START)
_NO_TIME, _TIME_OUT_OF_RANGE = int(Reject.NO_TIME), int(Reject.TIME_OUT_OF_RANGE)
_MAX_NS = np.uint64((1 << 63) - 1)

_TRACE_ID, _SPAN_ID, _PARENT_ID, _NAME, _ATTRIBUTE, _STATUS = 10, 18, 34, 42, 74, 122
_KIND, _START, _END = 48, 57, 65

# Prefixes of attribute names as little-endian words, and the masks of their lengths.
_HTTP, _URL, _DB, _RPC, _GEN_AI, _MESSAGIN = (
    np.uint64(int.from_bytes(prefix, "little"))
    for prefix in (b"http.", b"url.", b"db.", b"rpc.", b"gen_ai.", b"messagin")
)
_THREE, _FOUR, _FIVE, _SEVEN = (np.uint64((1 << 8 * size) - 1) for size in (3, 4, 5, 7))


def decode_spans(body: Body, limits: DecodeLimits = DEFAULT_LIMITS) -> SpanBatch:
    """The spans of a body. Raises Malformed or TooLarge for the whole of it; single spans that are out of
    order are marked in ``reject``."""
    found = checked(body, Signal.SPANS, limits)
    n = found.items.shape[1]
    u64, i64, u8 = np.empty((5, n), np.uint64), np.empty((4, n), np.int64), np.empty((4, n), np.uint8)
    _fill(found.raw, found.items, u64, i64, u8)
    where = found.items[0], found.items[1], found.items[2].astype(np.int32)
    in_order: list[npt.NDArray[Any]] = [found.raw, *found.blocks, *u64, *i64, *where, *u8]
    return SpanBatch(*in_order)


@njit(cache=True, nogil=True)
def _first_eight(raw, off, length):  # type: ignore[no-untyped-def]
    """The first eight bytes as a little-endian word, zero behind the end."""
    if length >= 8:
        return little64(raw, off)
    word = np.uint64(0)
    for i in range(length):
        word |= np.uint64(byte_at(raw, off + i)) << np.uint64(8 * i)
    return word


@njit(cache=True, nogil=True)
def _system(raw, pos, stop):  # type: ignore[no-untyped-def]
    """What the key of a KeyValue tells about the system that was called."""
    off = pos
    length = np.int64(0)
    while pos < stop:
        tag, pos = varint(raw, pos)
        if tag == 10:
            size, pos = varint(raw, pos)
            off = pos
            length = np.int64(size)
            break  # a key that comes twice is not worth the time
        pos = skip(raw, pos, tag & np.uint64(7))
    word = _first_eight(raw, off, length)
    if word & _FIVE == _HTTP or word & _FOUR == _URL:
        return SYSTEM_HTTP
    if word & _THREE == _DB:
        return SYSTEM_DB
    if word & _FOUR == _RPC:
        return SYSTEM_RPC
    if word & _SEVEN == _GEN_AI:
        return SYSTEM_GEN_AI
    if word == _MESSAGIN and length > 9 and byte_at(raw, off + 8) == 0x67 and byte_at(raw, off + 9) == 0x2E:
        return SYSTEM_MESSAGING
    return SYSTEM_NONE


@njit(cache=True, nogil=True)
def _status(raw, pos, stop, code):  # type: ignore[no-untyped-def]
    while pos < stop:
        tag, pos = varint(raw, pos)
        if tag == 24:
            code, pos = varint(raw, pos)
        else:
            pos = skip(raw, pos, tag & np.uint64(7))
    return code


@njit(cache=True, nogil=True)
def _verdict(trace_ok, span_ok, parent_ok, start, end):  # type: ignore[no-untyped-def]
    if not trace_ok:
        return _BAD_TRACE_ID
    if not span_ok:
        return _BAD_SPAN_ID
    if not parent_ok:
        return _BAD_PARENT_ID
    if start == 0 or end == 0:
        return _NO_TIME
    if start > _MAX_NS or end > _MAX_NS:
        return _TIME_OUT_OF_RANGE
    return _END_BEFORE_START if end < start else 0


@njit(cache=True, nogil=True)
def _fill(raw, items, u64, i64, u8):  # type: ignore[no-untyped-def]
    """One row a span. ``u64``: trace hi, lo, span, parent, name hash; ``i64``: start, end, name off, len;
    ``u8``: kind, status, system, reject."""
    for row in range(items.shape[1]):
        pos = items[0, row]
        stop = pos + items[1, row]
        hi = lo = span = parent = start = end = kind = status = np.uint64(0)
        trace_ok = span_ok = False
        parent_ok = True
        name_off = pos
        name_len = np.int64(0)
        system = SYSTEM_NONE
        while pos < stop:
            tag, pos = varint(raw, pos)
            wire = tag & np.uint64(7)
            if wire == 2:
                size, pos = varint(raw, pos)
                length = np.int64(size)
                if tag == _ATTRIBUTE:
                    system = max(system, _system(raw, pos, pos + length))
                elif tag == _TRACE_ID:
                    hi = big64(raw, pos) if length == 16 else np.uint64(0)
                    lo = big64(raw, pos + 8) if length == 16 else np.uint64(0)
                    trace_ok = (hi | lo) != 0
                elif tag == _SPAN_ID:
                    span = big64(raw, pos) if length == 8 else np.uint64(0)
                    span_ok = span != 0
                elif tag == _PARENT_ID:
                    parent = big64(raw, pos) if length == 8 else np.uint64(0)
                    parent_ok = length == 8 or length == 0
                elif tag == _NAME:
                    name_off = pos
                    name_len = length
                elif tag == _STATUS:
                    status = _status(raw, pos, pos + length, status)
                pos += length
            elif tag == _START:
                start = little64(raw, pos)
                pos += 8
            elif tag == _END:
                end = little64(raw, pos)
                pos += 8
            elif tag == _KIND:
                kind, pos = varint(raw, pos)
            else:
                pos = skip(raw, pos, wire)
        u64[0, row] = hi
        u64[1, row] = lo
        u64[2, row] = span
        u64[3, row] = parent
        u64[4, row] = hash_bytes(raw, name_off, name_len)
        i64[0, row] = np.int64(start) if start <= _MAX_NS else 0
        i64[1, row] = np.int64(end) if end <= _MAX_NS else 0
        i64[2, row] = name_off
        i64[3, row] = name_len
        u8[0, row] = kind if kind <= 5 else 0
        u8[1, row] = status if status <= 2 else 0
        u8[2, row] = system
        u8[3, row] = _verdict(trace_ok, span_ok, parent_ok, start, end)
