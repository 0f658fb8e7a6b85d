"""Values as integers and back: the kernels behind the values of a block.

A series whose values are all decimals of a few digits becomes its values times a power of ten; then the first of them,
and for the others what they differ by (``blockcodec`` says in which forms). What usual series need is done
without a branch a value, so that the compiler handles several at once; whatever is unusual takes a slower way.
"""

from __future__ import annotations

import numpy as np
from numba import njit

MOST_DIGITS = 9
RAW = -1  # the exponent of a series that is kept as it is
PLAIN, STEPS, DISTANCES = range(3)  # what the integers behind the first are
LARGEST = float(2**50)
JUDGED = 24  # samples of a series, to choose the form
POWERS = 10.0 ** np.arange(MOST_DIGITS + 1)
_MANY = 2.0**900  # times any number that is judged, it is a double still


@njit(cache=True, nogil=True)
def _is_odd(value):  # type: ignore[no-untyped-def]
    """NaN, an infinity, or minus zero."""
    return not np.isfinite(value) or (value == 0.0 and np.signbit(value))


@njit(cache=True, nogil=True)
def _digits_of(v, digits, powers):  # type: ignore[no-untyped-def]
    """After how many decimal digits, ``digits`` at least, a value that is not odd ends; RAW where it does not."""
    while digits <= MOST_DIGITS:
        scaled = np.rint(v * powers[digits])
        if abs(scaled) < LARGEST and scaled / powers[digits] == v:
            return digits
        digits += 1
    return RAW


