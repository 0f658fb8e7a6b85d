"""Stable 64-bit names of strings, so that statistics of different hours meet without a shared table."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b

import numba as nb
import numpy as np

from agent.telemetry.frames import U64


@lru_cache(maxsize=65_536)
def hash_text(text: str) -> int:
    """Never 0, which stands for "none"."""
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def hash_texts(texts: Iterable[str]) -> U64:
    return np.fromiter((hash_text(text) for text in texts), np.uint64)


@nb.njit(cache=True, nogil=True, inline="always")
def mix(a, b):  # type: ignore[no-untyped-def]
    """One hash of two, in order (the finalizer of splitmix64, Steele et al. 2014)."""
    x = a * np.uint64(0x9E3779B97F4A7C15) + b + np.uint64(0xD1B54A32D192ED03)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@nb.njit(cache=True, nogil=True)
def mix_columns(a: U64, b: U64) -> U64:
    out = np.empty(len(a), np.uint64)
    for i in range(len(a)):
        out[i] = mix(a[i], b[i])
    return out
