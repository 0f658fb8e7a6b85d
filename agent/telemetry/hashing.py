"""64-bit hashes of bytes and of words, the same in every process; what the identity of a series is made of.

``hash_bytes`` multiplies two words into 128 bits and folds these, three pairs at a time, which is how wyhash by
Wang Yi does it (its construction, not its values). Not against an adversary: who picks the bytes can make two of
their own collide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, overload

from agent.telemetry.wire import little64

_A, _B = np.uint64(0x2D358DCCAA6C78A5), np.uint64(0x8BB84B93962EACC9)
_C, _D = np.uint64(0x4B33A62ED433D4A3), np.uint64(0x4D5A2DA51DE1AA47)
_8, _16, _24, _32, _40, _48 = (np.uint64(8 * i) for i in range(1, 7))


def folded(a: Any, b: Any) -> Any:
    """The product of two words, its upper half on its lower one. What kernels get where they are not compiled."""
    product = int(a) * int(b)
    return np.uint64((product ^ product >> 64) & 0xFFFFFFFFFFFFFFFF)


def _code(typingctx, a, b):  # type: ignore[no-untyped-def]
    def code(context, builder, signature, args):  # type: ignore[no-untyped-def]
        wide, word = ir.IntType(128), ir.IntType(64)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        upper = builder.lshr(product, ir.Constant(wide, 64))
        return builder.xor(builder.trunc(product, word), builder.trunc(upper, word))

    return types.uint64(types.uint64, types.uint64), code


_folded: Any = intrinsic(_code)


@overload(folded)
def _compiled_folded(a, b):  # type: ignore[no-untyped-def]
    return lambda a, b: _folded(a, b)


@njit(cache=True, nogil=True)
def hash_bytes(raw, off, length):  # type: ignore[no-untyped-def]
    """A hash of ``raw[off : off + length]``."""
    pos = np.uint64(off)
    left = np.uint64(length)
    end = pos + left
    state = left ^ _D
    if left > _48:
        second = state
        third = state
        while left > _48:
            state = folded(little64(raw, pos) ^ _A, little64(raw, pos + _8) ^ state)
            second = folded(little64(raw, pos + _16) ^ _B, little64(raw, pos + _24) ^ second)
            third = folded(little64(raw, pos + _32) ^ _C, little64(raw, pos + _40) ^ third)
            pos += _48
            left -= _48
        state ^= second ^ third
    while left > _16:
        state = folded(little64(raw, pos) ^ _A, little64(raw, pos + _8) ^ state)
        pos += _16
        left -= _16
    first = np.uint64(0)
    last = np.uint64(0)
    if length >= 16:
        first = little64(raw, end - _16)
        last = little64(raw, end - _8)
    elif length >= 8:
        first = little64(raw, pos)
        last = little64(raw, end - _8)
    else:
        while pos < end:
            first = (first << _8) | np.uint64(raw[pos])
            pos += np.uint64(1)
    return folded(folded(first ^ _B, last ^ state) ^ _A, np.uint64(length) ^ _C)


@njit(cache=True, nogil=True)
def mix(state, word):  # type: ignore[no-untyped-def]
    """One step of a hash of words: multiply, rotate, multiply, with the finalizer of MurmurHash3."""
    h = state ^ (word * np.uint64(0x9E3779B97F4A7C15))
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xFF51AFD7ED558CCD)
    h ^= h >> np.uint64(33)
    h *= np.uint64(0xC4CEB9FE1A85EC53)
    return h ^ (h >> np.uint64(33))


@njit(cache=True, nogil=True)
def slot_of(rows, key):  # type: ignore[no-untyped-def]
    """Where a key lies in a table of open addressing, or would: rows begin with the key, and the last word of
    a free one is 0. The table has a power of two of them, and free ones among these."""
    mask = np.uint64(len(rows) - 1)
    slot = key & mask
    while rows[slot, 3] != 0 and rows[slot, 0] != key:
        slot = (slot + np.uint64(1)) & mask
    return slot
