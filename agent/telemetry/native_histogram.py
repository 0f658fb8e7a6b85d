"""A native histogram sample with float counts, and its arithmetic, as Prometheus' model/histogram has it.

A value is never changed: every operation gives another one. Where two histograms meet, the coarser
resolution and the wider zero bucket win, and custom buckets keep the bounds that both have. Histograms of
exponential and of custom buckets do not mix: ``IncompatibleSchemas``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from agent.errors import BadInput
from agent.telemetry.batch import STALE_NAN_BITS
from agent.telemetry.frames import F64, Bool
from agent.telemetry.native_buckets import (
    CUSTOM_SCHEMA,
    EMPTY_SIDE,
    MIN_SCHEMA,
    NO_VALUES,
    Side,
    bounds,
    custom_bounds,
    lost,
    merged,
)
from agent.telemetry.native_text import describe

Close = Callable[[float, float], bool]


class CounterReset(StrEnum):
    """What is known about a reset between the sample before and this one."""

    UNKNOWN = "unknown"
    RESET = "reset"
    NOT_RESET = "not_reset"
    GAUGE = "gauge"


class IncompatibleSchemas(ValueError):
    """Exponential and custom buckets were to be combined."""

    def __init__(self) -> None:
        super().__init__("exponential and custom buckets cannot be combined in one native histogram")


class InvalidHistogram(BadInput):
    """A histogram that contradicts itself; the message is Prometheus' where it has one."""

    def __init__(self, message: str) -> None:
        super().__init__("invalid_native_histogram", message)

    def __reduce__(self) -> tuple[type[InvalidHistogram], tuple[str]]:  # type: ignore[override]
        return type(self), (self.message,)


class Combined(NamedTuple):
    """A sum or a difference. ``collision``: one side said reset, the other not_reset. ``reconciled``: the
    bounds of custom buckets differed, and those that both have were kept."""

    histogram: FloatHistogram
    collision: bool
    reconciled: bool


class BucketRows(NamedTuple):
    """Buckets in ascending order of their bounds, as columns."""

    lower: F64
    upper: F64
    lower_inclusive: Bool
    upper_inclusive: Bool
    counts: F64