@njit(cache=True, nogil=True)
def _expected(value, powers):  # type: ignore[no-untyped-def]
    """The digits that the first, the middle and the last value of a series need; RAW where one has too many."""
    digits = 0
    if len(value) == 0:
        return digits
    for k in (0, len(value) // 2, len(value) - 1):
        if not _is_odd(value[k]):
            digits = _digits_of(value[k], digits, powers)
            if digits == RAW:
                break
    return digits


@njit(cache=True, nogil=True)
def _scaled(value, bits, power, numbers):  # type: ignore[no-untyped-def]
    """Write all values times a power as integers. Whether these give every one back: none is odd then."""
    wrong = np.int64(0)
    for k in range(len(value)):
        whole = np.rint(value[k] * power)
        numbers[k] = np.int64(whole)
        same = (abs(whole) < LARGEST) & (whole / power == value[k]) & ((value[k] != 0.0) | (bits[k] == 0))
        wrong += not same
    return wrong == 0


@njit(cache=True, nogil=True)
def _digits(value, powers):  # type: ignore[no-untyped-def]
    """After how many decimal digits every value of a series ends but for odd ones; RAW where they do not."""
    digits = 0
    recheck = 0  # what is before was judged with fewer digits
    for i in range(len(value)):
        v = value[i]
        if _is_odd(v):
            continue
        needed = _digits_of(v, digits, powers)
        if needed == RAW:
            return RAW
        if needed > digits:
            digits, recheck = needed, i
    for i in range(recheck):
        if not _is_odd(value[i]) and _digits_of(value[i], digits, powers) != digits:
            return RAW
    return digits


@njit(cache=True, nogil=True)
def _scaled_around(value, start, power, numbers, odd):  # type: ignore[no-untyped-def]
    """As ``_scaled``, but for odd values, for which the one before stands in; their places, counted on from
    ``start``, go to ``odd``. Returns how many."""
    last, o = np.int64(0), 0
    for k in range(len(value)):
        if _is_odd(value[k]):
            odd[o] = start + k
            o += 1
        else:
            last = np.int64(np.rint(value[k] * power))
        numbers[k] = last
    return o


@njit(cache=True, nogil=True)
def _bits(numbers, bits):  # type: ignore[no-untyped-def]
    """Bits a sample that the integers of a series take in each form, about, judged by some of them. The sum of their
    logarithms is that of their product: a logarithm takes as long as everything else here."""
    if len(numbers) < 2:
        return
    plain = steps = apart = 1.0
    least_plain = least_step = least_apart = np.int64(0)
    judged, first = 0, numbers[0]
    for k in range(1, len(numbers), max(1, len(numbers) // JUDGED)):
        number, step, distance = numbers[k], numbers[k] - numbers[k - 1], numbers[k] - first
        plain *= 1.0 + abs(number)
        steps *= 1.0 + abs(step)
        apart *= 1.0 + abs(distance)
        least_plain, least_step = min(least_plain, number), min(least_step, step)
        least_apart = min(least_apart, distance)
        judged += 1
        if max(plain, steps, apart) > _MANY:
            _add_logarithms(bits, plain, steps, apart)
            plain = steps = apart = 1.0
    _add_logarithms(bits, plain, steps, apart)
    for form, least in ((PLAIN, least_plain), (STEPS, least_step), (DISTANCES, least_apart)):
        bits[form] = bits[form] / judged + (least < 0)


@njit(cache=True, nogil=True)
def _add_logarithms(bits, plain, steps, apart):  # type: ignore[no-untyped-def]
    bits[PLAIN] += np.log2(plain)
    bits[STEPS] += np.log2(steps)
    bits[DISTANCES] += np.log2(apart)


@njit(cache=True, nogil=True)
def split(value, bits, offsets, powers, exponent, numbers, raw, odd):  # type: ignore[no-untyped-def]
    """Sort the values of series into ``numbers`` (scaled integers), ``raw`` or, by their places, ``odd``, with the
    exponent of each series. ``bits`` are those of ``value``. Returns how many numbers, raw and odd ones there are."""
    n = r = o = 0
    for i in range(len(exponent)):
        own = value[offsets[i] : offsets[i + 1]]
        to = numbers[n : n + len(own)]
        exponent[i] = _expected(own, powers)
        if exponent[i] != RAW and not _scaled(
            own, bits[offsets[i] : offsets[i + 1]], powers[exponent[i]], to
        ):
            exponent[i] = _digits(own, powers)
            if exponent[i] != RAW:
                o += _scaled_around(own, offsets[i], powers[exponent[i]], to, odd[o:])
        if exponent[i] == RAW:
            raw[r : r + len(own)] = own
            r += len(own)
        else:
            n += len(own)
    return n, r, o


@njit(cache=True, nogil=True)
def choose_forms(offsets, exponent, numbers, form):  # type: ignore[no-untyped-def]
    """The form that suits the group, but for series that another one suits better by a bit a sample: mixed forms
    cost bits too."""
    bits = np.zeros((len(exponent), 3))
    first = 0
    for i in range(len(exponent)):
        if exponent[i] != RAW:
            behind = first + offsets[i + 1] - offsets[i]
            _bits(numbers[first:behind], bits[i])
            first = behind
    usual = np.argmin(bits.sum(axis=0))
    for i in range(len(exponent)):
        form[i] = PLAIN
        if exponent[i] != RAW:
            own = np.argmin(bits[i])
            form[i] = own if bits[i, own] < bits[i, usual] - 1.0 else usual


@njit(cache=True, nogil=True)
def take_differences(offsets, exponent, form, numbers, first):  # type: ignore[no-untyped-def]
    """Part the numbers into the ``first`` of each series and, in their own place one behind the other, the others in
    the form of the series. Returns how many these and those are."""
    at = f = rest = 0
    for i in range(len(exponent)):
        size = offsets[i + 1] - offsets[i]
        if exponent[i] == RAW or size == 0:
            continue
        first[f] = numbers[at]
        base = np.int64(0) if form[i] == PLAIN else first[f]
        own = numbers[at + 1 : at + size]
        to = numbers[rest : rest + len(own)]  # lies before ``own``, or is it
        if form[i] == STEPS:
            for k in range(len(own)):
                number = own[k]
                to[k] = number - base
                base = number
        else:
            for k in range(len(own)):
                to[k] = own[k] - base
        f += 1
        at += size
        rest += len(own)
    return f, rest


@njit(cache=True, nogil=True)
def join(offsets, powers, exponent, form, first, rest, raw, value):  # type: ignore[no-untyped-def]
    """The values of series that were taken apart, but for the odd ones."""
    n = r = f = 0
    for i in range(len(exponent)):
        start, behind = offsets[i], offsets[i + 1]
        if exponent[i] == RAW:
            for k in range(start, behind):
                value[k] = raw[r]
                r += 1
            continue
        if start == behind:
            continue
        number = first[f]
        base = np.int64(0) if form[i] == PLAIN else number
        f += 1
        value[start] = number
        steps = form[i] == STEPS
        for k in range(start + 1, behind):
            number = (number if steps else base) + rest[n]
            n += 1
            value[k] = number
        if exponent[i] > 0:
            power = powers[exponent[i]]
            for k in range(start, behind):
                value[k] /= power
