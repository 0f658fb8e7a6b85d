"""Histograms, exemplars and metadata of a scanned body: read into the further rows of ``parts``.

They are rarer than samples, but a 2.0 sender repeats the metadata with every series, so they are read by
compiled code as well. A part that is not in order gets a Fault; the others of the body are not touched by it.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.telemetry.hashing import hash_bytes, mix
from agent.telemetry.remote_write_histogram import check_histogram
from agent.telemetry.remote_write_labels import METRIC_NAME_BYTES, Fault, equals, read_label, sorted_labels
from agent.telemetry.remote_write_scan import (
    EXEMPLAR,
    HISTOGRAM,
    MAX_REFS,
    PART_KIND,
    PART_LEN,
    PART_OFF,
    PART_SERIES,
    TEXT,
    TEXT_LEN,
    TEXT_OFF,
    pass_over,
    put_label,
    put_symbols,
    read_refs,
    span,
)
from agent.telemetry.wire import byte_at, checked_varint, little64

# Further rows of ``parts``. Of a histogram and an exemplar: time, and for the latter its value's bits and its
# labels. Of metadata: hash of it all, type, and where metric, help and unit lie.
(PART_FAULT, PART_TIME, PART_BITS, LABELS_OFF, LABELS_LEN,
 META_HASH, META_TYPE, METRIC_OFF, METRIC_LEN, HELP_OFF, HELP_LEN, UNIT_OFF, UNIT_LEN) = range(5, 18)  # fmt: skip

_BAD_EXEMPLAR, _BAD_METADATA = int(Fault.BAD_EXEMPLAR), int(Fault.BAD_METADATA)


@njit(cache=True, nogil=True)
def _exemplar_fields(text, part, parts, v2, refs):  # type: ignore[no-untyped-def]
    """Value and time of an Exemplar (1 labels or references, 2 double, 3 int64); how many references, or -1."""
    pos = parts[PART_OFF, part]
    stop = pos + parts[PART_LEN, part]
    count = np.int64(0)
    while pos < stop:
        tag = byte_at(text, pos)
        if tag == 0x11:
            if stop - pos < 9:
                return np.int64(-1)
            parts[PART_BITS, part] = np.int64(little64(text, pos + 1))
            pos += 9
        elif tag == 0x18 or (tag == 0x08 and v2):
            value, pos = checked_varint(text, pos + 1, stop)
            if tag == 0x18:
                parts[PART_TIME, part] = np.int64(value)
            elif count < len(refs):
                refs[count] = np.int64(value & np.uint64(0xFFFFFFFF))
                count += 1
        elif tag == 0x0A and v2:
            length, pos = span(text, pos + 1, stop)
            if pos >= 0:
                count = read_refs(text, pos, pos + length, refs, count)
                pos = pos + length if count >= 0 else np.int64(-1)
        elif tag != 0x0A and tag >> 3 <= 3:
            return np.int64(-1)
        else:
            pos = pass_over(text, pos, stop)
        if pos < 0:
            return np.int64(-1)
    return count


@njit(cache=True, nogil=True)
def _label_fields(text, part, parts, cursor):  # type: ignore[no-untyped-def]
    """Put the Label messages of a 1.0 Exemplar, which is well formed, end to end behind the text; False
    where there is no room."""
    pos = parts[PART_OFF, part]
    stop = pos + parts[PART_LEN, part]
    at = cursor[TEXT]
    while pos < stop:
        start = pos
        pos = pass_over(text, pos, stop)
        if byte_at(text, start) == 0x0A:
            if at + pos - start > len(text):
                return False
            for i in range(pos - start):
                text[at + i] = text[start + i]
            at += pos - start
    cursor[TEXT] = at
    return True


@njit(cache=True, nogil=True)
def _exemplar(text, part, parts, v2, symbols, refs, labels, limits, cursor):  # type: ignore[no-untyped-def]
    """Read an Exemplar; False where the text has no room for its labels."""
    parts[PART_TIME, part] = 0
    parts[PART_BITS, part] = 0
    count = _exemplar_fields(text, part, parts, v2, refs)
    if count < 0:
        parts[PART_FAULT, part] = _BAD_EXEMPLAR
        return True
    off = cursor[TEXT]
    if v2:
        error = put_symbols(text, refs, count, symbols, symbols.shape[1], cursor)
        if error < 0:
            parts[PART_FAULT, part] = _BAD_EXEMPLAR
            return cursor[TEXT] + (16 << 10) < len(text)
    elif not _label_fields(text, part, parts, cursor):
        return False
    fault, count = sorted_labels(text, off, cursor[TEXT] - off, limits, labels)
    if fault:
        parts[PART_FAULT, part] = _BAD_EXEMPLAR
        return True
    if cursor[TEXT] + cursor[TEXT] - off > len(text):
        return False
    off = cursor[TEXT]
    at = off
    for k in range(count):
        at = put_label(text, at, labels[0, k], labels[1, k], labels[2, k], labels[3, k])
    cursor[TEXT] = at
    parts[LABELS_OFF, part] = off
    parts[LABELS_LEN, part] = at - off
    return True


@njit(cache=True, nogil=True)
def _metric_of(text, off, length, label):  # type: ignore[no-untyped-def]
    """Where the metric name of a series lies: ``(off, len)``, 0, 0 where it has none."""
    pos = off
    stop = off + length
    while pos < stop:
        size, pos = span(text, pos + 1, stop)
        if pos < 0 or not read_label(text, pos, pos + size, label):
            break
        if equals(text, label[0], label[1], METRIC_NAME_BYTES):
            return label[2], label[3]
        pos += size
    return np.int64(0), np.int64(0)


@njit(cache=True, nogil=True)
def _metadata(text, part, parts, v2, symbols, series, label):  # type: ignore[no-untyped-def]
    """MetricMetadata (1 type, 2 metric, 4 help, 5 unit) or 2.0's Metadata (1 type, 3 help, 4 unit, both
    references)."""
    parts[META_TYPE:, part] = 0
    pos = parts[PART_OFF, part]
    stop = pos + parts[PART_LEN, part]
    while pos < stop:
        tag = byte_at(text, pos)
        if tag == 0x08 or (v2 and (tag == 0x18 or tag == 0x20)):
            value, pos = checked_varint(text, pos + 1, stop)
            if tag == 0x08:
                parts[META_TYPE, part] = np.int64(value & np.uint64(0xFFFF))
            elif pos >= 0:
                if value >= symbols.shape[1]:
                    return _BAD_METADATA
                row = HELP_OFF if tag == 0x18 else UNIT_OFF
                parts[row, part] = symbols[0, value]
                parts[row + 1, part] = symbols[1, value]
        elif not v2 and (tag == 0x12 or tag == 0x22 or tag == 0x2A):
            length, pos = span(text, pos + 1, stop)
            row = METRIC_OFF if tag == 0x12 else HELP_OFF if tag == 0x22 else UNIT_OFF
            parts[row, part] = pos
            parts[row + 1, part] = length
            pos = pos + length if pos >= 0 else pos
        else:
            pos = pass_over(text, pos, stop)
        if pos < 0:
            return _BAD_METADATA
    if v2:
        s = parts[PART_SERIES, part]
        off, length = _metric_of(text, series[TEXT_OFF, s], series[TEXT_LEN, s], label)
        parts[METRIC_OFF, part] = off
        parts[METRIC_LEN, part] = length
    if parts[METRIC_LEN, part] == 0:
        return _BAD_METADATA
    state = np.uint64(parts[META_TYPE, part])
    for row in (METRIC_OFF, HELP_OFF, UNIT_OFF):
        state = mix(state, hash_bytes(text, parts[row, part], parts[row + 1, part]))
    parts[META_HASH, part] = np.int64(state)
    return 0


@njit(cache=True, nogil=True)
def read_parts(text, first, parts, v2, symbols, series, limits, cursor):  # type: ignore[no-untyped-def]
    """Read the parts of a body from number ``first`` on; False where the text has no room for the labels of
    exemplars."""
    refs = np.empty(MAX_REFS, np.int64)
    label = np.empty(4, np.int64)
    labels = np.empty((4, 64), np.int64)
    for part in range(first, parts.shape[1]):
        parts[PART_FAULT, part] = 0
        if parts[PART_KIND, part] == HISTOGRAM:
            fault, time_ms = check_histogram(text, parts[PART_OFF, part], parts[PART_LEN, part])
            parts[PART_FAULT, part] = fault
            parts[PART_TIME, part] = time_ms
        elif parts[PART_KIND, part] == EXEMPLAR:
            if not _exemplar(text, part, parts, v2, symbols, refs, labels, limits, cursor):
                return False
        else:
            parts[PART_FAULT, part] = _metadata(text, part, parts, v2, symbols, series, label)
    return True
