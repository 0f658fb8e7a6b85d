"""Numbers as Prometheus' JSON writes them, as compiled kernels: shortest text that reads back as the same value.

``write_float`` gives what Go's ``strconv.FormatFloat(v, format, -1, 64)`` gives, where format is ``f``, and ``e``
below 1e-6 and from 1e21 on (``util/jsonutil``). The digits come from Schubfach (Raffaello Giulietti, "The
Schubfach way to render doubles", 2021), which needs one table of powers of ten and three multiplications.

Kernels write into ``out`` (bytes) at ``pos`` and return the position behind; the caller has made room
(``FLOAT_BYTES``, ``TIME_BYTES``, and eight bytes at the end). The compiler's cache looks at a function's own file only: after a
change here, touch the files of the kernels that call these.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from actors.aggregator.prometheus.words import high_product, leading_zeros, store8, trailing_zeros
from agent.telemetry.frames import U8, U64

FLOAT_BYTES = 32  # the longest is -2.2250738585072014e-308; what is behind it may be written over
TIME_BYTES = 24  # -9223372036854775.808

_FIRST_POWER, _LAST_POWER = -292, 324
_HIDDEN_BIT = 1 << 52


def _powers() -> U64:
    """``ceil(10^k / 2^n)`` with 128 bits, as (high, low), for each ``k`` that a double needs."""
    table = np.empty((_LAST_POWER - _FIRST_POWER + 1, 2), np.uint64)
    for row, k in enumerate(range(_FIRST_POWER, _LAST_POWER + 1)):
        over, under = (10**k, 1) if k >= 0 else (1, 10**-k)
        shift = 127 - _floor_log2(over, under)
        over, under = (over << shift, under) if shift >= 0 else (over, under << -shift)
        value = -(-over // under)
        table[row] = value >> 64, value & 0xFFFFFFFFFFFFFFFF
    return table


def _floor_log2(over: int, under: int) -> int:
    guess = over.bit_length() - under.bit_length()
    below = over < under << guess if guess >= 0 else over << -guess < under
    return guess - 1 if below else guess


_POWERS = _powers()
_TENS: U64 = np.array([10**k for k in range(20)], np.uint64)
_ZEROS = np.uint64(0x3030303030303030)  # eight of the character 0
_ZERO_POINT = np.uint64(0x3030303030302E30)  # 0.000000
_PAIRS: U8 = np.frombuffer("".join(f"{pair:02d}" for pair in range(100)).encode(), np.uint8)


@njit(cache=True, nogil=True)
def _round_to_odd(high, low, factor):  # type: ignore[no-untyped-def]
    """The upper 64 bits of a 192-bit product; the lowest tells whether anything was cut off."""
    carried = high_product(low, factor)
    middle = np.uint64(high * factor)
    total = np.uint64(middle + carried)
    upper = high_product(high, factor) + np.uint64(total < middle)
    return np.uint64(upper | np.uint64(total > 1))


@njit(cache=True, nogil=True)
def _shortest(mantissa, exponent):  # type: ignore[no-untyped-def]
    """``(digits, power of ten)`` of a positive double that is not a whole number below 2^53."""
    if exponent != 0:
        c, q = np.uint64(mantissa | np.uint64(_HIDDEN_BIT)), np.int64(exponent) - 1075
    else:
        c, q = np.uint64(mantissa), np.int64(-1074)
    odd = np.uint64(c & np.uint64(1))
    closer = mantissa == 0 and exponent > 1
    four = np.uint64(c << np.uint64(2))
    k = (q * 1262611 - (524031 if closer else 0)) >> 22
    shift = np.uint64(q + ((-k * 1741647) >> 19) + 1)
    high, low = _POWERS[-k - _FIRST_POWER, 0], _POWERS[-k - _FIRST_POWER, 1]
    below = np.uint64(four - np.uint64(1 if closer else 2))
    lower = np.uint64(_round_to_odd(high, low, np.uint64(below << shift)) + odd)
    value = _round_to_odd(high, low, np.uint64(four << shift))
    upper = np.uint64(_round_to_odd(high, low, np.uint64((four + np.uint64(2)) << shift)) - odd)
    s = np.uint64(value >> np.uint64(2))
    if s >= 10:
        tens = np.uint64(s // np.uint64(10))
        down = lower <= np.uint64(40) * tens
        up = np.uint64(40) * tens + np.uint64(40) <= upper
        if down != up:
            return np.uint64(tens + np.uint64(up)), k + 1
    down = lower <= np.uint64(4) * s
    up = np.uint64(4) * s + np.uint64(4) <= upper
    if down != up:
        return np.uint64(s + np.uint64(up)), k
    middle = np.uint64(4) * s + np.uint64(2)
    rounded = value > middle or (value == middle and (s & np.uint64(1)) != 0)
    return np.uint64(s + np.uint64(rounded)), k


@njit(cache=True, nogil=True)
def _count_digits(value):  # type: ignore[no-untyped-def]
    """Of a number above 0 and below 10^19."""
    guess = ((np.uint64(64) - leading_zeros(value)) * np.uint64(1233)) >> np.uint64(12)
    return np.int64(guess) + np.int64(value >= _TENS[guess])


@njit(cache=True, nogil=True)
def _eight(value):  # type: ignore[no-untyped-def]
    """The digits of a number below 10^8 as bytes of a word, leading zeros among them, the first one lowest.
    Each step halves lanes: 8 digits, 2 x 4, 4 x 2, 8 x 1, by multiplication with a reciprocal."""
    upper = value // np.uint64(10_000)
    x = upper | (value - upper * np.uint64(10_000)) << np.uint64(32)
    hundreds = ((x * np.uint64(10486)) >> np.uint64(20)) & np.uint64(0x7F0000007F)
    x = hundreds | (x - np.uint64(100) * hundreds) << np.uint64(16)
    tens = ((x * np.uint64(103)) >> np.uint64(10)) & np.uint64(0x000F000F000F000F)
    return tens | (x - np.uint64(10) * tens) << np.uint64(8)


@njit(cache=True, nogil=True)
def write_whole(out, pos, value):  # type: ignore[no-untyped-def]
    """An unsigned whole number below 10^19. Seven bytes behind it may be written over."""
    value = np.uint64(value)
    if value < 10:
        out[np.uint64(pos)] = np.uint8(48 + value)
        return pos + 1
    if value < 100_000_000:
        return _write_short(out, pos, value)
    upper = np.uint64(value // np.uint64(100_000_000))
    if upper < 100_000_000:
        pos = _write_short(out, pos, upper)
    else:
        top = np.uint64(upper // np.uint64(100_000_000))
        pos = _write_short(out, pos, top)
        store8(out, pos, _eight(upper - top * np.uint64(100_000_000)) | _ZEROS)
        pos += 8
    store8(out, pos, _eight(value - upper * np.uint64(100_000_000)) | _ZEROS)
    return pos + 8


@njit(cache=True, nogil=True)
def _write_short(out, pos, value):  # type: ignore[no-untyped-def]
    """A number from 1 to 10^8 - 1."""
    word = _eight(value)
    unused = np.uint64(trailing_zeros(word)) & np.uint64(0x78)  # bits of the zeros before it
    store8(out, pos, (word | _ZEROS) >> unused)
    return pos + 8 - np.int64(unused >> np.uint64(3))


@njit(cache=True, nogil=True)
def _seventeen(digits):  # type: ignore[no-untyped-def]
    """The 17 digits of a number below 10^17 as two words and the last one; how many there are without the zeros
    at the end."""
    first = np.uint64(digits // np.uint64(10_000_000_000_000_000))
    rest = digits - first * np.uint64(10_000_000_000_000_000)
    middle = np.uint64(rest // np.uint64(100_000_000))
    upper, lower = _eight(middle), _eight(rest - middle * np.uint64(100_000_000))
    if lower != 0:
        count = 17 - np.int64(leading_zeros(lower) >> np.uint64(3))
    else:
        count = 9 - np.int64(leading_zeros(upper) >> np.uint64(3))
    head = first | upper << np.uint64(8)
    tail = upper >> np.uint64(56) | lower << np.uint64(8)
    return head | _ZEROS, tail | _ZEROS, np.uint8(48 + (lower >> np.uint64(56))), count


@njit(cache=True, nogil=True)
def _write_fraction(out, pos, digits, exponent):  # type: ignore[no-untyped-def]
    """``digits`` (17 of them) with the first one at 10^``exponent``, without an exponent: -6 to 20."""
    head, tail, last, count = _seventeen(digits)
    before = exponent + 1
    if before <= 0:
        store8(out, pos, _ZERO_POINT)
        pos += 2 - before
        store8(out, pos, head)
        store8(out, pos + 8, tail)
        out[np.uint64(pos + 16)] = last
        return pos + count
    if before < 8:
        store8(out, pos, head)
        store8(out, pos + before + 1, head >> np.uint64(8 * before))
    else:
        store8(out, pos + 1, head)
    store8(out, pos + 9, tail)
    out[np.uint64(pos + 17)] = last
    if before >= 8:
        for i in range(min(before, 17)):
            out[np.uint64(pos + i)] = out[np.uint64(pos + i + 1)]
        for i in range(17, before):
            out[np.uint64(pos + i)] = 48
    out[np.uint64(pos + before)] = 46
    return pos + count + 1 if count > before else pos + before


@njit(cache=True, nogil=True)
def _write_scientific(out, pos, digits, exponent):  # type: ignore[no-untyped-def]
    """``d.ddde-07``: the exponent has a sign and at least two digits."""
    end = _write_fraction(out, pos, digits, 0)
    out[end] = 101
    out[end + 1] = 45 if exponent < 0 else 43
    exponent = abs(exponent)
    if exponent < 10:
        out[end + 2] = 48
        return write_whole(out, end + 3, exponent)
    return write_whole(out, end + 2, exponent)


@njit(cache=True, nogil=True)
def _write_special(out, pos, negative, nan):  # type: ignore[no-untyped-def]
    if nan:
        out[pos], out[pos + 1], out[pos + 2] = 78, 97, 78
        return pos + 3
    out[pos] = 45 if negative else 43
    out[pos + 1], out[pos + 2], out[pos + 3] = 73, 110, 102
    return pos + 4


@njit(cache=True, nogil=True)
def write_float(out, pos, bits):  # type: ignore[no-untyped-def]
    """The text of the double whose bit pattern is ``bits``."""
    bits = np.uint64(bits)
    mantissa = np.uint64(bits & np.uint64(_HIDDEN_BIT - 1))
    exponent = np.int64((bits >> np.uint64(52)) & np.uint64(0x7FF))
    negative = (bits >> np.uint64(63)) != 0
    if exponent == 0x7FF:
        return _write_special(out, pos, negative, mantissa != 0)
    if negative:
        out[pos] = 45
        pos += 1
    if exponent == 0 and mantissa == 0:
        out[pos] = 48
        return pos + 1
    whole = np.uint64(mantissa | np.uint64(_HIDDEN_BIT))
    cut = 1075 - exponent
    if 0 <= cut < 53 and whole & np.uint64((1 << np.uint64(cut)) - 1) == 0:
        return write_whole(out, pos, np.uint64(whole >> np.uint64(cut)))
    digits, power = _shortest(mantissa, exponent)
    count = _count_digits(digits)
    digits = np.uint64(digits * _TENS[np.uint64(17 - count)])
    first = power + count - 1  # the exponent of the leading digit
    if first < -6 or first >= 21:
        return _write_scientific(out, pos, digits, first)
    return _write_fraction(out, pos, digits, first)


@njit(cache=True, nogil=True)
def write_time(out, pos, time_ms):  # type: ignore[no-untyped-def]
    """Milliseconds as seconds: three digits behind the point, and none for a full second."""
    if time_ms < 0:
        out[pos] = 45
        pos += 1
        time_ms = -time_ms
    seconds = time_ms // 1000
    rest = time_ms - seconds * 1000
    pos = write_whole(out, pos, seconds)
    if rest == 0:
        return pos
    out[pos] = 46
    out[pos + 1] = 48 + rest // 100
    pair = 2 * (rest % 100)
    out[pos + 2], out[pos + 3] = _PAIRS[pair], _PAIRS[pair + 1]
    return pos + 4


@njit(cache=True, nogil=True)
def _one(out, bits):  # type: ignore[no-untyped-def]
    return write_float(out, 0, bits)


def float_text(value: float) -> str:
    """One float as text; the few that are not columns (scalars, histograms)."""
    out = np.empty(2 * FLOAT_BYTES, np.uint8)
    return out[: _one(out, np.float64(value).view(np.uint64))].tobytes().decode()


def time_text(time_ms: int) -> str:
    """One time as text."""
    seconds, rest = divmod(abs(time_ms), 1000)
    return f"{'-' if time_ms < 0 else ''}{seconds}" + (f".{rest:03d}" if rest else "")
