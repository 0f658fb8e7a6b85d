"""Where a label set lies between 0 and 1: the hash by which limit_ratio chooses series, that of Prometheus.

Its labels.Hash is XXH64 (seed 0) over all names and values, sorted by name, each after its length: one byte,
or from 255 on the byte 255 and three bytes, little-endian.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.telemetry.frames import F64
from agent.telemetry.labels import Labels, LabelTable

_P1, _P2, _P3 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_P4, _P5 = np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)


def offsets_of(table: LabelTable) -> F64:
    """One number for every label set."""
    encoded = [_encoded(row) for row in table.rows()]
    ends = np.cumsum([0, *map(len, encoded)])
    out = np.empty(len(encoded), np.uint64)
    _hash_all(np.frombuffer(b"".join(encoded), np.uint8), ends, out)
    return out / float((1 << 64) - 1)


def xxh64(raw: bytes) -> int:
    """XXH64 with seed 0."""
    return int(_xxh64(np.frombuffer(raw, np.uint8)))


def _encoded(labels: Labels) -> bytes:
    out = bytearray()
    for text in (text for pair in labels for text in pair):
        raw = text.encode("utf-8", "surrogateescape")
        out += bytes([len(raw)]) if len(raw) < 255 else b"\xff" + len(raw).to_bytes(3, "little")
        out += raw
    return bytes(out)


@njit(cache=True, nogil=True)
def _hash_all(raw, ends, out):  # type: ignore[no-untyped-def]
    for i in range(len(out)):
        out[i] = _xxh64(raw[ends[i] : ends[i + 1]])


@njit(cache=True, nogil=True)
def _xxh64(raw):  # type: ignore[no-untyped-def]
    """By the specification of xxHash."""
    size = len(raw)
    pos = 0
    state = _P5
    if size >= 32:
        a, b, c, d = _P1 + _P2, _P2, np.uint64(0), np.uint64(0) - _P1
        while pos <= size - 32:
            a = _round(a, _word(raw, pos, 8))
            b = _round(b, _word(raw, pos + 8, 8))
            c = _round(c, _word(raw, pos + 16, 8))
            d = _round(d, _word(raw, pos + 24, 8))
            pos += 32
        state = _rotated(a, 1) + _rotated(b, 7) + _rotated(c, 12) + _rotated(d, 18)
        for lane in (a, b, c, d):
            state = (state ^ _round(np.uint64(0), lane)) * _P1 + _P4
    state += np.uint64(size)
    while pos <= size - 8:
        state = _rotated(state ^ _round(np.uint64(0), _word(raw, pos, 8)), 27) * _P1 + _P4
        pos += 8
    if pos <= size - 4:
        state = _rotated(state ^ (_word(raw, pos, 4) * _P1), 23) * _P2 + _P3
        pos += 4
    while pos < size:
        state = _rotated(state ^ (np.uint64(raw[pos]) * _P5), 11) * _P1
        pos += 1
    state = (state ^ (state >> np.uint64(33))) * _P2
    state = (state ^ (state >> np.uint64(29))) * _P3
    return state ^ (state >> np.uint64(32))


@njit(cache=True, nogil=True)
def _word(raw, pos, size):  # type: ignore[no-untyped-def]
    word = np.uint64(0)
    for i in range(size):
        word |= np.uint64(raw[pos + i]) << np.uint64(8 * i)
    return word


@njit(cache=True, nogil=True)
def _round(lane, word):  # type: ignore[no-untyped-def]
    return _rotated(lane + word * _P2, 31) * _P1


@njit(cache=True, nogil=True)
def _rotated(word, by):  # type: ignore[no-untyped-def]
    return (word << np.uint64(by)) | (word >> np.uint64(64 - by))
