"""Numbers of an exposition from text to float64 as compiled kernels, right to the last bit or not at all.

``parse_float`` takes at most 19 significant digits, which it holds exactly, and rounds by the method of
D. Lemire, "Number Parsing at a Gigabyte per Second" (2021): the digits times a 128-bit power of five. Where
that cannot decide, or the text is not a plain decimal, it says so and the caller takes the slow way.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.telemetry.wire import byte_at

MIN_POWER, MAX_POWER = -342, 308
_MAX_DIGITS = 19
_NAN, _INF, _INFINITY = (np.frombuffer(text, np.uint8) for text in (b"nan", b"inf", b"infinity"))


def _powers_of_five() -> np.ndarray[tuple[int, int], np.dtype[np.uint64]]:
    """Row ``q - MIN_POWER``: the top 128 bits of ``5**q``, high and low, the highest bit set; rounded up
    below ``5**0``, down above, as the method asks."""
    rows = []
    for power in range(MIN_POWER, MAX_POWER + 1):
        if power >= 0:
            value = 5**power
            bits = value.bit_length()
            top = value << (128 - bits) if bits <= 128 else value >> (bits - 128)
        else:
            divisor = 5**-power
            bits = divisor.bit_length()
            top = (1 << (bits + 127)) // divisor + 1
            while top >> 128:
                top >>= 1
        rows.append((top >> 64, top & (1 << 64) - 1))
    return np.asarray(rows, np.uint64)


POWERS = _powers_of_five()


@njit(cache=True, nogil=True)
def _multiply(a, b):  # type: ignore[no-untyped-def]
    """``(high, low)`` of the product of two unsigned 64-bit numbers."""
    low32 = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    a0, a1, b0, b1 = a & low32, a >> shift, b & low32, b >> shift
    p00, p01, p10, p11 = a0 * b0, a0 * b1, a1 * b0, a1 * b1
    middle = (p00 >> shift) + (p01 & low32) + (p10 & low32)
    return p11 + (p01 >> shift) + (p10 >> shift) + (middle >> shift), a * b


@njit(cache=True, nogil=True)
def _leading_zeros(value):  # type: ignore[no-untyped-def]
    zeros = 0
    for step in (32, 16, 8, 4, 2, 1):
        if value >> np.uint64(64 - step) == 0:
            value <<= np.uint64(step)
            zeros += step
    return zeros


@njit(cache=True, nogil=True)
def _lemire(digits, power, powers):  # type: ignore[no-untyped-def]
    """``(bits, decided)`` of the float64 nearest to ``digits * 10**power``; ``digits`` is not 0. Numbers that
    are not normal are left to the slow way."""
    if power < MIN_POWER or power > MAX_POWER:
        return np.uint64(0), False
    zeros = _leading_zeros(digits)
    digits <<= np.uint64(zeros)
    row = power - MIN_POWER
    high, low = _multiply(digits, powers[row, 0])
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        more, _ = _multiply(digits, powers[row, 1])
        low += more
        if low < more:
            high += np.uint64(1)
        if high & np.uint64(0x1FF) == np.uint64(0x1FF) and low + np.uint64(1) == 0:
            return np.uint64(0), False
    upper = high >> np.uint64(63)
    mantissa = high >> (upper + np.uint64(9))
    exponent = ((217706 * power) >> 16) + 1086 - zeros + np.int64(upper)
    # Halfway between two floats: the digits decide, which are not all here.
    if low <= np.uint64(1) and high & np.uint64(0x1FF) == 0 and mantissa & np.uint64(3) == np.uint64(1):
        return np.uint64(0), False
    mantissa = (mantissa + (mantissa & np.uint64(1))) >> np.uint64(1)
    if mantissa >= np.uint64(1 << 53):
        mantissa >>= np.uint64(1)
        exponent += 1
    if exponent < 1 or exponent > 2046:
        return np.uint64(0), False
    return (np.uint64(exponent) << np.uint64(52)) | (mantissa & np.uint64((1 << 52) - 1)), True


@njit(cache=True, nogil=True)
def _is_word(raw, off, length, word):  # type: ignore[no-untyped-def]
    if length != len(word):
        return False
    i = 0
    while i < length and byte_at(raw, off + i) | 0x20 == word[i]:
        i += 1
    return i == length


@njit(cache=True, nogil=True)
def _special(raw, off, length):  # type: ignore[no-untyped-def]
    """``(bits, whether it is nan or an infinity)``; NaN is the one that Prometheus keeps."""
    if _is_word(raw, off, length, _NAN):
        return np.uint64(0x7FF8000000000001), True
    sign = np.uint64(0)
    if length and (byte_at(raw, off) == 45 or byte_at(raw, off) == 43):
        sign = np.uint64(byte_at(raw, off) == 45) << np.uint64(63)
        off += 1
        length -= 1
    if _is_word(raw, off, length, _INF) or _is_word(raw, off, length, _INFINITY):
        return sign | np.uint64(0x7FF0000000000000), True
    return np.uint64(0), False


@njit(cache=True, nogil=True)
def _decimal(raw, off, length):  # type: ignore[no-untyped-def]
    """``(digits, power of ten, negative, whether it is a plain decimal of at most 19 digits)``."""
    pos, end = off, off + length
    digits, power, count, seen = np.uint64(0), 0, 0, 0
    negative = pos < end and byte_at(raw, pos) == 45
    if pos < end and (negative or byte_at(raw, pos) == 43):
        pos += 1
    point = False
    while pos < end:
        byte = byte_at(raw, pos)
        if 48 <= byte <= 57:
            if count or byte != 48:
                count += 1
            if count > _MAX_DIGITS:
                return digits, power, negative, False
            digits = digits * np.uint64(10) + np.uint64(byte - 48)
            seen += 1
            power -= point
        elif byte == 46 and not point:
            point = True
        else:
            break
        pos += 1
    if seen == 0:
        return digits, power, negative, False
    if pos < end and byte_at(raw, pos) | 0x20 == 101:
        exponent, pos = _exponent(raw, pos + 1, end)
        power += exponent
    return digits, power, negative, pos == end


@njit(cache=True, nogil=True)
def _exponent(raw, pos, end):  # type: ignore[no-untyped-def]
    """``(exponent, next position)``; the position is 0 where there is none that makes sense."""
    minus = pos < end and byte_at(raw, pos) == 45
    if pos < end and (minus or byte_at(raw, pos) == 43):
        pos += 1
    begin, value = pos, 0
    while pos < end and 48 <= byte_at(raw, pos) <= 57 and pos - begin < 6:
        value = value * 10 + (byte_at(raw, pos) - 48)
        pos += 1
    if pos == begin:
        return 0, -1
    return (-value if minus else value), pos


@njit(cache=True, nogil=True)
def parse_floats(raw, off, length, out, slow, powers):  # type: ignore[no-untyped-def]
    """The bits of the numbers at ``off[i] : off[i] + length[i]`` into ``out`` (uint64). Rows that it cannot
    decide go into ``slow``; their number is returned."""
    left = 0
    for i in range(len(off)):
        digits, power, negative, plain = _decimal(raw, off[i], length[i])
        bits, decided = np.uint64(0), plain
        if plain and digits != 0:
            bits, decided = _lemire(digits, power, powers)
        if not plain:
            bits, decided = _special(raw, off[i], length[i])
        if not decided:
            slow[left] = i
            left += 1
        elif plain and negative:
            bits |= np.uint64(1) << np.uint64(63)
        out[i] = bits
    return left


@njit(cache=True, nogil=True)
def parse_integers(raw, off, length, out):  # type: ignore[no-untyped-def]
    """Whole numbers of at most 18 digits into ``out``; the first row that is none, or -1."""
    for i in range(len(off)):
        pos, end = off[i], off[i] + length[i]
        negative = pos < end and byte_at(raw, pos) == 45
        if pos < end and (negative or byte_at(raw, pos) == 43):
            pos += 1
        if pos == end or end - pos > 18:
            return i
        value = np.int64(0)
        while pos < end:
            byte = byte_at(raw, pos)
            if byte < 48 or byte > 57:
                return i
            value = value * 10 + np.int64(byte - 48)
            pos += 1
        out[i] = -value if negative else value
    return -1
