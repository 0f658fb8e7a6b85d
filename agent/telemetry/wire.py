"""Protobuf's wire format as compiled kernels: validate a whole body, then read it without checks.

``check`` walks every message of the schema and accepts only what is well formed, so that the kernels
behind it (``index_items`` and those of the signals) never meet a length that leads outside. It follows the
encoding specification of protobuf and is stricter in three points: a known field with another wire type
is refused instead of taken for unknown, groups are refused (proto3 has none), and nesting ends at
MAX_DEPTH. It does not look at UTF-8: texts are decoded when somebody reads them, with replacement.

The compiler's cache looks at a function's own file only: after a change here, touch the files of
the kernels that call these.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.telemetry.otlp_schema import (
    BYTES,
    COUNTED64,
    FIXED32,
    FIXED64,
    MAX_FIELD,
    MESSAGE,
    NUMBER,
    PACKED64,
    PACKED_VARINT,
    UNKNOWN,
    VARINT,
)

MAX_DEPTH = 64

(OK, TRUNCATED_VARINT, LONG_VARINT, OUTSIDE, TRUNCATED_FIXED, WRONG_TYPE, BAD_TYPE, BAD_FIELD, TOO_DEEP,
 RAGGED) = range(10)  # fmt: skip

ERRORS = {
    TRUNCATED_VARINT: "a varint ends too early",
    LONG_VARINT: "a varint is longer than 64 bits",
    OUTSIDE: "a length leads beyond the enclosing message",
    TRUNCATED_FIXED: "a fixed-size number is cut off",
    WRONG_TYPE: "the field has another wire type than in OTLP",
    BAD_TYPE: "groups and wire types 6 and 7 are not spoken",
    BAD_FIELD: "the field number is 0 or too large",
    TOO_DEEP: f"messages are nested deeper than {MAX_DEPTH}",
    RAGGED: "a packed field is not a multiple of 8 bytes",
}

_KEY_VALUE = NUMBER["KeyValue"]
_MAX_TAG = (1 << 32) - 1
_MAX_TAG_BYTES = 5


@njit(cache=True, nogil=True)
def byte_at(raw, pos):  # type: ignore[no-untyped-def]
    """``raw[pos]``. An unsigned index spares the compiled code its test for a negative one, which takes
    half of the time of a scan."""
    return raw[np.uint64(pos)]


@njit(cache=True, nogil=True)
def varint(raw, pos):  # type: ignore[no-untyped-def]
    """``(value, next position)`` of a varint that is known to be well formed."""
    byte = byte_at(raw, pos)
    pos += 1
    if byte < 128:
        return np.uint64(byte), pos
    value = np.uint64(byte & 127)
    shift = np.uint64(7)
    while True:
        byte = byte_at(raw, pos)
        pos += 1
        value |= np.uint64(byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += np.uint64(7)


@njit(cache=True, nogil=True)
def skip(raw, pos, wire):  # type: ignore[no-untyped-def]
    """The position behind a field's content, given its wire type; the body is known to be well formed."""
    if wire == 1:
        return pos + 8
    if wire == 5:
        return pos + 4
    value, pos = varint(raw, pos)
    return pos + np.int64(value) if wire == 2 else pos