@dataclass(frozen=True, slots=True, eq=False)
class FloatHistogram:
    """``schema`` is -4..8 (exponential) or -53 (``custom_values`` are the upper bounds, the last bucket is
    open; no zero bucket, no negative side). ``negative`` counts by the absolute value. ``sum`` is the stale
    marker where ``stale``."""

    schema: int = 0
    count: float = 0.0
    sum: float = 0.0
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    positive: Side = EMPTY_SIDE
    negative: Side = EMPTY_SIDE
    custom_values: F64 = field(default_factory=lambda: NO_VALUES)
    hint: CounterReset = CounterReset.UNKNOWN

    def __str__(self) -> str:
        return describe(self)

    @property
    def stale(self) -> bool:
        return math.isnan(self.sum) and struct.pack("<d", self.sum) == _STALE

    @property
    def custom(self) -> bool:
        return self.schema == CUSTOM_SCHEMA

    def hinted(self, hint: CounterReset) -> FloatHistogram:
        return self if hint is self.hint else replace(self, hint=hint)

    def mul(self, factor: float) -> FloatHistogram:
        with np.errstate(all="ignore"):
            return self._scaled(float(factor), Side.scaled, _times)

    def div(self, divisor: float) -> FloatHistogram:
        """By 0, the buckets go and what is left is infinite or NaN."""
        with np.errstate(all="ignore"):
            scaled = self._scaled(float(divisor), Side.divided, _over)
        if divisor == 0:
            return replace(scaled, positive=EMPTY_SIDE, negative=EMPTY_SIDE, hint=self.hint)
        return scaled

    def neg(self) -> FloatHistogram:
        return self.mul(-1.0)

    def add(self, other: FloatHistogram) -> Combined:
        """Raises IncompatibleSchemas."""
        return self._combined(other, 1.0)

    def sub(self, other: FloatHistogram) -> Combined:
        """As ``add`` also for the hint; the operator ``-`` makes a gauge of the result. Raises
        IncompatibleSchemas."""
        return self._combined(other, -1.0)

    def compact(self) -> FloatHistogram:
        """Without empty buckets."""
        return self._with_sides(self.positive.compact(), self.negative.compact())

    def copy_to_schema(self, schema: int) -> FloatHistogram:
        """At a resolution not above the present one."""
        if schema == self.schema:
            return self
        if self.custom or not MIN_SCHEMA <= schema < self.schema:
            raise ValueError(f"cannot take a native histogram from schema {self.schema} to {schema}")
        return replace(
            self,
            schema=schema,
            positive=self.positive.reduced(self.schema, schema),
            negative=self.negative.reduced(self.schema, schema),
        )

    def equals(self, other: FloatHistogram) -> bool:
        """Bit by bit the same data; empty buckets and the hint do not count."""
        return (
            self.schema == other.schema
            and _same_bits(self.count, other.count)
            and _same_bits(self.sum, other.sum)
            and self.zero_threshold == other.zero_threshold
            and _same_bits(self.zero_count, other.zero_count)
            and np.array_equal(self.custom_values, other.custom_values)
            and self.positive.same(other.positive)
            and self.negative.same(other.negative)
        )

    def almost_equals(self, other: FloatHistogram, close: Close) -> bool:
        """As ``equals``, the numbers (not the bounds) by ``close(a, b)``."""
        mine, its = self.compact(), other.compact()
        return (
            mine.schema == its.schema
            and close(mine.count, its.count)
            and close(mine.sum, its.sum)
            and mine.zero_threshold == its.zero_threshold
            and close(mine.zero_count, its.zero_count)
            and np.array_equal(mine.custom_values, its.custom_values)
            and _almost_same(mine.positive, its.positive, close)
            and _almost_same(mine.negative, its.negative, close)
        )

    def detect_reset(self, previous: FloatHistogram) -> bool:
        """Whether the counter began anew between ``previous`` and this: any count fell, or the layout got
        finer. A hint that says so is believed."""
        if self.hint in (CounterReset.RESET, CounterReset.NOT_RESET):
            return self.hint is CounterReset.RESET
        if self.count < previous.count:
            return True
        if self.custom != previous.custom:
            return True
        if self.custom:
            return self._custom_reset(previous)
        if self.schema > previous.schema or self.zero_threshold < previous.zero_threshold:
            return True
        zero_count, threshold = previous.widened(self.zero_threshold)
        if threshold != self.zero_threshold or self.zero_count < zero_count:
            return True
        return any(
            lost(
                then.reduced(previous.schema, self.schema).above(threshold, self.schema),
                now.above(threshold, self.schema),
            )
            for then, now in ((previous.positive, self.positive), (previous.negative, self.negative))
        )

    def rows(self) -> BucketRows:
        """All buckets, the zero bucket where it holds something. A bucket that reaches into the zero bucket
        begins at its edge."""
        if self.custom:
            lower, upper = custom_bounds(self.positive.index, self.custom_values)
            return BucketRows(
                lower, upper, self.positive.index == 0, np.ones(len(lower), np.bool_), self.positive.count
            )
        parts = [_exponential_rows(self.negative, self.schema, self.zero_threshold, mirrored=True)]
        if self.zero_count > 0:
            edge, yes = np.array([self.zero_threshold]), np.array([True])
            parts.append(BucketRows(-edge, edge, yes, yes, np.array([self.zero_count])))
        parts.append(_exponential_rows(self.positive, self.schema, self.zero_threshold, mirrored=False))
        return BucketRows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def widened(self, threshold: float) -> tuple[float, float]:
        """``(zero count, threshold)`` with a wider zero bucket; a threshold within a populated bucket moves
        to the bucket's outer end."""
        if threshold <= self.zero_threshold:
            return self.zero_count, threshold
        while True:
            count, grown = _swallowed(self.positive, self.schema, threshold, self.zero_count)
            threshold = max(threshold, grown)
            count, grown = _swallowed(self.negative, self.schema, threshold, count)
            if grown <= threshold:
                return count, threshold
            threshold = grown

    def with_zero_threshold(self, threshold: float, zero_count: float) -> FloatHistogram:
        """With a wider zero bucket that ends at a bucket's bound: the buckets inside are gone."""
        return replace(
            self,
            zero_threshold=threshold,
            zero_count=zero_count,
            positive=self.positive.above(threshold, self.schema).compact(),
            negative=self.negative.above(threshold, self.schema).compact(),
        )

    def _with_sides(self, positive: Side, negative: Side) -> FloatHistogram:
        if positive is self.positive and negative is self.negative:
            return self
        return replace(self, positive=positive, negative=negative)

    def _scaled(
        self, by: float, side: Callable[[Side, float], Side], number: Callable[[float, float], float]
    ) -> FloatHistogram:
        return replace(
            self,
            count=number(self.count, by),
            sum=number(self.sum, by),
            zero_count=number(self.zero_count, by),
            positive=side(self.positive, by),
            negative=side(self.negative, by),
            hint=CounterReset.GAUGE if by < 0 else self.hint,
        )

    def _combined(self, other: FloatHistogram, sign: float) -> Combined:
        if self.custom != other.custom:
            raise IncompatibleSchemas
        hint, collision = combined_hint(self.hint, other.hint)
        with np.errstate(all="ignore"):
            if self.custom:
                result, reconciled = self._combined_custom(other, sign, hint)
            else:
                result, reconciled = self._combined_exponential(other, sign, hint), False
        return Combined(result, collision, reconciled)

    def _combined_exponential(self, other: FloatHistogram, sign: float, hint: CounterReset) -> FloatHistogram:
        mine, zero_count, threshold = self, other.zero_count, other.zero_threshold
        while threshold != mine.zero_threshold:
            if mine.zero_threshold > threshold:
                zero_count, threshold = other.widened(mine.zero_threshold)
            if threshold > mine.zero_threshold:
                count, wider = mine.widened(threshold)
                mine = mine.with_zero_threshold(wider, count)
        schema = min(mine.schema, other.schema)
        sides = [
            merged(
                own.reduced(mine.schema, schema),
                # Before the resolution is reduced: a bucket that the zero bucket has taken may share its
                # wider bucket with the threshold, and would be counted twice (as it is in Prometheus 3).
                its.above(threshold, other.schema).reduced(other.schema, schema),
                sign,
            )
            for own, its in ((mine.positive, other.positive), (mine.negative, other.negative))
        ]
        return FloatHistogram(
            schema,
            mine.count + sign * other.count,
            mine.sum + sign * other.sum,
            threshold,
            mine.zero_count + sign * zero_count,
            sides[0],
            sides[1],
            hint=hint,
        )

    def _combined_custom(
        self, other: FloatHistogram, sign: float, hint: CounterReset
    ) -> tuple[FloatHistogram, bool]:
        reconciled = not np.array_equal(self.custom_values, other.custom_values)
        values = self.custom_values
        if reconciled:
            values = np.intersect1d(values, other.custom_values, assume_unique=True)
            mine = self.positive.mapped(self.custom_values, values)
            its = other.positive.mapped(other.custom_values, values)
            positive = Side.at(0, mine + sign * its).compact()
        else:
            positive = merged(self.positive, other.positive, sign)
        result = FloatHistogram(
            self.schema,
            self.count + sign * other.count,
            self.sum + sign * other.sum,
            positive=positive,
            custom_values=values,
            hint=hint,
        )
        return result, reconciled

    def _custom_reset(self, previous: FloatHistogram) -> bool:
        if np.array_equal(self.custom_values, previous.custom_values):
            return lost(previous.positive, self.positive)
        values = np.intersect1d(self.custom_values, previous.custom_values, assume_unique=True)
        now = self.positive.mapped(self.custom_values, values)
        then = previous.positive.mapped(previous.custom_values, values)
        return bool((now < then).any())


