"""Native histograms as text: Prometheus' own notation, and the form of its HTTP API."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.telemetry.native_histogram import BucketRows, FloatHistogram

_EXPONENT_FROM = 6
_OPEN, _OPEN_LEFT, _OPEN_RIGHT, _CLOSED = 2, 0, 1, 3


def describe(h: FloatHistogram) -> str:
    """``{count:.., sum:.., [a,b):n, ...}`` with the populated buckets in ascending order."""
    rows, parts = h.rows(), [f"count:{short(h.count)}", f"sum:{short(h.sum)}"]
    shown = [_bucket(rows, i) for i in range(len(rows.counts)) if rows.counts[i] != 0]
    if h.zero_count < 0:  # the rows leave it out
        negative = sum(1 for count in h.negative.count.tolist() if count != 0)
        edge = short(h.zero_threshold)
        shown.insert(negative, f"[{short(-h.zero_threshold)},{edge}]:{short(h.zero_count)}")
    return "{" + ", ".join(parts + shown) + "}"


def to_json(h: FloatHistogram) -> dict[str, Any]:
    """``{"count", "sum", "buckets": [[bounds, lower, upper, count], ...]}``, the numbers as strings; the
    first of a bucket tells which bounds belong to it: 0 the upper, 1 the lower, 2 none, 3 both. Empty buckets
    are left out."""
    out: dict[str, Any] = {"count": json_number(h.count), "sum": json_number(h.sum)}
    rows = h.rows()
    buckets = []
    for lower, upper, at_lower, at_upper, count in zip(*(column.tolist() for column in rows), strict=True):
        if count == 0:
            continue
        kind = (_CLOSED if at_upper else _OPEN_RIGHT) if at_lower else (_OPEN_LEFT if at_upper else _OPEN)
        buckets.append([kind, json_number(lower), json_number(upper), json_number(count)])
    if buckets:
        out["buckets"] = buckets
    return out


def short(value: float) -> str:
    """As Go's ``%g``: the shortest digits that give the number back, an exponent below 1e-4 and from 1e6."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    sign, digits, point = _digits(value)
    if not -4 <= point - 1 < _EXPONENT_FROM:
        return sign + _scientific(digits, point)
    return sign + _plain(digits, point)


def json_number(value: float) -> str:
    """As the HTTP API writes a value: no exponent between 1e-6 and 1e21."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    sign, digits, point = _digits(value)
    if value != 0 and (abs(value) < 1e-6 or abs(value) >= 1e21):
        return sign + _scientific(digits, point)
    return sign + _plain(digits, point)


def _bucket(rows: BucketRows, i: int) -> str:
    left, right = "[" if rows.lower_inclusive[i] else "(", "]" if rows.upper_inclusive[i] else ")"
    lower, upper, count = float(rows.lower[i]), float(rows.upper[i]), float(rows.counts[i])
    return f"{left}{short(lower)},{short(upper)}{right}:{short(count)}"


def _digits(value: float) -> tuple[str, str, int]:
    """``(sign, digits, place of the point)``: the value is 0.digits * 10 ** point."""
    mantissa, _, exponent = f"{value!r}".lstrip("-").partition("e")
    whole, _, part = mantissa.partition(".")
    digits = (whole + part).lstrip("0")
    lead = len(whole + part) - len(digits)
    sign = "-" if math.copysign(1.0, value) < 0 else ""
    if not digits:
        return sign, "0", 1
    return sign, digits.rstrip("0"), len(whole) - lead + int(exponent or 0)


def _plain(digits: str, point: int) -> str:
    if point <= 0:
        return "0." + "0" * -point + digits
    if len(digits) <= point:
        return digits + "0" * (point - len(digits))
    return f"{digits[:point]}.{digits[point:]}"


def _scientific(digits: str, point: int) -> str:
    rest = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{rest}e{'-' if point < 1 else '+'}{abs(point - 1):02d}"