@njit(cache=True, nogil=True)
def checked_varint(raw, pos, end):  # type: ignore[no-untyped-def]
    """``(value, next position)``; the position is minus an error where the varint is not well formed."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while pos < end:
        byte = byte_at(raw, pos)
        pos += 1
        if shift == 63 and byte > 1:
            return value, np.int64(-LONG_VARINT)
        value |= np.uint64(byte & 127) << shift
        if byte < 128:
            return value, pos
        shift += np.uint64(7)
    return value, np.int64(-TRUNCATED_VARINT)


@njit(cache=True, nogil=True)
def little64(raw, pos):  # type: ignore[no-untyped-def]
    at = np.uint64(pos)
    value = np.uint64(0)
    for i in range(8):
        value |= np.uint64(raw[at + np.uint64(i)]) << np.uint64(8 * i)
    return value


@njit(cache=True, nogil=True)
def big64(raw, pos):  # type: ignore[no-untyped-def]
    at = np.uint64(pos)
    value = np.uint64(0)
    for i in range(8):
        value |= np.uint64(raw[at + np.uint64(i)]) << np.uint64(56 - 8 * i)
    return value


@njit(cache=True, nogil=True)
def _plain_attribute(raw, pos, stop):  # type: ignore[no-untyped-def]
    """Whether a KeyValue is a short key and one short text, as most are: well formed at a glance."""
    if stop - pos < 6 or byte_at(raw, pos) != 0x0A or byte_at(raw, pos + 1) > 127:
        return False
    value = pos + 2 + np.int64(byte_at(raw, pos + 1))
    if stop - value < 4 or byte_at(raw, value) != 0x12:
        return False
    size = byte_at(raw, value + 1)
    if size > 127 or value + 2 + np.int64(size) != stop:
        return False
    if byte_at(raw, value + 2) != 0x0A or byte_at(raw, value + 3) > 127:
        return False
    return value + 4 + np.int64(byte_at(raw, value + 3)) == stop


@njit(cache=True, nogil=True)
def _packed_varints(raw, pos, stop):  # type: ignore[no-untyped-def]
    while 0 <= pos < stop:
        _, pos = checked_varint(raw, pos, stop)
    return pos


@njit(cache=True, nogil=True)
def check(raw, root, schema, counts):  # type: ignore[no-untyped-def]
    """Validate ``raw`` as a message number ``root``. ``counts[0, m]`` becomes the number of messages ``m``
    (of attributes only what ``_plain_attribute`` leaves), ``counts[1, m]`` of their COUNTED64 numbers,
    ``counts[2, m]`` of their PACKED64 numbers.
    Returns ``(error, position, message, field)``; error OK where all is well."""
    ends = np.empty(MAX_DEPTH, np.int64)
    kinds = np.empty(MAX_DEPTH, np.int64)
    depth = 0
    kind = np.int64(root)
    pos = np.int64(0)
    end = np.int64(len(raw))
    counts[0, kind] += 1
    while True:
        if pos == end:
            if depth == 0:
                return OK, pos, kind, np.int64(0)
            depth -= 1
            end = ends[depth]
            kind = kinds[depth]
            continue
        start = pos
        tag = np.uint64(byte_at(raw, pos))
        pos += 1
        if tag >= 128:
            tag, pos = checked_varint(raw, start, end)
            if pos < 0:
                return -pos, start, kind, np.int64(0)
        if tag > _MAX_TAG or tag < 8 or pos - start > _MAX_TAG_BYTES:
            return BAD_FIELD, start, kind, np.int64(0)
        field = np.int64(tag >> np.uint64(3))
        wire = np.int64(tag & np.uint64(7))
        entry = np.int64(schema[np.uint64(kind), np.uint64(field)]) if field <= MAX_FIELD else UNKNOWN
        if wire == 2:
            if pos < end and byte_at(raw, pos) < 128:
                length = np.uint64(byte_at(raw, pos))
                pos += 1
            else:
                length, pos = checked_varint(raw, pos, end)
                if pos < 0:
                    return -pos, start, kind, field
            if length > np.uint64(end - pos):
                return OUTSIDE, start, kind, field
            stop = pos + np.int64(length)
            if entry >= MESSAGE:
                child = np.int64(entry - MESSAGE)
                if child == _KEY_VALUE and _plain_attribute(raw, pos, stop):
                    pos = stop
                    continue
                counts[0, np.uint64(child)] += 1
                if depth == MAX_DEPTH:
                    return TOO_DEEP, start, kind, field
                ends[depth] = end
                kinds[depth] = kind
                depth += 1
                end = stop
                kind = child
                continue
            if entry in (COUNTED64, PACKED64):
                if length % np.uint64(8) != 0:
                    return RAGGED, start, kind, field
                counts[1 if entry == COUNTED64 else 2, kind] += np.int64(length) // 8
            elif entry == PACKED_VARINT:
                broken = _packed_varints(raw, pos, stop)
                if broken < 0:
                    return -broken, start, kind, field
            elif entry != BYTES and entry != UNKNOWN:
                return WRONG_TYPE, start, kind, field
            pos = stop
        elif wire == 0:
            if entry != VARINT and entry != PACKED_VARINT and entry != UNKNOWN:
                return WRONG_TYPE, start, kind, field
            _, pos = checked_varint(raw, pos, end)
            if pos < 0:
                return -pos, start, kind, field
        elif wire == 1:
            if entry in (COUNTED64, PACKED64):
                counts[1 if entry == COUNTED64 else 2, kind] += 1
            elif entry != FIXED64 and entry != UNKNOWN:
                return WRONG_TYPE, start, kind, field
            if end - pos < 8:
                return TRUNCATED_FIXED, start, kind, field
            pos += 8
        elif wire == 5:
            if entry != FIXED32 and entry != UNKNOWN:
                return WRONG_TYPE, start, kind, field
            if end - pos < 4:
                return TRUNCATED_FIXED, start, kind, field
            pos += 4
        else:
            return BAD_TYPE, start, kind, field


@njit(cache=True, nogil=True)
def index_items(raw, blocks, items):  # type: ignore[no-untyped-def]
    """Where the blocks and the spans, log records or metrics of a valid body lie; the field numbers are the
    same for all signals. ``blocks`` has rows off, len, resource off, resource len; ``items`` off, len,
    block, scope off, scope len (0, 0 without a scope; of several the last one counts)."""
    b = np.int64(0)
    i = np.int64(0)
    pos = np.int64(0)
    while pos < len(raw):
        tag, pos = varint(raw, pos)
        if tag != 10:
            pos = skip(raw, pos, tag & np.uint64(7))
            continue
        length, pos = varint(raw, pos)
        stop = pos + np.int64(length)
        blocks[0, b] = pos
        blocks[1, b] = length
        blocks[2, b] = 0
        blocks[3, b] = 0
        while pos < stop:
            tag, pos = varint(raw, pos)
            if tag != 10 and tag != 18:
                pos = skip(raw, pos, tag & np.uint64(7))
                continue
            length, pos = varint(raw, pos)
            if tag == 10:
                blocks[2, b] = pos if length else 0
                blocks[3, b] = length
                pos += np.int64(length)
            else:
                i = _index_scope(raw, pos, pos + np.int64(length), b, items, i)
                pos += np.int64(length)
        b += 1


@njit(cache=True, nogil=True)
def _index_scope(raw, pos, stop, block, items, i):  # type: ignore[no-untyped-def]
    first = i
    scope_off = np.int64(0)
    scope_len = np.int64(0)
    while pos < stop:
        tag, pos = varint(raw, pos)
        if tag != 10 and tag != 18:
            pos = skip(raw, pos, tag & np.uint64(7))
            continue
        length, pos = varint(raw, pos)
        if tag == 10:
            scope_off = pos
            scope_len = np.int64(length)
        else:
            items[0, i] = pos
            items[1, i] = length
            items[2, i] = block
            i += 1
        pos += np.int64(length)
    items[3, first:i] = scope_off
    items[4, first:i] = scope_len
    return i
