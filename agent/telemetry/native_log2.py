"""Binary logarithm and exponential to the last digit as Go's math package computes them.

Interpolation on a logarithmic scale goes through both, and so do the bucket bounds that clients have agreed on:
``exp2(2.0 ** -schema)`` is the ratio of two bounds, rounded as theirs is.
"""

from __future__ import annotations

import math

_HIGHEST_POWER = 1023.9999999999999


def log2(value: float) -> float:
    """As Go has it: exact for powers of 2."""
    if value == 0 or math.isinf(value):
        return -math.inf if value == 0 else math.inf
    part, exponent = math.frexp(value)
    if part == 0.5:
        return float(exponent - 1)
    return math.log(part) * (1 / math.log(2)) + exponent


def exp2(value: float) -> float:
    """As Go has it, to the last digit: Cody and Waite's reduction and the rational approximation of FreeBSD's
    e_exp.c, so that a quantile at a bucket's bound is that bound as Prometheus prints it."""
    if math.isnan(value) or value > _HIGHEST_POWER:
        return math.nan if math.isnan(value) else math.inf
    if value < -1074:
        return 0.0
    whole = int(value + math.copysign(0.5, value)) if value else 0
    rest = value - whole
    high, low = rest * 6.93147180369123816490e-01, -rest * 1.90821492927058770002e-10
    r = high - low
    t = r * r
    c = r - t * (
        1.66666666666666657415e-01
        + t
        * (
            -2.77777777770155933842e-03
            + t
            * (
                6.61375632143793436117e-05
                + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08)
            )
        )
    )
    y = 1 - ((low - (r * c) / (2 - c)) - high)
    return math.ldexp(y, whole)
