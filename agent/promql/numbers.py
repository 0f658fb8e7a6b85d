"""Numbers as Prometheus writes them, which is as Go formats them."""

from __future__ import annotations

import math

import numpy as np

from agent.telemetry.native_text import short

__all__ = ["go_value", "half_away", "plain_number", "short"]


def plain_number(number: float) -> str:
    """As Go's FormatFloat with 'f' and -1: shortest digits, no exponent."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    return np.format_float_positional(number, trim="-")


def go_value(number: float) -> str:
    """As Go's %v: an exponent below 1e-4 and from 1e21."""
    if number == 0 or not math.isfinite(number) or 1e-4 <= abs(number) < 1e21:
        return plain_number(number)
    mantissa, _, power = np.format_float_scientific(number, trim="-").partition("e")
    return f"{mantissa}e{int(power):+03d}"


def half_away(number: float) -> float:
    """The nearest whole number, of two the one farther from 0 (Go's math.Round)."""
    whole = math.trunc(number)
    return float(whole + math.copysign(1, number) if abs(number - whole) >= 0.5 else whole)