def combined_hint(a: CounterReset, b: CounterReset) -> tuple[CounterReset, bool]:
    """``(hint of a sum, whether the two contradict each other)``."""
    if a is b:
        return a, False
    if CounterReset.GAUGE in (a, b):
        return CounterReset.GAUGE, False
    return CounterReset.UNKNOWN, CounterReset.UNKNOWN not in (a, b)


def _exponential_rows(side: Side, schema: int, threshold: float, *, mirrored: bool) -> BucketRows:
    outer, inner = bounds(side.index, schema), bounds(side.index - 1, schema)
    inner = np.where((inner > 0) & (inner < threshold), threshold, inner)
    if not mirrored:
        return BucketRows(inner, outer, inner < 0, outer > 0, side.count)
    lower, upper = -outer[::-1], -inner[::-1]
    return BucketRows(lower, upper, lower < 0, upper > 0, side.count[::-1])


def _swallowed(side: Side, schema: int, threshold: float, count: float) -> tuple[float, float]:
    """``(count with the buckets within the threshold, the outer end of a populated one across it)``."""
    grown = threshold
    for inner, outer, within in zip(
        bounds(side.index - 1, schema).tolist(),
        bounds(side.index, schema).tolist(),
        side.count.tolist(),
        strict=True,
    ):
        if inner >= threshold:
            break
        count += within
        if outer > threshold and within != 0:
            grown = outer
    return count, grown


def _almost_same(a: Side, b: Side, close: Close) -> bool:
    return np.array_equal(a.index, b.index) and all(
        close(x, y) for x, y in zip(a.count.tolist(), b.count.tolist(), strict=True)
    )


def _same_bits(a: float, b: float) -> bool:
    return struct.pack("<d", a) == struct.pack("<d", b)


def _times(number: float, factor: float) -> float:
    return number * factor


def _over(number: float, divisor: float) -> float:
    return float(np.float64(number) / divisor)


_STALE = struct.pack("<Q", STALE_NAN_BITS)
