"""The texts of annotations, as Prometheus writes them, and its ways to print a string and a number."""

from __future__ import annotations

import math
from decimal import Decimal

_ESCAPES = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v",
    "\\": "\\\\", '"': '\\"',
}  # fmt: skip
_SIGNIFICANT = 6  # from this exponent on Go's %g writes one


def quoted(text: str) -> str:
    """A string literal of Go (``%q``)."""
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else _hexed(c)) for c in text) + '"'


def _hexed(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as surrogateescape keeps it
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def general(number: float) -> str:
    """A number as Go's ``%g`` prints it: the shortest digits that mean the same number."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    if number == 0:
        return "-0" if math.copysign(1, number) < 0 else "0"
    sign, digits, exponent = Decimal(repr(number)).normalize().as_tuple()
    point = len(digits) + int(exponent)  # places before the decimal point
    text = "".join(map(str, digits))
    if not -4 <= point - 1 < _SIGNIFICANT:
        mantissa = text[0] + ("." + text[1:] if len(text) > 1 else "")
        out = f"{mantissa}e{'-' if point < 1 else '+'}{abs(point - 1):02d}"
    elif point <= 0:
        out = "0." + "0" * -point + text
    elif point >= len(text):
        out = text + "0" * (point - len(text))
    else:
        out = text[:point] + "." + text[point:]
    return "-" + out if sign else out


def not_a_counter(metric: str) -> str:
    return f"metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {quoted(metric)}"


def mixed_samples(metric: str) -> str:
    return f"encountered a mix of histograms and floats for metric name {quoted(metric)}"


def ignored_histograms(metric: str) -> str:
    return (
        "ignored histograms in a range containing both floats and histograms for metric name "
        f"{quoted(metric)}"
    )


def invalid_quantile(quantile: float) -> str:
    return f"quantile value should be between 0 and 1, got {general(quantile)}"


SORT_IN_RANGE = "sort is ineffective for range queries since results are always ordered by labels"
