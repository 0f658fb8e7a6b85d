"""Where a label set lies between 0 and 1: the hash by which limit_ratio chooses series, that of Prometheus.

Its labels.Hash is XXH64 (seed 0) over all names and values, sorted by name, each after its length: one byte,
or from 255 on the byte 255 and three bytes, little-endian.
"""

from __future__ import annotations

import struct

import numpy as np

from agent.telemetry.frames import F64
from agent.telemetry.labels import Labels, LabelTable

_P1, _P2, _P3, _P4, _P5 = (
    0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5,
)  # fmt: skip
_MASK = (1 << 64) - 1


def offsets_of(table: LabelTable) -> F64:
    """One number for every label set."""
    return np.array([xxh64(_encoded(row)) / float(_MASK) for row in table.rows()], np.float64)


def _encoded(labels: Labels) -> bytes:
    out = bytearray()
    for text in (text for pair in labels for text in pair):
        raw = text.encode("utf-8", "surrogateescape")
        out += bytes([len(raw)]) if len(raw) < 255 else b"\xff" + len(raw).to_bytes(3, "little")
        out += raw
    return bytes(out)


def xxh64(raw: bytes) -> int:
    """XXH64 with seed 0, by its specification."""
    pos, size = 0, len(raw)
    if size >= 32:
        lanes = [(_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK]
        while pos <= size - 32:
            words = struct.unpack_from("<4Q", raw, pos)
            lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
            pos += 32
        state = sum(_rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _MASK
        for lane in lanes:
            state = ((state ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        state = _P5
    state = (state + size) & _MASK
    while pos <= size - 8:
        state = (_rotated(state ^ _round(0, struct.unpack_from("<Q", raw, pos)[0]), 27) * _P1 + _P4) & _MASK
        pos += 8
    if pos <= size - 4:
        word = struct.unpack_from("<I", raw, pos)[0]
        state = (_rotated(state ^ (word * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        pos += 4
    for byte in raw[pos:]:
        state = _rotated(state ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    state = ((state ^ state >> 33) * _P2) & _MASK
    state = ((state ^ state >> 29) * _P3) & _MASK
    return state ^ state >> 32


def _round(lane: int, word: int) -> int:
    return _rotated((lane + word * _P2) & _MASK, 31) * _P1 & _MASK


def _rotated(word: int, by: int) -> int:
    return ((word << by) | (word >> (64 - by))) & _MASK
