"""Native histograms in the language of Prometheus' test scripts.

``{{schema:1 sum:3 count:22 z_bucket:1 z_bucket_w:0.001 offset:-1 buckets:[5 10 7] n_offset:0 n_buckets:[1]
custom_values:[1 5] counter_reset_hint:gauge}}``, every part at most once and none required, and the series
``{{..}}x3``, ``{{..}}+{{..}}x3``, ``{{..}}-{{..}}x3`` (the first one and three more).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from agent.telemetry.frames import F64
from agent.telemetry.native_buckets import CUSTOM_SCHEMA, MAX_SCHEMA, MIN_SCHEMA, NO_VALUES, Side
from agent.telemetry.native_histogram import CounterReset, FloatHistogram, InvalidHistogram

MAX_REPEATS = 100_000
_PART = re.compile(r"\s*([a-z_]+)\s*:\s*(\[[^\]]*\]|[^\s\[\]{}]+)")
_SERIES = re.compile(r"\s*(\{\{.*?\}\})\s*(?:([+-])\s*(\{\{.*?\}\}))?\s*(?:x\s*(\d+))?\s*", re.DOTALL)


def parse_literal(text: str) -> FloatHistogram:
    """The histogram of ``{{...}}``. Raises InvalidHistogram."""
    inner = text.strip()
    if not (inner.startswith("{{") and inner.endswith("}}")):
        raise InvalidHistogram(f"a native histogram is written {{{{...}}}}, got {text[:80]!r}")
    parts: dict[str, Any] = {}
    body, pos = inner[2:-2].rstrip(), 0
    while pos < len(body):
        found = _PART.match(body, pos)
        if found is None:
            raise InvalidHistogram(f"cannot read {body[pos : pos + 40]!r} in a native histogram")
        name, value = found.groups()
        if name not in _READERS:
            raise InvalidHistogram(f"bad histogram descriptor found: {name!r}")
        if name in parts:
            raise InvalidHistogram(f"{name!r} is given twice in a native histogram")
        parts[name] = _READERS[name](value)
        pos = found.end()
    return _built(parts)


def parse_series(text: str) -> list[FloatHistogram]:
    """The histograms of one item of a ``load`` line. Raises InvalidHistogram."""
    found = _SERIES.fullmatch(text)
    if found is None:
        raise InvalidHistogram(f"cannot read {text[:80]!r} as a series of native histograms")
    first, sign, step, times = found.groups()
    repeats = int(times or 0)
    if repeats > MAX_REPEATS:
        raise InvalidHistogram(f"a series of {repeats} native histograms, at most {MAX_REPEATS} are spoken")
    return expand(parse_literal(first), parse_literal(step) if step else None, sign or "+", repeats)


def expand(base: FloatHistogram, step: FloatHistogram | None, sign: str, times: int) -> list[FloatHistogram]:
    """``base`` and ``times`` more, each ``step`` above (``+``) or below (``-``) the one before."""
    out = [base]
    for _ in range(times):
        if step is None:
            out.append(base)
            continue
        if out[-1].schema > step.schema:
            raise InvalidHistogram(
                f"error combining histograms: cannot merge from schema {step.schema} to {out[-1].schema}"
            )
        out.append((out[-1].add(step) if sign == "+" else out[-1].sub(step)).histogram)
    return out


def _built(parts: dict[str, Any]) -> FloatHistogram:
    schema = parts.get("schema", 0)
    if schema != CUSTOM_SCHEMA and not MIN_SCHEMA <= schema <= MAX_SCHEMA:
        raise InvalidHistogram(
            f"schema {schema} is not spoken: {MIN_SCHEMA} to {MAX_SCHEMA}, or {CUSTOM_SCHEMA} for custom values"
        )
    return FloatHistogram(
        schema,
        parts.get("count", 0.0),
        parts.get("sum", 0.0),
        parts.get("z_bucket_w", 0.0),
        parts.get("z_bucket", 0.0),
        Side.at(parts.get("offset", 0), parts.get("buckets", NO_VALUES)),
        Side.at(parts.get("n_offset", 0), parts.get("n_buckets", NO_VALUES)),
        parts.get("custom_values", NO_VALUES),
        parts.get("counter_reset_hint", CounterReset.UNKNOWN),
    )


def _number(text: str) -> float:
    try:
        return float(int(text, 16)) if text.lower().lstrip("+-").startswith("0x") else float(text)
    except ValueError:
        raise InvalidHistogram(f"a number was expected in a native histogram, got {text!r}") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidHistogram(f"a whole number was expected in a native histogram, got {text!r}") from None


def _numbers(text: str) -> F64:
    if not text.startswith("["):
        raise InvalidHistogram(f"a list such as [1 2 3] was expected in a native histogram, got {text!r}")
    return np.array([_number(one) for one in text[1:-1].split()], np.float64)


def _hint(text: str) -> CounterReset:
    try:
        return CounterReset(text)
    except ValueError:
        raise InvalidHistogram(
            f"bad histogram counter reset hint found: {text!r}, one of {[str(h) for h in CounterReset]} is meant"
        ) from None


_READERS: dict[str, Callable[[str], Any]] = {
    "schema": _whole,
    "sum": _number,
    "count": _number,
    "z_bucket": _number,
    "z_bucket_w": _number,
    "buckets": _numbers,
    "n_buckets": _numbers,
    "offset": _whole,
    "n_offset": _whole,
    "custom_values": _numbers,
    "counter_reset_hint": _hint,
}
