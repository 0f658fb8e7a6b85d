"""Native histograms of remote write: a Histogram message is checked as a whole before it is taken.

What is checked is what Prometheus checks (model/histogram, ``Validate``): a known schema, spans that fit the
buckets, no bucket below zero, a count that the buckets add up to (of integer histograms; with a sum that is NaN
it may be more), and ascending bounds where the buckets are custom.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.telemetry.remote_write_labels import Fault
from agent.telemetry.remote_write_scan import pass_over, span
from agent.telemetry.wire import checked_varint, little64

CUSTOM_BUCKETS = -53
MIN_SCHEMA, MAX_SCHEMA = -4, 8

_MALFORMED, _SCHEMA = int(Fault.MALFORMED_HISTOGRAM), int(Fault.HISTOGRAM_SCHEMA)
_OFFSET, _SPANS = int(Fault.HISTOGRAM_SPAN_OFFSET), int(Fault.HISTOGRAM_SPANS)
_NEGATIVE, _BOUNDS = int(Fault.HISTOGRAM_NEGATIVE_BUCKET), int(Fault.HISTOGRAM_BOUNDS)
_FEW, _MISMATCH = int(Fault.HISTOGRAM_COUNT_NOT_BIG_ENOUGH), int(Fault.HISTOGRAM_COUNT_MISMATCH)

# What is gathered of a message. Of the sides, the negative one comes first.
_COUNT, _ZERO, _SCHEMA_AT, _TIME, _IS_FLOAT, _FAULT = range(6)
_SPAN_COUNT, _SPAN_LENGTH, _SPAN_REACH, _BUCKETS, _LAST, _TOTAL = 6, 8, 10, 12, 14, 16
_WORDS = 18
_SUM, _ZERO_FLOAT, _THRESHOLD, _BOUND, _BOUND_COUNT = range(5)


@njit(cache=True, nogil=True)
def _double(bits):  # type: ignore[no-untyped-def]
    one = np.empty(1, np.uint64)
    one[0] = bits
    return one.view(np.float64)[0]


@njit(cache=True, nogil=True)
def _zigzag(value):  # type: ignore[no-untyped-def]
    return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1))


@njit(cache=True, nogil=True)
def _span(text, pos, stop, side, words):  # type: ignore[no-untyped-def]
    """A BucketSpan: 1 sint32 offset, 2 uint32 length."""
    offset = np.int64(0)
    length = np.int64(0)
    while pos < stop:
        tag = text[pos]
        if tag == 0x08 or tag == 0x10:
            value, pos = checked_varint(text, pos + 1, stop)
            if tag == 0x08:
                offset = np.int64(np.int32(_zigzag(value)))
            else:
                length = np.int64(value & np.uint64(0xFFFFFFFF))
        else:
            pos = pass_over(text, pos, stop)
        if pos < 0:
            return False
    if words[_SPAN_COUNT + side] > 0 and offset < 0:
        words[_FAULT] = _OFFSET
    words[_SPAN_COUNT + side] += 1
    words[_SPAN_LENGTH + side] += length
    words[_SPAN_REACH + side] += offset + length
    return True


@njit(cache=True, nogil=True)
def _bucket(field, bits, words, doubles):  # type: ignore[no-untyped-def]
    """One entry of a repeated number: a delta, a count or a bound."""
    if field == 16:
        bound = _double(bits)
        if np.isnan(bound) or np.isinf(bound) or (doubles[_BOUND_COUNT] > 0 and bound <= doubles[_BOUND]):
            words[_FAULT] = _BOUNDS
        doubles[_BOUND] = bound
        doubles[_BOUND_COUNT] += 1
        return
    side = 0 if field <= 10 else 1
    words[_BUCKETS + side] += 1
    if field == 9 or field == 12:
        words[_LAST + side] += _zigzag(bits)
        words[_TOTAL + side] += words[_LAST + side]
        if words[_LAST + side] < 0:
            words[_FAULT] = _NEGATIVE
    elif _double(bits) < 0:
        words[_FAULT] = _NEGATIVE


@njit(cache=True, nogil=True)
def _packed(text, pos, stop, field, words, doubles):  # type: ignore[no-untyped-def]
    while pos < stop:
        if field == 9 or field == 12:
            bits, pos = checked_varint(text, pos, stop)
            if pos < 0:
                return False
        else:
            if stop - pos < 8:
                return False
            bits = little64(text, pos)
            pos += 8
        _bucket(field, bits, words, doubles)
    return True


@njit(cache=True, nogil=True)
def _number(field, bits, words, doubles):  # type: ignore[no-untyped-def]
    """A single number of the message, or one of a repeated field that is not packed."""
    if field == 1:
        words[_COUNT] = np.int64(bits)
        words[_IS_FLOAT] = 0
    elif field == 2:
        words[_IS_FLOAT] = 1
    elif field == 3:
        doubles[_SUM] = _double(bits)
    elif field == 4:
        words[_SCHEMA_AT] = np.int64(np.int32(_zigzag(bits)))
    elif field == 5:
        doubles[_THRESHOLD] = _double(bits)
    elif field == 6:
        words[_ZERO] = np.int64(bits)
    elif field == 7:
        doubles[_ZERO_FLOAT] = _double(bits)
    elif field == 15:
        words[_TIME] = np.int64(bits)
    elif field == 9 or field == 10 or field == 12 or field == 13 or field == 16:
        _bucket(field, bits, words, doubles)


@njit(cache=True, nogil=True)
def _wire_of(field):  # type: ignore[no-untyped-def]
    """The wire type of a field's numbers; 2 for messages, -1 for fields that are not known."""
    if field in (1, 4, 6, 9, 12, 14, 15):
        return 0
    if field in (2, 3, 5, 7, 10, 13, 16):
        return 1
    return 2 if field in (8, 11) else -1


