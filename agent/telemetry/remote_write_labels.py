"""The labels of a series that is not known yet: checked, sorted, written in canonical form.

This is the slow way that every series goes once: ``canonical`` reads the Label messages that the scan left
alone. Like Prometheus it sorts labels that come unsorted, takes a label with an empty value for absent, and
refuses a label name twice, a name that is empty, text that is not UTF-8 and a series without a metric name.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit

from agent.telemetry.hashing import hash_bytes, mix
from agent.telemetry.remote_write_scan import (
    TEXT,
    TEXT_LEN,
    TEXT_OFF,
    pass_over,
    put_label,
    span,
)
from agent.telemetry.wire import byte_at


class Fault(IntEnum):
    """Why a series or a sample is refused; the words are those of Prometheus where it has some."""

    NONE = 0
    MALFORMED_LABEL = 1
    NO_METRIC_NAME = 2
    EMPTY_LABEL_NAME = 3
    NOT_UTF8 = 4
    DUPLICATE_LABEL = 5
    TOO_MANY_LABELS = 6
    LABEL_NAME_TOO_LONG = 7
    LABEL_VALUE_TOO_LONG = 8
    TOO_MANY_SERIES = 9
    TOO_MANY_SERIES_OF_SOURCE = 10
    OUT_OF_ORDER = 11
    DUPLICATE_SAMPLE = 12
    TOO_OLD = 13
    IN_THE_FUTURE = 14
    MALFORMED_HISTOGRAM = 15
    HISTOGRAM_SCHEMA = 16
    HISTOGRAM_SPAN_OFFSET = 17
    HISTOGRAM_SPANS = 18
    HISTOGRAM_NEGATIVE_BUCKET = 19
    HISTOGRAM_BOUNDS = 20
    HISTOGRAM_COUNT_NOT_BIG_ENOUGH = 21
    HISTOGRAM_COUNT_MISMATCH = 22
    BAD_EXEMPLAR = 23
    BAD_METADATA = 24
    RATE_LIMITED = 25

    @property
    def reason(self) -> str:
        return self.name.lower()


FAULT_SENTENCES = {
    Fault.MALFORMED_LABEL: "a label is not a well formed message",
    Fault.NO_METRIC_NAME: "invalid metric name or labels: the series has no metric name (__name__)",
    Fault.EMPTY_LABEL_NAME: "invalid metric name or labels: a label name is empty",
    Fault.NOT_UTF8: "invalid metric name or labels: a label is not valid UTF-8",
    Fault.DUPLICATE_LABEL: "invalid labels for series: duplicated label",
    Fault.TOO_MANY_LABELS: "the series has more labels than are accepted (gateway.max_labels)",
    Fault.LABEL_NAME_TOO_LONG: "a label name is longer than is accepted (gateway.max_name_bytes)",
    Fault.LABEL_VALUE_TOO_LONG: "a label value is longer than is accepted (gateway.max_label_value_bytes)",
    Fault.TOO_MANY_SERIES: "the tenant has as many series as are accepted (gateway.max_series)",
    Fault.TOO_MANY_SERIES_OF_SOURCE: "job and instance have as many series as are accepted "
    "(gateway.max_series_per_source)",
    Fault.OUT_OF_ORDER: "out of order sample",
    Fault.DUPLICATE_SAMPLE: "duplicate sample for timestamp",
    Fault.TOO_OLD: "out of bounds: too old sample",
    Fault.IN_THE_FUTURE: "out of bounds: the sample lies too far in the future",
    Fault.MALFORMED_HISTOGRAM: "invalid histogram: it is not a well formed message",
    Fault.HISTOGRAM_SCHEMA: "invalid histogram: the schema must be -4 to 8, or -53 with custom bounds alone",
    Fault.HISTOGRAM_SPAN_OFFSET: "invalid histogram: it has a span whose offset is negative",
    Fault.HISTOGRAM_SPANS: "invalid histogram: spans specify another number of buckets than provided",
    Fault.HISTOGRAM_NEGATIVE_BUCKET: "invalid histogram: it has a bucket whose observation count is negative",
    Fault.HISTOGRAM_BOUNDS: "invalid histogram: custom bounds must ascend, be finite and cover the spans",
    Fault.HISTOGRAM_COUNT_NOT_BIG_ENOUGH: "invalid histogram: its observation count should be at least the "
    "number of observations found in the buckets",
    Fault.HISTOGRAM_COUNT_MISMATCH: "invalid histogram: its observation count should equal the number of "
    "observations found in the buckets",
    Fault.BAD_EXEMPLAR: "invalid exemplar",
    Fault.BAD_METADATA: "invalid metadata",
    Fault.RATE_LIMITED: "job and instance send more rows a second than are accepted "
    "(gateway.max_rows_per_source_per_s), send the body again later",
}

# Rows of ``limits``.
MAX_LABELS, MAX_NAME_BYTES, MAX_VALUE_BYTES = range(3)

_MALFORMED, _NO_NAME, _EMPTY = (
    int(Fault.MALFORMED_LABEL),
    int(Fault.NO_METRIC_NAME),
    int(Fault.EMPTY_LABEL_NAME),
)
_UTF8, _TWICE, _MANY = int(Fault.NOT_UTF8), int(Fault.DUPLICATE_LABEL), int(Fault.TOO_MANY_LABELS)
_LONG_NAME, _LONG_VALUE = int(Fault.LABEL_NAME_TOO_LONG), int(Fault.LABEL_VALUE_TOO_LONG)
METRIC_NAME_BYTES = np.frombuffer(b"__name__", np.uint8)
_JOB, _INSTANCE = np.frombuffer(b"job", np.uint8), np.frombuffer(b"instance", np.uint8)


@njit(cache=True, nogil=True)
def is_utf8(text, off, length):  # type: ignore[no-untyped-def]
    """Well formed by the Unicode standard, table 3-7: no surrogates, no overlong forms."""
    i = off
    end = off + length
    while i < end:
        byte = byte_at(text, i)
        if byte < 0x80:
            i += 1
            continue
        low = 0x80
        high = 0xBF
        if byte < 0xC2 or byte > 0xF4:
            return False
        more = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
        if byte == 0xE0:
            low = 0xA0
        elif byte == 0xED:
            high = 0x9F
        elif byte == 0xF0:
            low = 0x90
        elif byte == 0xF4:
            high = 0x8F
        if i + more >= end:
            return False
        if byte_at(text, i + 1) < low or byte_at(text, i + 1) > high:
            return False
        for k in range(2, more + 1):
            if byte_at(text, i + k) & 0xC0 != 0x80:
                return False
        i += more + 1
    return True


@njit(cache=True, nogil=True)
def _compare(text, a, a_len, b, b_len):  # type: ignore[no-untyped-def]
    for i in range(min(a_len, b_len)):
        x = byte_at(text, a + i)
        y = byte_at(text, b + i)
        if x != y:
            return -1 if x < y else 1
    return 0 if a_len == b_len else -1 if a_len < b_len else 1


@njit(cache=True, nogil=True)
def equals(text, off, length, word):  # type: ignore[no-untyped-def]
    if length != len(word):
        return False
    for i in range(length):  # noqa: SIM110  the compiler knows no generators
        if byte_at(text, off + i) != word[i]:
            return False
    return True


@njit(cache=True, nogil=True)
def read_label(text, pos, stop, label):  # type: ignore[no-untyped-def]
    """Name and value of a Label as off, len, off, len in ``label``; False where it is malformed."""
    label[:] = 0
    while pos < stop:
        tag = byte_at(text, pos)
        if tag == 0x0A or tag == 0x12:
            length, pos = span(text, pos + 1, stop)
            if pos < 0:
                return False
            k = 0 if tag == 0x0A else 2
            label[k] = pos
            label[k + 1] = length
            pos += length
        elif tag >> 3 == 1 or tag >> 3 == 2:
            return False
        else:
            pos = pass_over(text, pos, stop)
            if pos < 0:
                return False
    return True


@njit(cache=True, nogil=True)
def _insert(text, labels, count, label):  # type: ignore[no-untyped-def]
    """Put a label at its place among ``count`` sorted ones; False where its name is there already."""
    at = count
    while at > 0:
        order = _compare(text, labels[0, at - 1], labels[1, at - 1], label[0], label[1])
        if order == 0:
            return False
        if order < 0:
            break
        at -= 1
    for k in range(count, at, -1):
        labels[:, k] = labels[:, k - 1]
    labels[:, at] = label
    return True


@njit(cache=True, nogil=True)
def sorted_labels(text, off, length, limits, labels):  # type: ignore[no-untyped-def]
    """Read Label messages into the columns of ``labels`` (name off, len, value off, len), sorted. Returns
    ``(fault, how many)``."""
    label = np.empty(4, np.int64)
    count = 0
    pos = off
    stop = off + length
    while pos < stop:
        if byte_at(text, pos) != 0x0A:
            return _MALFORMED, count
        size, pos = span(text, pos + 1, stop)
        if pos < 0 or not read_label(text, pos, pos + size, label):
            return _MALFORMED, count
        pos += size
        if label[1] == 0:
            return _EMPTY, count
        if label[1] > limits[MAX_NAME_BYTES]:
            return _LONG_NAME, count
        if label[3] > limits[MAX_VALUE_BYTES]:
            return _LONG_VALUE, count
        if not is_utf8(text, label[0], label[1]) or not is_utf8(text, label[2], label[3]):
            return _UTF8, count
        if label[3] == 0:
            continue
        if count == min(limits[MAX_LABELS], labels.shape[1]):
            return _MANY, count
        if not _insert(text, labels, count, label):
            return _TWICE, count
        count += 1
    return 0, count


@njit(cache=True, nogil=True)
def canonical(text, unknown, series, hashes, raw_hashes, place, faults, limits, cursor, seed):  # type: ignore[no-untyped-def]
    """Bring the series that ``unknown`` lists into canonical form behind the text, which has room for it.

    ``series`` and ``hashes`` are corrected; ``raw_hashes[u]`` keeps the hash that the text had as it came;
    ``place[u]`` hashes what decides the owner: job and instance, or all labels where there is neither;
    ``faults[u]`` is the Fault, 0 where all is well."""
    labels = np.empty((4, limits[MAX_LABELS]), np.int64)
    for u in range(len(unknown)):
        s = unknown[u]
        raw_hashes[u] = hashes[s]
        fault, count = sorted_labels(text, series[TEXT_OFF, s], series[TEXT_LEN, s], limits, labels)
        off = cursor[TEXT]
        at = off
        named = False
        placed = seed
        for k in range(count if fault == 0 else 0):
            name = labels[0, k]
            name_len = labels[1, k]
            value = labels[2, k]
            value_len = labels[3, k]
            named |= equals(text, name, name_len, METRIC_NAME_BYTES)
            if equals(text, name, name_len, _JOB) or equals(text, name, name_len, _INSTANCE):
                placed = mix(placed ^ np.uint64(name_len), hash_bytes(text, value, value_len))
            at = put_label(text, at, name, name_len, value, value_len)
        faults[u] = fault if fault != 0 or named else _NO_NAME
        if faults[u] != 0:
            continue
        cursor[TEXT] = at
        series[TEXT_OFF, s] = off
        series[TEXT_LEN, s] = at - off
        hashes[s] = hash_bytes(text, off, at - off)
        place[u] = placed if placed != seed else mix(seed, hashes[s])
