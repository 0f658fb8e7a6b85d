"""Hashes of bytes: every bit counts, wherever the bytes lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit

from agent.telemetry.hashing import folded, hash_bytes


@pytest.mark.parametrize("size", [1, 7, 8, 15, 16, 17, 48, 49, 96, 97, 250])
def test_each_bit_of_the_bytes_changes_about_half_of_the_hash(size: int) -> None:
    raw = np.random.default_rng(size).integers(0, 256, size + 8).astype(np.uint8)
    before = int(hash_bytes(raw, 0, size))
    changed = []
    for bit in range(8 * size):
        other = raw.copy()
        other[bit // 8] ^= 1 << bit % 8
        changed.append((before ^ int(hash_bytes(other, 0, size))).bit_count())
    assert min(changed) > 10
    assert 30 < np.mean(changed) < 34


def test_neither_the_place_nor_what_lies_around_matters() -> None:
    raw = np.random.default_rng(1).integers(0, 256, 300).astype(np.uint8)
    for size in range(100):
        moved = np.full(400, 255, np.uint8)
        moved[37 : 37 + size] = raw[:size]
        assert hash_bytes(moved, 37, size) == hash_bytes(raw, 0, size)


def test_labels_that_differ_in_few_digits_do_not_collide() -> None:
    texts = [b'{"a":"%03d","bcdefg":"x%03d"}' % (i, k) for i in range(500) for k in range(500)]
    raw = np.frombuffer(b"".join(texts) + bytes(8), np.uint8)
    size = len(texts[0])
    assert len({int(hash_bytes(raw, at, size)) for at in range(0, len(raw) - 8, size)}) == len(texts)


def test_the_product_is_folded_alike_with_and_without_the_compiler() -> None:
    a, b = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
    compiled: Any = njit(lambda x, y: folded(x, y))
    wanted = a * b >> 64 ^ a * b & (1 << 64) - 1
    assert int(compiled(np.uint64(a), np.uint64(b))) == int(folded(np.uint64(a), np.uint64(b))) == wanted
