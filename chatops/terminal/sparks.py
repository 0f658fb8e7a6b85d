"""Numbers and rows of numbers in few characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"


def sparkline(points: Sequence[tuple[float, float]], first: float, last: float, width: int) -> str:
    """Blocks from the lowest value to the highest, over ``first`` to ``last``; a block is the mean of the
    points that fall into it, a space where there are none."""
    cells: list[list[float]] = [[] for _ in range(width)]
    span = last - first or 1.0
    for at, value in points:
        if math.isfinite(value):
            cells[min(width - 1, int((at - first) / span * width + 1e-9))].append(value)
    means = [sum(cell) / len(cell) if cell else None for cell in cells]
    known = [mean for mean in means if mean is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return "".join(" " if mean is None else _bar(mean, low, high) for mean in means)


def _bar(value: float, low: float, high: float) -> str:
    if high <= low:
        return BARS[3]
    return BARS[min(len(BARS) - 1, int((value - low) / (high - low) * len(BARS)))]


def number(value: float) -> str:
    """Five digits and all of a whole number, no exponent where a person would write none."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.3e}"
    return f"{value:.0f}" if size >= 1e4 or value == math.floor(value) else f"{value:.5g}"
