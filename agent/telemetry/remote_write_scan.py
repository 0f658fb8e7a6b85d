"""Remote write requests scanned: from the bytes of a body to columns, one compiled pass, every bound checked.

Messages are those of Prometheus' ``prometheus.WriteRequest`` (1.0) and ``io.prometheus.write.v2.Request``
(2.0). The labels of a series become one slice of text that is hashed: in 1.0 the Label messages as they lie in
the body, which is the canonical form of ``agent.telemetry.labels`` where the sender follows the specification;
in 2.0 the symbols put together to that form behind the body. Nothing of a label is parsed here.

``text`` holds the body and, behind it, room for what is put together. ``cursor`` says how much of every column
is used; a kernel that runs out of room says so (ROOM_*), and is called again with larger columns from where
the body began. Errors are those of ``agent.telemetry.wire`` with the position of the message that has them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.telemetry.hashing import hash_bytes
from agent.telemetry.wire import (
    BAD_FIELD,
    BAD_TYPE,
    OK,
    OUTSIDE,
    TRUNCATED_FIXED,
    TRUNCATED_VARINT,
    WRONG_TYPE,
    byte_at,
    checked_varint,
    little64,
)

# Rows of ``cursor``.
SERIES, SAMPLES, PARTS, TEXT = range(4)
CURSOR_ROWS = 4
# Rows of ``series``: where its text lies, its samples, how many histograms and exemplars it has, and which body
# it is of.
TEXT_OFF, TEXT_LEN, FIRST_SAMPLE, SAMPLE_COUNT, PART_COUNT, BODY = range(6)
SERIES_ROWS = 8  # a line of the cache
# Rows of ``parts``, what is rarer than samples: kind, series, the message.
PART_KIND, PART_SERIES, PART_OFF, PART_LEN, PART_BODY = range(5)
PART_ROWS = 18  # the further ones are those of ``remote_write_parts``
HISTOGRAM, EXEMPLAR, METADATA = range(3)

# Errors beside those of ``wire``.
ROOM_SERIES, ROOM_SAMPLES, ROOM_PARTS, ROOM_TEXT, NO_SYMBOL, ODD_REFS, MANY_REFS = range(32, 39)

MAX_REFS = 2048  # of one series; a label has two
USUAL_SAMPLE_BYTES = 18


@njit(cache=True, nogil=True)
def span(text, pos, end):  # type: ignore[no-untyped-def]
    """``(length, where the content begins)`` of a length-delimited field; the second is minus an error."""
    if pos >= end:
        return np.int64(0), np.int64(-TRUNCATED_VARINT)
    byte = byte_at(text, pos)
    if byte < 128:
        length = np.int64(byte)
        pos += 1
    else:
        value, pos = checked_varint(text, pos, end)
        if pos < 0:
            return np.int64(0), pos
        if value > np.uint64(end - pos):
            return np.int64(0), np.int64(-OUTSIDE)
        length = np.int64(value)
    if length > end - pos:
        return np.int64(0), np.int64(-OUTSIDE)
    return length, pos


@njit(cache=True, nogil=True)
def pass_over(text, pos, end):  # type: ignore[no-untyped-def]
    """The position behind the field that begins at ``pos``; minus an error where it is not well formed."""
    start = pos
    tag, pos = checked_varint(text, pos, end)
    if pos < 0:
        return pos
    # The scans know a field by one byte: a small tag that is written longer would slip past them.
    if tag < 8 or tag > 0xFFFFFFFF or (tag < 128 and pos - start > 1):
        return np.int64(-BAD_FIELD)
    wire = tag & np.uint64(7)
    if wire == 0:
        _, pos = checked_varint(text, pos, end)
        return pos
    if wire == 2:
        length, pos = span(text, pos, end)
        return pos + length if pos >= 0 else pos
    if wire == 1 or wire == 5:
        size = np.int64(8 if wire == 1 else 4)
        return pos + size if end - pos >= size else np.int64(-TRUNCATED_FIXED)
    return np.int64(-BAD_TYPE)


@njit(cache=True, nogil=True)
def _sample(text, pos, stop, time_ms, bits, n):  # type: ignore[no-untyped-def]
    """Read a Sample (1 double value, 2 int64 timestamp); 0 or minus an error."""
    time_ms[n] = 0
    bits[n] = 0
    while pos < stop:
        tag = byte_at(text, pos)
        if tag == 0x09:
            if stop - pos < 9:
                return np.int64(-TRUNCATED_FIXED)
            bits[n] = little64(text, pos + 1)
            pos += 9
        elif tag == 0x10:
            value, pos = checked_varint(text, pos + 1, stop)
            if pos < 0:
                return pos
            time_ms[n] = np.int64(value)
        elif tag >> 3 == 1 or tag >> 3 == 2:
            return np.int64(-WRONG_TYPE)
        else:
            pos = pass_over(text, pos, stop)
            if pos < 0:
                return pos
    return np.int64(0)


@njit(cache=True, nogil=True)
def _part(kind, s, off, length, body, parts, cursor):  # type: ignore[no-untyped-def]
    p = cursor[PARTS]
    if p == parts.shape[1]:
        return np.int64(-ROOM_PARTS)
    parts[PART_KIND, p] = kind
    parts[PART_SERIES, p] = s
    parts[PART_OFF, p] = off
    parts[PART_LEN, p] = length
    parts[PART_BODY, p] = body
    cursor[PARTS] = p + 1
    return np.int64(0)


@njit(cache=True, nogil=True)
def _gather(text, pos, stop, cursor, room):  # type: ignore[no-untyped-def]
    """Put the labels of a TimeSeries that do not lie side by side end to end; minus an error, or 0."""
    while pos < stop:
        start = pos
        pos = pass_over(text, pos, stop)
        if byte_at(text, start) == 0x0A:
            if cursor[TEXT] + pos - start > room:
                return np.int64(-ROOM_TEXT)
            at = cursor[TEXT]
            for i in range(pos - start):
                text[at + i] = text[start + i]
            cursor[TEXT] = at + pos - start
    return np.int64(0)


@njit(cache=True, nogil=True)
def usual_sample(text, pos, stop):  # type: ignore[no-untyped-def]
    """``(whether it is one, time, bits of the value)`` of a Sample that looks as nearly all do: a double, and a time
    of six bytes, which are those of the years 1971 to 2109. It has USUAL_SAMPLE_BYTES."""
    at = np.uint64(pos)
    if stop - pos < USUAL_SAMPLE_BYTES or little64(text, at) & np.uint64(0xFFFFFF) != np.uint64(0x091012):
        return False, np.int64(0), np.uint64(0)
    word = little64(text, at + np.uint64(10)) >> np.uint64(8)
    if word & np.uint64(0x808080808080FF) != np.uint64(0x00808080808010):
        return False, np.int64(0), np.uint64(0)
    word >>= np.uint64(8)
    low = (word & np.uint64(0x7F)) | ((word >> np.uint64(1)) & np.uint64(0x3F80))
    low |= (word >> np.uint64(2)) & np.uint64(0x1FC000)
    high = ((word >> np.uint64(3)) & np.uint64(0xFE00000)) | ((word >> np.uint64(4)) & np.uint64(0x7F0000000))
    high |= (word >> np.uint64(5)) & np.uint64(0x3F800000000)
    return True, np.int64(low | high), little64(text, at + np.uint64(3))


@njit(cache=True, nogil=True)
def _usual_samples(text, pos, stop, time_ms, bits, n):  # type: ignore[no-untyped-def]
    """Read usual Samples as long as there are. Returns ``(position, how many samples there are)``."""
    while n < len(time_ms):
        usual, t, value = usual_sample(text, pos, stop)
        if not usual:
            break
        time_ms[n] = t
        bits[n] = value
        n += 1
        pos += USUAL_SAMPLE_BYTES
    return pos, n


@njit(cache=True, nogil=True)
def _series_v1(text, pos, stop, body, series, hashes, time_ms, bits, parts, cursor):  # type: ignore[no-untyped-def]
    """Scan a TimeSeries (1 labels, 2 samples, 3 exemplars, 4 histograms) of any form."""
    s = cursor[SERIES]
    n = cursor[SAMPLES]
    if s == len(hashes):
        return np.int64(-ROOM_SERIES)
    off = pos
    first = n
    first_part = cursor[PARTS]
    while pos < stop and byte_at(text, pos) == 0x0A:
        length, pos = span(text, pos + 1, stop)
        if pos < 0:
            return pos
        pos += length
    text_len = pos - off
    scattered = False
    while pos < stop:
        tag = byte_at(text, pos)
        if tag == 0x12:
            pos, n = _usual_samples(text, pos, stop, time_ms, bits, n)
            if pos == stop or byte_at(text, pos) != 0x12:
                continue
            length, pos = span(text, pos + 1, stop)
            if pos < 0:
                return pos
            if n == len(time_ms):
                return np.int64(-ROOM_SAMPLES)
            error = _sample(text, pos, pos + length, time_ms, bits, n)
            if error < 0:
                return error
            n += 1
            pos += length
        elif tag == 0x1A or tag == 0x22:
            length, pos = span(text, pos + 1, stop)
            if pos < 0:
                return pos
            error = _part(EXEMPLAR if tag == 0x1A else HISTOGRAM, s, pos, length, body, parts, cursor)
            if error < 0:
                return error
            pos += length
        else:
            scattered |= tag == 0x0A
            if tag >> 3 <= 4 and tag & 7 != 2:
                return np.int64(-WRONG_TYPE)
            pos = pass_over(text, pos, stop)
            if pos < 0:
                return pos
    if scattered:
        begin = off
        off = cursor[TEXT]
        error = _gather(text, begin, stop, cursor, len(text))
        if error < 0:
            return error
        text_len = cursor[TEXT] - off
    hashes[s] = hash_bytes(text, off, text_len)
    series[TEXT_OFF, s] = off
    series[TEXT_LEN, s] = text_len
    series[FIRST_SAMPLE, s] = first
    series[SAMPLE_COUNT, s] = n - first
    series[PART_COUNT, s] = cursor[PARTS] - first_part
    series[BODY, s] = body
    cursor[SERIES] = s + 1
    cursor[SAMPLES] = n
    return pos


@njit(cache=True, nogil=True)
def scan_v1(text, start, end, body, series, hashes, time_ms, bits, parts, cursor):  # type: ignore[no-untyped-def]
    """Scan a WriteRequest (1 timeseries, 3 metadata). Returns ``(error, position)``."""
    pos = np.int64(start)
    while pos < end:
        begin = pos
        tag = byte_at(text, pos)
        if tag == 0x0A or tag == 0x1A:
            length, pos = span(text, pos + 1, end)
            if pos < 0:
                return -pos, begin
            if tag == 0x0A:
                pos = _series_v1(text, pos, pos + length, body, series, hashes, time_ms, bits, parts, cursor)
            else:
                error = _part(METADATA, np.int64(-1), pos, length, body, parts, cursor)
                pos = pos + length if error == 0 else error
        elif tag >> 3 == 1 or tag >> 3 == 3:
            pos = np.int64(-WRONG_TYPE)
        else:
            pos = pass_over(text, pos, end)
        if pos < 0:
            return -pos, begin
    return np.int64(OK), pos


@njit(cache=True, nogil=True)
def scan_symbols(text, start, end, symbols):  # type: ignore[no-untyped-def]
    """Where the symbols of a 2.0 Request (field 4) lie, in rows off, len of ``symbols``, as many as it has
    room for. Returns ``(error, position, how many there are)``."""
    pos = np.int64(start)
    count = 0
    while pos < end:
        begin = pos
        if byte_at(text, pos) == 0x22:
            length, pos = span(text, pos + 1, end)
            if pos >= 0:
                if count < symbols.shape[1]:
                    symbols[0, count] = pos
                    symbols[1, count] = length
                count += 1
                pos += length
        else:
            pos = pass_over(text, pos, end)
        if pos < 0:
            return -pos, begin, count
    return np.int64(OK), pos, count


@njit(cache=True, nogil=True)
def put_varint(text, at, value):  # type: ignore[no-untyped-def]
    while value > 127:
        text[at] = np.uint8(value & 127 | 128)
        at += 1
        value >>= 7
    text[at] = np.uint8(value)
    return at + 1


@njit(cache=True, nogil=True)
def width(value):  # type: ignore[no-untyped-def]
    """The bytes of a varint below 2**35."""
    if value < 128:
        return np.int64(1)
    if value < 16384:
        return np.int64(2)
    return np.int64(3 if value < 2097152 else 4 if value < 268435456 else 5)


@njit(cache=True, nogil=True)
def label_size(name_len, value_len):  # type: ignore[no-untyped-def]
    """The bytes of a Label with its tag and length."""
    content = 2 + width(name_len) + name_len + width(value_len) + value_len
    return 1 + width(content) + content


@njit(cache=True, nogil=True)
def put_label(text, at, name, name_len, value, value_len):  # type: ignore[no-untyped-def]
    """Write a Label whose name and value lie in ``text``; returns the position behind it."""
    text[at] = 0x0A
    at = put_varint(text, at + 1, 2 + width(name_len) + name_len + width(value_len) + value_len)
    text[at] = 0x0A
    at = put_varint(text, at + 1, name_len)
    for i in range(name_len):
        text[np.uint64(at + i)] = text[np.uint64(name + i)]
    at += name_len
    text[at] = 0x12
    at = put_varint(text, at + 1, value_len)
    for i in range(value_len):
        text[np.uint64(at + i)] = text[np.uint64(value + i)]
    return at + value_len


@njit(cache=True, nogil=True)
def read_refs(text, pos, stop, refs, count):  # type: ignore[no-untyped-def]
    """Add packed symbol references to ``refs``; returns how many there are now, or minus an error."""
    while pos < stop:
        value, pos = checked_varint(text, pos, stop)
        if pos < 0:
            return pos
        if count == len(refs):
            return np.int64(-MANY_REFS)
        refs[count] = np.int64(value & np.uint64(0xFFFFFFFF))
        count += 1
    return np.int64(count)


@njit(cache=True, nogil=True)
def put_symbols(text, refs, count, symbols, known, cursor):  # type: ignore[no-untyped-def]
    """Put the labels of symbol references behind the text, those without a value left out; 0 or minus an
    error. ``known`` is how many symbols there are."""
    if count & 1:
        return np.int64(-ODD_REFS)
    at = cursor[TEXT]
    for k in range(0, count, 2):
        name = refs[k]
        value = refs[k + 1]
        if name >= known or value >= known:
            return np.int64(-NO_SYMBOL)
        name_len = symbols[1, name]
        value_len = symbols[1, value]
        if value_len == 0:
            continue
        if at + label_size(name_len, value_len) > len(text):
            return np.int64(-ROOM_TEXT)
        at = put_label(text, at, symbols[0, name], name_len, symbols[0, value], value_len)
    cursor[TEXT] = at
    return np.int64(0)


@njit(cache=True, nogil=True)
def _series_v2(text, pos, stop, body, symbols, known, refs, series, hashes, time_ms, bits, parts, cursor):  # type: ignore[no-untyped-def]
    s = cursor[SERIES]
    n = cursor[SAMPLES]
    if s == len(hashes):
        return np.int64(-ROOM_SERIES)
    first = n
    part_count = 0
    count = np.int64(0)
    while pos < stop:
        tag = byte_at(text, pos)
        if tag == 0x12:
            pos, n = _usual_samples(text, pos, stop, time_ms, bits, n)
            if pos == stop:
                break
            tag = byte_at(text, pos)
        if tag == 0x0A or tag == 0x12 or tag == 0x1A or tag == 0x22 or tag == 0x2A:
            length, pos = span(text, pos + 1, stop)
            if pos < 0:
                return pos
            error = np.int64(0)
            if tag == 0x0A:
                count = read_refs(text, pos, pos + length, refs, count)
                error = np.int64(min(count, np.int64(0)))
            elif tag == 0x12:
                if n == len(time_ms):
                    return np.int64(-ROOM_SAMPLES)
                error = _sample(text, pos, pos + length, time_ms, bits, n)
                n += 1
            else:
                kind = HISTOGRAM if tag == 0x1A else EXEMPLAR if tag == 0x22 else METADATA
                part_count += kind != METADATA
                error = _part(kind, s, pos, length, body, parts, cursor)
            if error < 0:
                return error
            pos += length
        elif tag == 0x08:
            value, pos = checked_varint(text, pos + 1, stop)
            if pos < 0:
                return pos
            if count == len(refs):
                return np.int64(-MANY_REFS)
            refs[count] = np.int64(value & np.uint64(0xFFFFFFFF))
            count += 1
        elif tag >> 3 <= 5:
            return np.int64(-WRONG_TYPE)
        else:
            pos = pass_over(text, pos, stop)
            if pos < 0:
                return pos
    off = cursor[TEXT]
    error = put_symbols(text, refs, count, symbols, known, cursor)
    if error < 0:
        return error
    series[TEXT_OFF, s] = off
    series[TEXT_LEN, s] = cursor[TEXT] - off
    series[FIRST_SAMPLE, s] = first
    series[SAMPLE_COUNT, s] = n - first
    series[PART_COUNT, s] = part_count
    series[BODY, s] = body
    hashes[s] = hash_bytes(text, off, cursor[TEXT] - off)
    cursor[SERIES] = s + 1
    cursor[SAMPLES] = n
    return pos


@njit(cache=True, nogil=True)
def scan_v2(text, start, end, body, symbols, series, hashes, time_ms, bits, parts, cursor):  # type: ignore[no-untyped-def]
    """Scan a 2.0 Request (4 symbols, 5 timeseries). Returns ``(error, position)``."""
    refs = np.empty(MAX_REFS, np.int64)
    known = symbols.shape[1]
    pos = np.int64(start)
    while pos < end:
        begin = pos
        if byte_at(text, pos) == 0x2A:
            length, pos = span(text, pos + 1, end)
            if pos >= 0:
                pos = _series_v2(
                    text, pos, pos + length, body, symbols, known, refs, series, hashes, time_ms, bits,
                    parts, cursor,
                )  # fmt: skip
        else:
            pos = pass_over(text, pos, end)
        if pos < 0:
            return -pos, begin
    return np.int64(OK), pos
