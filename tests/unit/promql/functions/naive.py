"""The range functions once more, one window at a time and in plain Python, as Prometheus defines them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise

Samples = Sequence[tuple[int, float]]
Naive = Callable[[Samples, int, int], float | None]
"""From the samples of a window, its end and its range (ms)."""


def window(samples: Samples, end_ms: int, range_ms: int) -> Samples:
    return [(time, value) for time, value in samples if end_ms - range_ms < time <= end_ms]


def extrapolated(is_counter: bool, is_rate: bool) -> Naive:
    def rate(samples: Samples, end_ms: int, range_ms: int) -> float | None:
        if len(samples) < 2:
            return None
        (first_ms, first), (last_ms, last) = samples[0], samples[-1]
        rise = last - first
        for (_, before), (_, value) in pairwise(samples):
            if is_counter and value < before:
                rise += before
        to_start, to_end = (first_ms - (end_ms - range_ms)) / 1000, (end_ms - last_ms) / 1000
        sampled = (last_ms - first_ms) / 1000
        average = sampled / (len(samples) - 1)
        if to_start >= average * 1.1:
            to_start = average / 2
        if is_counter and rise > 0 and first >= 0:
            to_start = min(to_start, sampled * (first / rise))
        if to_end >= average * 1.1:
            to_end = average / 2
        factor = (sampled + to_start + to_end) / sampled
        return rise * (factor / (range_ms / 1000) if is_rate else factor)

    return rate


def instant(is_rate: bool) -> Naive:
    def rate(samples: Samples, end_ms: int, range_ms: int) -> float | None:
        if len(samples) < 2:
            return None
        (before_ms, before), (last_ms, last) = samples[-2:]
        rise = last if is_rate and last < before else last - before
        return rise / ((last_ms - before_ms) / 1000) if is_rate else rise

    return rate


def _inc(total: float, error: float, add: float) -> tuple[float, float]:
    fresh = total + add
    if math.isinf(fresh):
        return fresh, 0.0
    if abs(total) >= abs(add):
        return fresh, error + ((total - fresh) + add)
    return fresh, error + ((add - fresh) + total)


def total(samples: Samples, end_ms: int, range_ms: int) -> float | None:
    sum_, error = 0.0, 0.0
    for _, value in samples:
        sum_, error = _inc(sum_, error, value)
    if not samples:
        return None
    return sum_ if math.isinf(sum_) else sum_ + error


def mean(samples: Samples, end_ms: int, range_ms: int) -> float | None:
    if not samples:
        return None
    sum_, error, average, incremental = samples[0][1], 0.0, 0.0, False
    for count, (_, value) in enumerate(samples[1:], 2):
        if not incremental:
            fresh, fresh_error = _inc(sum_, error, value)
            if not math.isinf(fresh):
                sum_, error = fresh, fresh_error
                continue
            incremental, average, error = True, sum_ / (count - 1), error / (count - 1)
        part = (count - 1) / count
        average, error = _inc(part * average, part * error, value / count)
    if incremental:
        return average + error
    return sum_ / len(samples) + error / len(samples)


def extreme(larger: bool) -> Naive:
    def best(samples: Samples, end_ms: int, range_ms: int) -> float | None:
        real = [value for _, value in samples if not math.isnan(value)]
        if not samples:
            return None
        return math.nan if not real else max(real) if larger else min(real)

    return best


def extreme_time(sign: float) -> Naive:
    def when(samples: Samples, end_ms: int, range_ms: int) -> float | None:
        if not samples:
            return None
        at, best = samples[0]
        for time, value in samples:
            if sign * value >= sign * best or math.isnan(best):
                at, best = time, value
        return at / 1000

    return when


def quantile_of(q: float, values: Sequence[float]) -> float:
    if math.isnan(q) or not values:
        return math.nan
    if not 0 <= q <= 1:
        return math.copysign(math.inf, q)
    ordered = sorted(values, key=lambda value: (not math.isnan(value), value))
    rank = q * (len(values) - 1)
    lower = math.floor(rank)
    upper = min(len(values) - 1, lower + 1)
    weight = rank - lower
    return ordered[lower] * (1 - weight) + ordered[upper] * weight


def quantile(q: float) -> Naive:
    return lambda samples, end_ms, range_ms: (
        quantile_of(q, [value for _, value in samples]) if samples else None
    )


def deviation(samples: Samples, end_ms: int, range_ms: int) -> float | None:
    values = [value for _, value in samples]
    if any(map(math.isnan, values)):
        return math.nan
    median = quantile_of(0.5, values)
    return quantile_of(0.5, [abs(value - median) for value in values]) if values else None


def variance(samples: Samples, end_ms: int, range_ms: int) -> float | None:
    """Exact, of finite values."""
    values = [Fraction(value) for _, value in samples]
    if not values:
        return None
    middle = sum(values) / len(values)
    return float(sum((value - middle) ** 2 for value in values) / len(values))


def welford(samples: Samples, end_ms: int, range_ms: int) -> float | None:
    """As Prometheus computes it, of any values."""
    mean = mean_error = squares = squares_error = 0.0
    for count, (_, value) in enumerate(samples, 1):
        delta = value - (mean + mean_error)
        mean, mean_error = _inc(mean, mean_error, delta / count)
        squares, squares_error = _inc(squares, squares_error, delta * (value - (mean + mean_error)))
    return (squares + squares_error) / len(samples) if samples else None


def line(samples: Samples, origin_ms: int) -> tuple[Fraction, Fraction]:
    """Exact: slope a second and value at the origin, of finite values."""
    xs = [Fraction(time - origin_ms, 1000) for time, _ in samples]
    ys = [Fraction(value) for _, value in samples]
    count = len(samples)
    x, y, zero = sum(xs, Fraction()), sum(ys, Fraction()), Fraction()
    spread = sum((one * one for one in xs), zero) - x**2 / count
    slope = (sum((a * b for a, b in zip(xs, ys, strict=True)), zero) - x * y / count) / spread
    return slope, y / count - slope * x / count


def prometheus_line(samples: Samples, origin_ms: int) -> tuple[float, float]:
    """As Prometheus computes it, of any values."""
    values = [value for _, value in samples]
    if all(value == values[0] for value in values[1:]):
        return (math.nan, math.nan) if math.isinf(values[0]) else (0.0, values[0])
    sums = [(0.0, 0.0)] * 4
    for time, y in samples:
        x = (time - origin_ms) / 1000
        sums = [_inc(*held, add) for held, add in zip(sums, (x, y, x * y, x * x), strict=True)]
    x, y, xy, xx = (sum_ + error for sum_, error in sums)
    slope = (xy - x * y / len(samples)) / (xx - x * x / len(samples))
    return slope, y / len(samples) - slope * x / len(samples)


def predicted(ahead_s: float) -> Naive:
    def value(samples: Samples, end_ms: int, range_ms: int) -> float | None:
        if len(samples) < 2:
            return None
        slope, now = prometheus_line(samples, end_ms)
        return slope * ahead_s + now

    return value


def steepness(samples: Samples, end_ms: int, range_ms: int) -> float | None:
    return prometheus_line(samples, samples[0][0])[0] if len(samples) > 1 else None


def slope(samples: Samples, end_ms: int, range_ms: int) -> float | None:
    return float(line(samples, end_ms)[0]) if len(samples) > 1 else None


def smoothed(factor: float, trend: float) -> Naive:
    def level(samples: Samples, end_ms: int, range_ms: int) -> float | None:
        if len(samples) < 2:
            return None
        values = [value for _, value in samples]
        before, now, rise = 0.0, values[0], values[1] - values[0]
        for i, value in enumerate(values[1:]):
            rise = rise if i == 0 else trend * (now - before) + (1 - trend) * rise
            before, now = now, factor * value + (1 - factor) * (now + rise)
        return now

    return level


def count_pairs(counts: Callable[[float, float], bool]) -> Naive:
    def count(samples: Samples, end_ms: int, range_ms: int) -> float | None:
        values = [value for _, value in samples]
        if not values:
            return None
        return float(sum(counts(a, b) for a, b in pairwise(values)))

    return count


def changed(before: float, value: float) -> bool:
    return value != before and not (math.isnan(value) and math.isnan(before))


def of_samples(take: Callable[[Samples], float]) -> Naive:
    return lambda samples, end_ms, range_ms: take(samples) if samples else None