@njit(cache=True, nogil=True)
def _read(text, pos, stop, words, doubles):  # type: ignore[no-untyped-def]
    while pos < stop:
        start = pos
        tag, pos = checked_varint(text, pos, stop)
        if pos < 0:
            return False
        field = np.int64(tag >> np.uint64(3))
        wire = np.int64(tag & np.uint64(7))
        expected = _wire_of(field)
        if expected == -1:
            pos = pass_over(text, start, stop)
            if pos < 0:
                return False
        elif wire == 2:
            length, pos = span(text, pos, stop)
            if pos < 0:
                return False
            if expected == 2:
                good = _span(text, pos, pos + length, 0 if field == 8 else 1, words)
            else:
                good = field >= 9 and field != 14 and field != 15
                good = good and _packed(text, pos, pos + length, field, words, doubles)
            if not good:
                return False
            pos += length
        elif wire != expected:
            return False
        elif wire == 0:
            bits, pos = checked_varint(text, pos, stop)
            if pos < 0:
                return False
            _number(field, bits, words, doubles)
        else:
            if stop - pos < 8:
                return False
            _number(field, little64(text, pos), words, doubles)
            pos += 8
    return True


@njit(cache=True, nogil=True)
def check_histogram(text, off, length):  # type: ignore[no-untyped-def]
    """``(fault, time_ms)`` of a Histogram message."""
    words = np.zeros(_WORDS, np.int64)
    doubles = np.zeros(5, np.float64)
    if not _read(text, off, off + length, words, doubles):
        return _MALFORMED, np.int64(0)
    time_ms = words[_TIME]
    if words[_SCHEMA_AT] == CUSTOM_BUCKETS:
        no_zero = words[_ZERO] == 0 and doubles[_ZERO_FLOAT] == 0.0 and doubles[_THRESHOLD] == 0.0
        if not no_zero or words[_SPAN_COUNT] or words[_BUCKETS]:
            return _SCHEMA, time_ms
        if words[_SPAN_REACH + 1] > np.int64(doubles[_BOUND_COUNT]) + 1:
            return _BOUNDS, time_ms
    elif words[_SCHEMA_AT] < MIN_SCHEMA or words[_SCHEMA_AT] > MAX_SCHEMA:
        return _SCHEMA, time_ms
    elif doubles[_BOUND_COUNT] > 0:
        return _BOUNDS, time_ms
    if words[_FAULT]:
        return words[_FAULT], time_ms
    if words[_SPAN_LENGTH] != words[_BUCKETS] or words[_SPAN_LENGTH + 1] != words[_BUCKETS + 1]:
        return _SPANS, time_ms
    total = words[_TOTAL] + words[_TOTAL + 1] + words[_ZERO]
    if words[_IS_FLOAT] == 0 and total != words[_COUNT]:
        if not np.isnan(doubles[_SUM]):
            return _MISMATCH, time_ms
        if total > words[_COUNT]:
            return _FEW, time_ms
    return 0, time_ms
